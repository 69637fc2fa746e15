use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};

use super::*;

/// Headers and a query that a tenant might send to make a decision slow.
fn flood() -> (HeaderMap, String) {
    let mut headers = HeaderMap::new();
    for number in 0..1000 {
        let name = HeaderName::from_bytes(format!("x-{number}").as_bytes()).unwrap();
        headers.append(
            name,
            HeaderValue::from_static("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"),
        );
        headers.append(
            "x-same",
            HeaderValue::from_static("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"),
        );
    }
    headers.insert("x-long", "a".repeat(60_000).parse().unwrap());
    let query = (0..4000).map(|number| format!("k{number}=aaaaaaaa&same=aaaaaaaa&"));
    (headers, query.collect())
}

#[test]
fn nothing_that_a_tenant_sends_makes_an_expression_slow() {
    let (headers, query) = flood();
    for when in [
        "headers.all(a, headers.all(b, a != '' || b != ''))",
        "headers['x-same'].all(a, headers['x-same'].all(b, a.contains(b)))",
        "headers['x-same'].all(a, query.same.all(b, a.startsWith(b)))",
        "query.all(a, query.all(b, a != '' || b != ''))",
        "query.all(key, query[key].exists(v, v == 'b'))",
        "headers.all(name, headers[name].all(v, v.matches('(a+)+$')))",
        "headers['x-long'].all(v, v.matches('(a|aa)+b') || v.matches('.*.*=.*') || true)",
        "headers['x-same'].all(v, headers['x-long'].all(l, l.lowerAscii().contains(v + v)))",
        "headers['x-same'].all(v, (v + v + v + v + v + v + v + v).matches('^a*$'))",
        "headers['x-long'].exists(l, query.all(k, l.contains(k)))",
    ] {
        let config = ruled("allow", when);
        let tenant = &config.tenants[0].tenant;
        let path = "/%252e".repeat(1000);
        let (method, path) = (http::Method::GET, Readings::of(&path));
        let facts = Facts {
            tenant: Some(tenant),
            executable: "curl",
            scheme: Scheme::Https,
            host: &"api.test".parse().unwrap(),
            port: 443,
            request: Some(Request {
                method: &method,
                path: &path,
                query: Some(&query),
                headers: &headers,
            }),
            is_foreseen: false,
        };
        let begun = Instant::now();
        let verdict = decide(&tenant.policy, &facts);
        let taken = begun.elapsed();
        // A few milliseconds in a release build; without a bound it is minutes.
        assert!(taken < Duration::from_secs(2), "{when}: {taken:?}");
        let answer = told(&verdict);
        assert!(
            answer == "condition_failed: asked"
                || answer == "asked"
                || answer.starts_with("no_rule"),
            "{when}: {answer}"
        );
    }
}
