use std::fs;

use clap::Parser as _;
use tempfile::TempDir;

use super::*;

const CONFIG: &str = r#"version = 1
[policies.standard]
allow = ["api.test", "*.example"]
deny = ["evil.example"]
credentials = ["api"]
[[policies.standard.rules]]
name = "asked"
host = "asked.test"
action = "allow"
when = "path.startsWith('/v1/') && (method == 'GET' || headers['x-id'][0] == '1')"
[policies.watching]
mode = "audit"
[credentials.api]
type = "header"
hosts = ["api.test"]
secret = "file:DIRECTORY/token"
allow_plaintext = true
[[tenants]]
name = "acme"
policy = "standard"
cgroup = "/acme"
[[tenants]]
name = "watched"
policy = "watching"
cgroup = "/watched"
"#;

/// The answer to a command line with this configuration in `o.toml`.
fn ask(config: &str, line: &str) -> Result<Answer, Error> {
    let directory = TempDir::new().unwrap();
    let at = directory.path().to_str().unwrap();
    let file = directory.path().join("o.toml");
    fs::write(&file, config.replace("DIRECTORY", at)).unwrap();
    fs::write(directory.path().join("token"), "t0ken").unwrap();
    let words = ["outbound", "check"].into_iter();
    let words: Vec<_> = words
        .chain(line.split(' ').filter(|word| !word.is_empty()))
        .collect();
    let cli::Command::Check(args) = cli::Cli::parse_from(words).command else {
        panic!("{line}");
    };
    answer(&args, &file)
}

/// What a request is told, without the directory's name.
#[track_caller]
fn told(line: &str) -> (bool, Value) {
    let Ok(answer) = ask(CONFIG, line) else {
        panic!("no answer");
    };
    let mut value = answer.json();
    if let Some(place) = value["place"].as_str() {
        value["place"] = place.rsplit('/').next().into();
    }
    (answer.is_good(), value)
}

#[test]
fn a_right_configuration_is_counted() {
    assert_eq!(ask(CONFIG, "").unwrap().text(), "OK: 2 tenants, 2 policies");
    let small = ask("version = 1\n[policies.p]", "").unwrap();
    assert_eq!(small.text(), "OK: 0 tenants, 1 policy");
    assert_eq!(small.json()["ok"], true);
}

#[test]
fn a_wrong_configuration_is_told_and_fails() {
    let wrong = ask("version = 1\nx = 1", "").unwrap();
    assert!(!wrong.is_good());
    assert_eq!(wrong.json()["problems"][0]["line"], 2);
    assert!(matches!(
        answer(&cli::Check::default(), Path::new("/nonexistent")),
        Err(Error::Config(config::Error::Read { .. }))
    ));
}

#[test]
fn an_allowed_request_shows_its_rule_and_credentials() {
    let (is_good, value) = told("--tenant acme GET http://api.test/x?y");
    assert!(is_good);
    assert_eq!(
        value,
        json!({
            "tenant": "acme", "policy": "standard", "mode": "enforce", "method": "GET",
            "url": "http://api.test/x?y", "verdict": "allow", "reason": null,
            "rule": "allow api.test", "place": "o.toml:3:10", "entry": null, "seen": true,
            "credentials": ["api"], "withheld": [], "limits": { "connections": 4096 },
        })
    );
    let (_, terminated) = told("--tenant acme GET https://api.test/");
    assert_eq!(terminated["credentials"], json!(["api"]));
}

#[test]
fn a_denied_request_shows_why_and_fails() {
    let (is_good, value) = told("--tenant acme GET https://evil.example/");
    assert!(!is_good);
    assert_eq!(
        (&value["verdict"], &value["reason"]),
        (&json!("deny"), &json!("rule_deny"))
    );
    assert_eq!(
        (&value["rule"], &value["place"]),
        (&json!("deny evil.example"), &json!("o.toml:4:9"))
    );
    assert_eq!(
        told("--tenant acme GET tcp://api.test:22").1["reason"],
        "no_rule"
    );
    assert_eq!(
        told("--tenant acme GET http://[::1]/").1["reason"],
        "private_address"
    );
    assert_eq!(
        told("--tenant acme GET http://169.254.169.254/").1["reason"],
        "metadata_address"
    );
}

#[test]
fn an_expression_is_asked_and_one_that_fails_says_why() {
    let (is_good, value) = told("--tenant acme GET http://asked.test/v1/a");
    assert!(is_good);
    assert_eq!(
        (&value["rule"], &value["place"], &value["failure"]),
        (&json!("asked"), &json!("o.toml:6:1"), &Value::Null)
    );
    assert_eq!(
        told("--tenant acme GET http://asked.test/").1["reason"],
        "no_rule"
    );
    let (is_good, value) = told("--tenant acme POST http://asked.test/v1/a");
    assert!(!is_good);
    assert_eq!(
        (&value["reason"], &value["rule"]),
        (&json!("condition_failed"), &json!("asked"))
    );
    assert_eq!(value["failure"], "a key that is not there");
    let text = ask(CONFIG, "--tenant acme POST http://asked.test/v1/a")
        .unwrap()
        .text();
    assert!(
        text.contains("reason       condition_failed\nfailure      a key that is not there\nrule         asked "),
        "{text}"
    );
    let wrong = CONFIG.replace("path.startsWith", "path.startWith");
    let problems = ask(&wrong, "").unwrap().json();
    assert_eq!(problems["problems"][0]["line"], 10);
    assert_eq!(
        problems["problems"][0]["key"],
        "policies.standard.rules[0].when"
    );
    let message = problems["problems"][0]["message"].as_str().unwrap();
    assert!(
        message.contains("no function is called `startWith`; did you mean `startsWith`?"),
        "{message}"
    );
}

#[test]
fn what_a_watching_policy_would_deny_is_marked() {
    let (is_good, value) = told("--tenant watched GET https://a.test/");
    assert!(is_good);
    assert_eq!(
        (&value["verdict"], &value["reason"]),
        (&json!("would_deny"), &json!("no_rule"))
    );
}

#[test]
fn an_explanation_reads_well() {
    let text = ask(CONFIG, "--tenant watched GET https://a.test/")
        .unwrap()
        .text();
    assert_eq!(
        text,
        "request      GET https://a.test/ of watched, policy watching\n\
         mode         audit\n\
         verdict      would_deny\n\
         reason       no_rule\n\
         rule         none matches\n\
         seen         host and port alone: it passes through\n\
         credentials  none\n\
         limits       connections 4096"
    );
}

#[test]
fn what_a_request_has_besides_is_said_on_the_command_line() {
    let config = CONFIG.replace(
        "[policies.watching]",
        "[[policies.standard.rules]]\nname = \"pair\"\naction = \"allow\"\nhost = \"pair.test\"\n\
         headers = { x-env = \"p*\" }\nexecutables = [\"curl\"]\n[policies.watching]",
    );
    let rule = |more: &str| {
        let line = format!("--tenant acme {more} GET http://pair.test/");
        ask(&config, &line).unwrap().json()["rule"].clone()
    };
    let headers = "--header x-env:prod --header x-env:pre";
    assert_eq!(rule(&format!("{headers} --executable curl")), "pair");
    assert_eq!(
        rule(&format!("{headers} --header x-env:dev --executable curl")),
        Value::Null
    );
    assert_eq!(rule(headers), Value::Null);
    for (line, words) in [
        (
            "--tenant acme --header x-env GET http://a.test/",
            "--header: \"x-env\" is no header",
        ),
        (
            "--tenant acme --param plan=pro GET http://a.test/",
            "in no dispatch namespace",
        ),
        (
            "--tenant acme --param plan GET http://a.test/",
            "--param plan: write NAME=VALUE",
        ),
        ("--param plan=pro", "are for a request"),
    ] {
        let Err(error) = ask(&config, line) else {
            panic!("{line}");
        };
        assert!(error.to_string().contains(words), "{line}: {error}");
    }
}

#[test]
fn what_is_no_tenant_or_no_url_is_an_error() {
    for line in [
        "--tenant other GET http://a.test/",
        "--tenant acme GET ftp://a.test/",
        "--tenant acme GET /path",
        "--tenant acme GET tcp://a.test",
        "--tenant acme GET http://127.1/",
    ] {
        assert!(ask(CONFIG, line).is_err(), "{line}");
    }
}
