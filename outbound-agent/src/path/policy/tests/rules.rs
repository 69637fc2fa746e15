//! Rules: what they ask, and which of them decides.

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::*;
use crate::config::{self, Config};

/// A configuration with one policy `p` and one tenant `acme`.
pub(super) fn config(policy: &str) -> Config {
    let text = format!(
        "version = 1\n{policy}\n[[tenants]]\nname = \"acme\"\npolicy = \"p\"\ncgroup = \"/acme\"\n"
    );
    config::parse(&text, Path::new("o.toml")).unwrap_or_else(|error| panic!("{error}"))
}

/// A request to be judged.
pub(super) struct Asked<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) headers: &'a [(&'static str, &'static str)],
}

pub(super) const fn get(url: &str) -> Asked<'_> {
    Asked {
        method: "GET",
        url,
        headers: &[],
    }
}

pub(super) fn judged(config: &Config, asked: &Asked<'_>) -> Verdict {
    let uri: http::Uri = asked.url.parse().unwrap();
    let scheme = match uri.scheme_str().unwrap() {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        _ => Scheme::Tcp,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in asked.headers {
        headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let port = uri
        .port_u16()
        .unwrap_or(if scheme == Scheme::Http { 80 } else { 443 });
    let tenant = &config.tenants[0].tenant;
    let path = Readings::of(uri.path());
    let method = Method::from_bytes(asked.method.as_bytes()).unwrap();
    let host = uri.host().unwrap().parse().unwrap();
    let facts = Facts {
        tenant: Some(tenant),
        executable: "curl",
        scheme,
        host: &host,
        port,
        request: (scheme != Scheme::Tcp).then_some(Request {
            method: &method,
            path: &path,
            query: uri.query(),
            headers: &headers,
        }),
        is_foreseen: false,
    };
    decide(&tenant.policy, &facts)
}

#[track_caller]
pub(super) fn expect(config: &Config, url: &str, expected: &str) {
    assert_eq!(told(&judged(config, &get(url))), expected, "{url}");
}

const GITHUB: &str = r#"
[[policies.p.rules]]
name = "read-only"
host = "api.test"
methods = ["GET", "HEAD"]
paths = ["/repos/**"]
action = "allow"
[[policies.p.rules]]
name = "no-secrets"
host = "api.test"
paths = ["/repos/*/secrets/**"]
action = "deny"
"#;

#[test]
fn method_and_path_are_asked_for_and_deny_wins() {
    let config = config(GITHUB);
    expect(&config, "https://api.test/repos/a", "read-only");
    expect(&config, "https://api.test/users/a", "no_rule: no rule");
    expect(
        &config,
        "https://api.test/repos/a/secrets/x",
        "rule_deny: no-secrets",
    );
    let post = Asked {
        method: "POST",
        ..get("https://api.test/repos/a")
    };
    assert_eq!(told(&judged(&config, &post)), "no_rule: no rule");
}

#[test]
fn no_spelling_of_a_path_leads_around_a_rule() {
    let config = config(GITHUB);
    for path in [
        "/repos/../users",
        "/repos/%2e%2e/users",
        "/repos/..%2fusers",
        "/repos/%252e%252e/users",
        "/x/../repos/a",
    ] {
        expect(
            &config,
            &format!("https://api.test{path}"),
            "no_rule: no rule",
        );
    }
    for path in [
        "/repos/a/./secrets/x",
        "/repos/a//secrets/x",
        "/repos/a/b/../secrets/x",
        "/repos/a/%73ecrets/x",
        "/repos/a%2fsecrets%2fx",
        "/repos/a/secrets;v=1/x",
    ] {
        expect(
            &config,
            &format!("https://api.test{path}"),
            "rule_deny: no-secrets",
        );
    }
}

#[test]
fn what_is_not_seen_meets_a_deny_and_no_allow() {
    let config = config(GITHUB);
    let unseen = |host: &str| {
        let tenant = &config.tenants[0].tenant;
        let host = host.parse().unwrap();
        let facts = Facts {
            tenant: Some(tenant),
            executable: "",
            scheme: Scheme::Https,
            host: &host,
            port: 443,
            request: None,
            is_foreseen: false,
        };
        told(&decide(&tenant.policy, &facts))
    };
    assert_eq!(unseen("api.test"), "rule_deny: no-secrets");
    assert_eq!(unseen("other.test"), "no_rule: no rule");
    let tenant = &config.tenants[0].tenant;
    assert!(terminates(tenant, &"api.test".parse().unwrap(), 443));
    assert!(!terminates(tenant, &"other.test".parse().unwrap(), 443));
}

#[test]
fn what_a_worker_has_to_see_ends_at_the_agent() {
    let text = r#"
[policies.p]
allow = ["api.test"]
passthrough = ["pinned.test"]
[services.egress]
main = "egress.js"
[[dispatch_namespaces]]
binding = "b"
namespace = "production"
outbound = { service = "egress" }
[[dispatch_namespaces]]
binding = "b"
namespace = "bare"
[[tenants]]
name = "seen"
policy = "p"
cgroup = "/seen"
namespace = "production"
[[tenants]]
name = "unseen"
policy = "p"
cgroup = "/unseen"
namespace = "bare"
"#;
    let config = config(text);
    let ends = |tenant: usize, host: &str| {
        terminates(&config.tenants[tenant].tenant, &host.parse().unwrap(), 443)
    };
    assert!(ends(0, "api.test"));
    assert!(!ends(0, "pinned.test"));
    assert!(!ends(1, "api.test"));
}

#[test]
fn query_and_headers_are_asked_for() {
    let config = config(
        r#"
[[policies.p.rules]]
name = "search"
host = "api.test"
query = { q = "cats*", debug = false }
headers = { x-api = true, accept = "application/*" }
action = "allow"
[[policies.p.rules]]
name = "no-admin"
host = "*"
query = { role = "admin" }
action = "deny"
"#,
    );
    let headers: &[_] = &[("x-api", "1"), ("accept", "application/json")];
    let ask = |url, headers| {
        let asked = Asked {
            method: "GET",
            url,
            headers,
        };
        told(&judged(&config, &asked))
    };
    assert_eq!(ask("https://api.test/?q=cats%20and", headers), "search");
    for url in [
        "https://api.test/?q=dogs",
        "https://api.test/?q=cats&q=dogs",
        "https://api.test/?q=cats&debug=",
        "https://api.test/",
    ] {
        assert_eq!(ask(url, headers), "no_rule: no rule", "{url}");
    }
    let two: &[_] = &[
        ("x-api", "1"),
        ("accept", "application/json"),
        ("accept", "text/html"),
    ];
    assert_eq!(ask("https://api.test/?q=cats", two), "no_rule: no rule");
    assert_eq!(ask("https://api.test/?q=cats", &[]), "no_rule: no rule");
    for url in [
        "https://api.test/?q=cats&role=user&role=admin",
        "https://api.test/?r%6fle=%61dmin",
    ] {
        assert_eq!(ask(url, headers), "rule_deny: no-admin", "{url}");
    }
}

#[test]
fn of_the_allows_that_hold_the_most_specific_decides() {
    let config = config(
        r#"
[policies.p]
allow = ["*", "*.test"]
[[policies.p.rules]]
name = "glob"
host = "api-*.test"
action = "allow"
[[policies.p.rules]]
name = "exact"
host = "api-1.test"
action = "allow"
[[policies.p.rules]]
name = "exact-path"
host = "api-1.test"
paths = "/v1/**"
action = "allow"
[[policies.p.rules]]
name = "longer-path"
host = "api-1.test"
paths = "/v1/users/*"
action = "allow"
"#,
    );
    expect(&config, "https://else.example/", "allow *");
    expect(&config, "https://x.test/", "allow *.test");
    expect(&config, "https://api-2.test/", "glob");
    expect(&config, "https://api-1.test/", "exact");
    expect(&config, "https://api-1.test/v1/x", "exact-path");
    expect(&config, "https://api-1.test/v1/users/7", "longer-path");
}

#[test]
fn a_rule_holds_its_host_to_addresses() {
    let config = config(
        r#"
[policies.p]
allow = ["*.test"]
[[policies.p.rules]]
name = "pinned"
host = "api.test"
addresses = ["203.0.113.0/24"]
action = "allow"
[[policies.p.rules]]
name = "not-there"
host = "*.test"
addresses = ["198.51.100.0/24"]
methods = "GET"
action = "deny"
"#,
    );
    let dial = |method, host: &str, ip: &str| {
        let url = format!("http://{host}/");
        let asked = Asked {
            method,
            ..get(&url)
        };
        let Verdict::Allow(mut permit) = judged(&config, &asked) else {
            panic!("{host} is denied");
        };
        match permit.check_address(ip.parse().unwrap()) {
            Ok(address) => address.to_string(),
            Err(denial) => denied(&denial),
        }
    };
    assert_eq!(dial("GET", "api.test", "203.0.113.9"), "203.0.113.9:80");
    assert_eq!(dial("GET", "api.test", "192.0.2.9"), "no_rule: pinned");
    assert_eq!(
        dial("GET", "b.test", "198.51.100.9"),
        "rule_deny: not-there"
    );
    assert_eq!(
        dial("GET", "b.test", "64:ff9b::c633:6409"),
        "rule_deny: not-there"
    );
    assert_eq!(dial("POST", "b.test", "198.51.100.9"), "198.51.100.9:80");
}

#[test]
fn a_rule_may_open_a_private_address_for_some_requests() {
    let config = config(
        "[[policies.p.rules]]\nname = \"internal\"\nhost = \"10.0.0.7\"\nmethods = \"GET\"\naction = \"allow\"\n",
    );
    expect(&config, "http://10.0.0.7/", "internal");
    expect(&config, "http://10.0.0.8/", "private_address: no rule");
    let post = Asked {
        method: "POST",
        ..get("http://10.0.0.7/")
    };
    assert_eq!(told(&judged(&config, &post)), "private_address: no rule");
}
