use std::path::Path;

use serde_json::json;

use super::*;
use crate::config::{self, Config};

const CONFIG: &str = r#"version = 1
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = { service = "egress", parameters = ["plan"] }
[services.egress]
url = "http://127.0.0.1:8787"
signing_key = "file:FILE"
[policies.p]
allow = ["api.test", "moved.test", "tcp://db.test:5432"]
deny = ["denied.test"]
credentials = ["token"]
limits = { requests_per_second = 7, request_duration = "1500ms" }
rules = [
  { name = "elsewhere", action = "allow", host = "old.test", rewrite_host = "api.test", rewrite_path = "/new", rate = "3/s", timeout = "2s" },
  { name = "to-denied", action = "allow", host = "bad.test", rewrite_host = "denied.test" },
  { name = "by-header", action = "allow", host = "env.test", headers = { x-env = "prod" } },
  { name = "by-name", action = "allow", host = "name.test", executables = ["a-very-long-nam"] },
  { name = "by-address", action = "allow", host = "at.test", addresses = ["192.0.2.0/24"] },
  { name = "by-plan", action = "deny", host = "api.test", parameters = { plan = "free" } },
]
[policies.blind]
tls = "passthrough"
rules = [{ name = "reads", action = "allow", host = "api.test", methods = ["GET"] }]
[credentials.token]
type = "bearer"
hosts = ["api.test"]
paths = ["/new"]
secret = "file:FILE"
[[tenants]]
name = "acme"
policy = "p"
cgroup = "/acme"
[[tenants]]
name = "blind"
policy = "blind"
cgroup = "/blind"
[[tenants]]
name = "hosted"
policy = "p"
cgroup = "/hosted"
namespace = "production"
"#;

fn config() -> Config {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    std::fs::write(&file, "t0ken".repeat(9)).unwrap();
    let text = CONFIG.replace("FILE", file.to_str().unwrap());
    config::parse(&text, Path::new("o.toml")).unwrap_or_else(|error| panic!("{error}"))
}

fn ask(tenant: &str, question: Value) -> Result<Judgement, Wrong> {
    let config = config();
    let mut tenants = config.tenants.iter().map(|spec| &spec.tenant);
    let tenant = tenants.find(|known| known.id.as_str() == tenant).unwrap();
    let mut whole = json!({ "method": "GET" });
    let members = question.as_object().unwrap().clone();
    whole.as_object_mut().unwrap().extend(members);
    explain(tenant, &serde_json::from_value(whole).unwrap())
}

#[track_caller]
fn told(tenant: &str, question: Value) -> (String, Option<String>, Option<String>) {
    let Judgement {
        verdict,
        reason,
        rule,
        ..
    } = ask(tenant, question).unwrap();
    (verdict, reason, rule)
}

fn allowed(rule: &str) -> (String, Option<String>, Option<String>) {
    ("allow".to_owned(), None, Some(rule.to_owned()))
}

fn denied(reason: &str, rule: Option<&str>) -> (String, Option<String>, Option<String>) {
    let rule = rule.map(str::to_owned);
    ("deny".to_owned(), Some(reason.to_owned()), rule)
}

#[test]
fn what_a_rule_rewrites_is_decided_again_and_has_the_credentials_of_where_it_goes() {
    let judged = ask("acme", json!({ "url": "https://old.test/old?a=1" })).unwrap();
    assert_eq!(judged.verdict, "allow");
    assert_eq!(
        judged.rewritten.as_deref(),
        Some("https://api.test/new?a=1")
    );
    assert_eq!(judged.credentials, ["token"]);
    let rate = judged.rate.unwrap();
    assert_eq!((rate.per_second, judged.timeout_ms), (3.0, Some(2000)));
    let moved = told("acme", json!({ "url": "https://bad.test/" }));
    assert_eq!(moved, denied("rule_deny", Some("deny denied.test")));
}

#[test]
fn every_fact_that_rules_ask_for_can_be_said() {
    let prod = json!({ "url": "http://env.test/", "headers": { "X-Env": ["other", "prod"] } });
    assert_eq!(
        told("acme", prod),
        denied("no_rule", None),
        "every value has to meet it"
    );
    let prod = json!({ "url": "http://env.test/", "headers": { "X-Env": "prod" } });
    assert_eq!(told("acme", prod), allowed("by-header"));
    let named = json!({ "url": "http://name.test/", "executable": "a-very-long-name-indeed" });
    assert_eq!(told("acme", named), allowed("by-name"));
    for (address, expected) in [
        ("192.0.2.7", allowed("by-address")),
        ("203.0.113.7", denied("no_rule", Some("by-address"))),
        ("10.0.0.1", denied("private_address", None)),
    ] {
        let asked = json!({ "url": "http://at.test/", "address": address });
        assert_eq!(told("acme", asked), expected, "{address}");
    }
}

#[test]
fn parameters_are_those_of_a_dispatch_and_without_one_nothing_passes_a_worker() {
    let url = "https://api.test/new";
    let asked = ask("hosted", json!({ "url": url })).unwrap();
    assert_eq!(
        (&*asked.verdict, asked.reason.as_deref()),
        ("deny", Some("not_dispatched"))
    );
    assert_eq!(asked.worker.as_deref(), Some("egress"));
    assert!(asked.credentials.is_empty());
    let pro = json!({ "url": url, "params": { "plan": "pro" } });
    assert_eq!(ask("hosted", pro).unwrap().credentials, ["token"]);
    let free = json!({ "url": url, "params": { "plan": "free" } });
    assert_eq!(told("hosted", free), denied("rule_deny", Some("by-plan")));
}

#[test]
fn what_passes_through_is_judged_by_host_and_port_alone() {
    let through = ask("blind", json!({ "url": "https://api.test/" })).unwrap();
    assert_eq!((&*through.verdict, through.seen), ("deny", false));
    assert_eq!(
        told("blind", json!({ "url": "http://api.test/" })),
        allowed("reads")
    );
    let bytes = ask("acme", json!({ "url": "tcp://db.test:5432" })).unwrap();
    assert_eq!((&*bytes.verdict, bytes.seen), ("allow", false));
}

#[test]
fn a_credential_that_is_withheld_and_the_tenants_limits_are_told() {
    let other = ask("acme", json!({ "url": "https://api.test/other" })).unwrap();
    assert!(other.credentials.is_empty());
    assert_eq!(other.withheld, ["token"]);
    let plain = ask("acme", json!({ "url": "http://api.test/new" })).unwrap();
    assert_eq!(plain.withheld, ["token"], "not over plain HTTP");
    let limits = serde_json::to_value(other.limits).unwrap();
    let expected = json!({
        "connections": 4096, "requests_per_second": 7, "request_duration_ms": 1500,
    });
    assert_eq!(limits, expected);
}

#[test]
fn what_is_wrong_with_a_question_is_told_with_key_value_and_what_is_accepted() {
    for (tenant, question, words) in [
        (
            "acme",
            json!({ "url": "ftp://a.test/" }),
            ["url: ", "\"ftp://a.test/\"", "as in"],
        ),
        (
            "acme",
            json!({ "url": "tcp://a.test" }),
            ["url: ", "\"tcp://a.test\"", ":5432"],
        ),
        (
            "acme",
            json!({ "url": "http://127.1/" }),
            ["url: ", "127.1", "usable host"],
        ),
        (
            "acme",
            json!({ "url": "http://a.test/", "method": "G T" }),
            ["method: ", "\"G T\"", "as in GET"],
        ),
        (
            "acme",
            json!({ "url": "http://a.test/", "headers": { "x env": "" } }),
            ["headers: ", "\"x env\"", "as in x-env"],
        ),
        (
            "acme",
            json!({ "url": "http://a.test/", "headers": { "x": "a\nb" } }),
            ["headers.x: ", "\"a\\nb\"", "one line"],
        ),
        (
            "acme",
            json!({ "url": "http://a.test/", "address": "a" }),
            ["address: ", "\"a\"", "203.0.113.7"],
        ),
        (
            "acme",
            json!({ "url": "http://a.test/", "params": {} }),
            ["params: ", "acme", "`namespace`"],
        ),
        (
            "hosted",
            json!({ "url": "http://a.test/", "params": { "x": 1 } }),
            ["params: ", "`x`", "declares plan"],
        ),
    ] {
        let error = ask(tenant, question).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
