use super::*;
use crate::config;

/// What is printed, and what is told.
fn imported(name: &str, text: &str) -> (String, Vec<String>) {
    let text = match name.ends_with(".toml") {
        true => toml::from_str(text).unwrap(),
        false => serde_json::from_str(&jsonc::to_json(text)).unwrap(),
    };
    let imported = Imported::of(text);
    (toml::to_string(&imported.ours).unwrap(), imported.left)
}

const TOML: &str = r#"
name = "dispatcher"
main = "src/index.js"
compatibility_date = "2025-01-01"
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
  "main": "src/index.js",
  "dispatch_namespaces": [
    {
      "binding": "dispatcher",
      "namespace": "production",
      "remote": true,
      "outbound": { "service": "egress", "parameters": ["params_object"], },
    },
  ],
  "kv_namespaces": [{ "binding": "KV", "id": "1" }],
}"#;

const EGRESS: &str = r#"
name = "egress"
main = "egress.js"
limits = { cpu_ms = 20 }
vars = { LOG = "https://logs.test/", n = 1 }
routes = ["x.test/*"]
"#;

#[test]
fn both_forms_give_the_same_and_tell_what_is_left() {
    let (ours, left) = imported("wrangler.toml", TOML);
    assert_eq!(imported("wrangler.jsonc", JSONC), (ours, left.clone()));
    assert_eq!(
        left,
        [
            "dispatch_namespaces[0].outbound.service: import the configuration of egress as well",
            "dispatch_namespaces[0].remote: has no counterpart",
            "kv_namespaces: has no counterpart",
            "main: the dispatcher runs as a program of its own",
        ]
    );
}

#[test]
fn what_is_printed_is_a_configuration() {
    let (namespaces, _) = imported("wrangler.toml", TOML);
    let (service, left) = imported("wrangler.toml", EGRESS);
    assert_eq!(left, ["routes: has no counterpart"]);
    let text = format!("version = 1\n{namespaces}\n{service}");
    let config = config::parse(&text, Path::new("o.toml"));
    let config = config.unwrap_or_else(|error| panic!("{error}\n{text}"));
    let outbound = config.namespaces[0].outbound.as_ref().unwrap();
    assert_eq!(&*outbound.parameters[0], "params_object");
    assert_eq!(outbound.service.limits.cpu.as_millis(), 20);
    assert_eq!(outbound.service.vars["LOG"], "https://logs.test/");
}

#[test]
fn a_worker_without_a_name_or_in_typescript_is_told_of() {
    let (ours, left) = imported("wrangler.toml", "main = \"a.js\"");
    assert!(ours.is_empty());
    assert!(left[0].starts_with("name: is missing"), "{left:?}");
    let (_, left) = imported("wrangler.toml", "name = \"a\"\nmain = \"a.ts\"");
    assert!(left[0].contains("TypeScript"), "{left:?}");
}
