use super::*;
use crate::config::Config;

/// What is printed, and what is told.
fn imported(name: &str, text: &str) -> (String, Vec<String>) {
    let path = Path::new("/project").join(name);
    let imported = read(text, &path).unwrap_or_else(|error| panic!("{error}"));
    let left = imported.left.iter().map(ToString::to_string);
    (imported.text, left.collect())
}

/// As `outbound check` reads it.
fn checked(text: &str) -> Config {
    parse(text, Path::new("o.toml")).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

const TOML: &str = r#"name = "dispatcher"
main = "src/index.js"
compatibility_date = "2025-01-01"
vars = { A = 1 }
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
remote = true
outbound = { service = "egress", parameters = ["params_object"] }
[[kv_namespaces]]
binding = "KV"
id = "1"
"#;

const JSONC: &str = r#"{
  "name": "dispatcher", // the program
  /* its module
     and more */
  "main": "src/index.js",
  "dispatch_namespaces": [
    {
      "binding": "dispatcher",
      "namespace": "production",
      "remote": true,
      "outbound": { "service": "egress", "entrypoint": "Out", "parameters": ["params_object",], },
    },
    { "binding": "bare", "namespace": "staging" },
  ],
  "kv_namespaces": [{ "binding": "KV", "id": "1" }],
}"#;

#[test]
fn a_namespace_is_taken_over_as_it_is_and_the_rest_is_told_with_its_line() {
    let (text, left) = imported("wrangler.toml", TOML);
    let config = checked(&text);
    let outbound = config.namespaces[0].outbound.as_ref().unwrap();
    assert_eq!(&*config.namespaces[0].binding, "dispatcher");
    assert_eq!(&*config.namespaces[0].name, "production");
    assert_eq!(&*outbound.service.name, "egress");
    assert_eq!(&*outbound.parameters[0], "params_object");
    assert_eq!(
        left,
        [
            "/project/wrangler.toml:1:1: name: is the dispatcher's, and means nothing here",
            "/project/wrangler.toml:2:1: main: is the dispatcher, which is a program of your own \
             here: docs/workers.md",
            "/project/wrangler.toml:3:1: compatibility_date: means nothing here",
            "/project/wrangler.toml:4:1: vars: belongs to the dispatcher, which is a program of \
             your own here: docs/workers.md",
            "/project/wrangler.toml:8:1: dispatch_namespaces[0].remote: has no counterpart here",
            "/project/wrangler.toml:9:14: dispatch_namespaces[0].outbound.service: \"egress\" is \
             configured elsewhere: its `main` is to be named in what is printed",
            "/project/wrangler.toml:10:3: kv_namespaces: has no counterpart here",
        ]
    );
}

#[test]
fn json_may_have_comments_and_commas_behind_the_last() {
    let (text, left) = imported("wrangler.jsonc", JSONC);
    let config = checked(&text);
    let mut namespaces = config.namespaces.iter();
    let production = namespaces.find(|one| &*one.name == "production").unwrap();
    let outbound = production.outbound.as_ref().unwrap();
    assert_eq!(outbound.entrypoint.as_deref(), Some("Out"));
    let staging = config.namespaces.iter().find(|one| &*one.name == "staging");
    assert!(staging.unwrap().outbound.is_none());
    assert!(
        left.contains(
            &"/project/wrangler.jsonc:10:7: dispatch_namespaces[0].remote: has no counterpart here"
                .to_owned()
        ),
        "{left:?}"
    );
    // Nothing is dropped without a word.
    for key in ["name", "main", "kv_namespaces", "outbound.service"] {
        assert!(
            left.iter().any(|told| told.contains(&format!("{key}:"))),
            "{key}: {left:?}"
        );
    }
}

#[test]
fn a_workers_own_file_gives_its_service() {
    let (text, left) = imported(
        "wrangler.jsonc",
        r#"{"name": "egress", "main": "src/egress.mjs", "limits": {"cpu_ms": 20, "subrequests": 5},
            "vars": {"LOG_URL": "https://logs.test/", "N": 1.5, "LIST": [1, {"a": true}], "D": null}}"#,
    );
    let config = checked(&text);
    let service = &config.services[0];
    assert_eq!(&*service.name, "egress");
    assert_eq!(
        format!("{:?}", service.code),
        "Module(/project/src/egress.mjs)"
    );
    assert_eq!(service.limits.cpu.as_millis(), 20);
    assert_eq!(service.vars["LOG_URL"], "https://logs.test/");
    assert_eq!(service.vars["N"], 1.5);
    assert_eq!(service.vars["LIST"][1]["a"], true);
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left[0].contains("limits.subrequests: has no counterpart"),
        "{left:?}"
    );
    assert!(left[1].contains("vars.D: has a value"), "{left:?}");
}

#[test]
fn a_file_may_be_dispatcher_and_worker_in_one() {
    let file = r#"
name = "egress"
main = "egress.js"
vars = { LOG_URL = "https://logs.test/", plan = "x" }
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = { service = "egress", parameters = ["plan"] }
"#;
    let (text, left) = imported("wrangler.toml", file);
    let config = checked(&text);
    let service = &config.namespaces[0].outbound.as_ref().unwrap().service;
    assert_eq!(format!("{:?}", service.code), "Module(/project/egress.js)");
    assert_eq!(service.vars["LOG_URL"], "https://logs.test/");
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(
        left[0].contains("vars.plan: is a parameter as well"),
        "{left:?}"
    );
}

#[test]
fn what_is_no_javascript_and_what_has_another_form_is_told() {
    let (text, left) = imported(
        "wrangler.toml",
        "name = \"egress\"\nmain = \"src/egress.ts\"",
    );
    checked(&text);
    assert!(
        left[0].contains("main: \"src/egress.ts\" is no JavaScript"),
        "{left:?}"
    );
    for (file, told) in [
        (
            "main = \"a.js\"",
            "main: belongs to a worker without a `name`",
        ),
        (
            "dispatch_namespaces = 7",
            "dispatch_namespaces: is no list of tables",
        ),
        (
            "dispatch_namespaces = [7]",
            "dispatch_namespaces[0]: is no table",
        ),
        (
            "[[dispatch_namespaces]]\nbinding = \"b\"",
            "needs the keys `binding` and `namespace`",
        ),
        (
            "[[dispatch_namespaces]]\nbinding = \"b\"\nnamespace = \"n\"\noutbound = { service = 7 }",
            "dispatch_namespaces[0].outbound.service: 7 is no text",
        ),
        (
            "[[dispatch_namespaces]]\nbinding = \"b\"\nnamespace = \"n\"\n\
             outbound = { service = \"s\", parameters = [7] }",
            "dispatch_namespaces[0].outbound.parameters[0]: is no name",
        ),
        (
            "[env.production]\nname = \"x\"",
            "env: environments are not read",
        ),
    ] {
        let (text, left) = imported("wrangler.toml", file);
        checked(&text);
        assert!(
            left.iter().any(|left| left.contains(told)),
            "{file}: {left:?}"
        );
    }
}

#[test]
fn what_cannot_be_read_or_would_be_no_configuration_prints_nothing() {
    for (name, text, told) in [
        ("wrangler.toml", "name = ", "wrangler.toml:1:"),
        ("wrangler.json", "{\"name\": ", "wrangler.json:1:"),
        ("wrangler.json", "[]", "the file has to be one object"),
        (
            "wrangler.json",
            "{\"name\": \"a\",\n\"name\": \"b\"}",
            "wrangler.json:2:1: name: is also written at",
        ),
        (
            "wrangler.toml",
            "[[dispatch_namespaces]]\nbinding = \"b\"\nnamespace = \"no name\"",
            "dispatch_namespaces[0].namespace: \"no name\"",
        ),
    ] {
        let error = read(text, &Path::new("/project").join(name))
            .unwrap_err()
            .to_string();
        assert!(error.contains(told), "{error}");
    }
}
