//! `when`: what an expression says of a decision, and what becomes of one that says nothing.

use std::time::{Duration, Instant};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::json;

use super::rules::{Asked, config, expect, get, judged};
use super::*;
use crate::config::Config;
use crate::model::worker::Values;

/// A policy that allows `*.test` and has one rule for `api.test`.
fn ruled(action: &str, when: &str) -> Config {
    with(action, when, "")
}

fn with(action: &str, when: &str, rest: &str) -> Config {
    config(&format!(
        "[policies.p]\nallow = [\"other.test\"]\n[[policies.p.rules]]\nname = \"asked\"\n\
         host = \"api.test\"\naction = \"{action}\"\nwhen = {when:?}\n{rest}"
    ))
}

/// What an allow with this expression says of a request.
#[track_caller]
fn told_of(when: &str, asked: &Asked<'_>) -> String {
    told(&judged(&ruled("allow", when), asked))
}

const HEADERS: &[(&str, &str)] = &[
    ("x-id", "7"),
    ("accept", "application/json"),
    ("accept", "text/html"),
];

/// What holds of [`asked`], and what does not.
const HOLDING: &[&str] = &[
    "true",
    "host == 'api.test' && port == 443 && scheme == 'https'",
    "method == 'GET' && path == '/v1/users'",
    "path.startsWith('/v1/') && path.endsWith('users') && path.contains('1/u')",
    "path.matches('^/v[0-9]+/') && path.matches('USERS') == false",
    "path.lowerAscii() == path && size(path) == 9",
    "'x-id' in headers && headers['X-Id'][0] == '7' && has(headers.accept)",
    "'text/html' in headers.accept && size(headers.accept) == 2",
    "headers.accept.exists(v, v.startsWith('text/'))",
    "headers.accept.exists_one(v, v.startsWith('text/'))",
    "headers.accept.all(v, v.contains('/'))",
    "headers.exists(name, name == 'x-id') && headers.all(name, name != 'cookie')",
    "query.q == query.q || true",
    "query['q'][0] == 'cats and' && 'q' in query && !('r' in query)",
    "['/v0', '/v1'].exists(p, path.startsWith(p + '/'))",
    "port in [80, 443] && method in ['GET', 'HEAD']",
    "tenant == 'acme' && dispatch_namespace == '' && executable == 'curl'",
    "tenant + '.' + scheme == 'acme.https'",
    "'a' < 'b' && 1 < 2 && 1 <= 1.0 && 2.5 > 2 && 'b' >= 'a' && 1 == 1.0",
    "port == 443 ? true : false",
    "!has(params.plan) && params == params",
    // What decides is enough.
    "true || headers['none'][0] == ''",
    "headers['none'][0] == '' || true",
    "!(headers['none'][0] == '' && false)",
    "headers.accept.exists(v, v == 'text/html' || headers.none[0] == v)",
];

const NOT_HOLDING: &[&str] = &[
    "false",
    "host == 'other.test'",
    "!(method == 'GET')",
    "path.matches('^users')",
    "headers.accept.all(v, v.startsWith('text/'))",
    "headers.accept.exists_one(v, v.contains('/'))",
    "has(headers.cookie)",
    "query.q.exists(v, v == 'dogs')",
    "executable in ['wget']",
    "headers['none'][0] == '' && false",
];

/// What cannot be evaluated, and why.
const FAILING: &[(&str, &str)] = &[
    ("headers['none'][0] == 'a'", "a key that is not there"),
    ("query.none.exists(v, true)", "a key that is not there"),
    ("params.plan == 'pro'", "a key that is not there"),
    ("has(params.a.b)", "a key that is not there"),
    (
        "headers['x-id'][1] == 'a'",
        "an index behind the end of a list",
    ),
    ("[1, 2][-1] == 1", "an index behind the end of a list"),
    ("params.startsWith('a')", "a parameter of another type"),
    ("params", "a parameter of another type"),
    ("params > 1", "a parameter of another type"),
    ("headers.none[0] == 'a' || false", "a key that is not there"),
    (
        "headers.accept.all(v, headers.none[0] == v)",
        "a key that is not there",
    ),
    (
        "headers.accept.exists_one(v, headers.none[0] == v)",
        "a key that is not there",
    ),
];

fn asked() -> Asked<'static> {
    Asked {
        headers: HEADERS,
        ..get("https://api.test/v1/users?q=cats+and")
    }
}

#[test]
fn an_expression_says_what_it_says_in_cel() {
    for when in HOLDING {
        let when = when.replace("query.q == query.q || ", "");
        assert_eq!(told_of(&when, &asked()), "asked", "{when}");
    }
    for when in NOT_HOLDING {
        assert_eq!(told_of(when, &asked()), "no_rule: no rule", "{when}");
    }
}

#[test]
fn what_cannot_be_evaluated_denies_whatever_the_rule_does() {
    for (when, why) in FAILING {
        for action in ["allow", "deny"] {
            let config = ruled(action, when);
            let Verdict::Deny(denial) = judged(&config, &asked()) else {
                panic!("{action} {when} lets through");
            };
            assert_eq!(denied(&denial), "condition_failed: asked", "{when}");
            assert_eq!(denial.failure.unwrap().label(), *why, "{when}");
            assert_eq!(denial.place.unwrap().line, 4);
            // Of another host nothing is asked.
            expect(&config, "https://other.test/", "allow other.test");
        }
    }
}

const BELOW_OTHERS: &str = r#"
[policies.p]
mode = "MODE"
default = "allow"
allow = ["api.test"]
[[policies.p.rules]]
name = "best"
host = "api.test"
methods = "GET"
paths = "/v1/**"
action = "allow"
[[policies.p.rules]]
name = "broken"
host = "*.test"
action = "allow"
RULE
when = "headers['none'][0] == 'a'"
"#;

#[test]
fn one_that_cannot_be_evaluated_denies_also_below_others_and_as_its_mode_says() {
    let judge = |mode: &str, rule: &str| {
        let text = BELOW_OTHERS.replace("MODE", mode).replace("RULE", rule);
        judged(&config(&text), &asked())
    };
    for (mode, rule) in [("enforce", ""), ("audit", "mode = \"enforce\"")] {
        assert_eq!(
            told(&judge(mode, rule)),
            "condition_failed: broken",
            "{mode}"
        );
    }
    for (mode, rule) in [("audit", ""), ("enforce", "mode = \"audit\"")] {
        let Verdict::Allow(permit) = judge(mode, rule) else {
            panic!("{mode} denies");
        };
        let would_deny = denied(permit.would_deny().unwrap());
        assert_eq!(
            (permit.rule(), &*would_deny),
            (Some("best"), "condition_failed: broken")
        );
    }
    // It is asked only where everything else of its rule holds.
    for rule in [
        "mode = \"off\"",
        "methods = \"PUT\"",
        "tenants = \"globex\"",
        "port = 8443",
    ] {
        assert_eq!(told(&judge("enforce", rule)), "best", "{rule}");
    }
}

#[test]
fn one_that_cannot_be_evaluated_denies_in_a_floor_too() {
    let config = config(
        "[policies.base]\nfloor = true\ndefault = \"allow\"\n[[policies.base.rules]]\n\
         name = \"broken\"\nhost = \"*\"\naction = \"allow\"\nwhen = \"params.plan == 'a'\"\n\
         [policies.p]\nmode = \"off\"\n",
    );
    expect(&config, "https://api.test/", "condition_failed: broken");
}

/// What is said of `api.test` on a way on which no request is seen.
fn unseen(config: &Config, is_foreseen: bool) -> Verdict {
    let tenant = &config.tenants[0].tenant;
    let facts = Facts {
        tenant: Some(tenant),
        executable: "",
        scheme: Scheme::Https,
        host: &"api.test".parse().unwrap(),
        port: 443,
        request: None,
        is_foreseen,
    };
    decide(&tenant.policy, &facts)
}

#[test]
fn what_is_not_seen_meets_a_deny_and_no_allow() {
    for when in [
        "method == 'GET'",
        "path == '/'",
        "'x' in headers",
        "'q' in query",
        "executable == 'curl'",
        "!(executable == 'curl')",
        // What cannot be told may still decide.
        "method == 'GET' || params.none == 1",
    ] {
        let (allow, deny) = (ruled("allow", when), ruled("deny", when));
        assert_eq!(told(&unseen(&allow, false)), "no_rule: no rule", "{when}");
        assert_eq!(told(&unseen(&deny, false)), "rule_deny: asked", "{when}");
        // What will be known denies nothing yet.
        assert_eq!(told(&unseen(&allow, true)), "asked", "{when}");
        assert_eq!(told(&unseen(&deny, true)), "no_rule: no rule", "{when}");
        let tenant = &allow.tenants[0].tenant;
        let is_request = !when.contains("executable");
        assert_eq!(
            terminates(tenant, &"api.test".parse().unwrap(), 443),
            is_request,
            "{when}"
        );
    }
    let known = ruled("deny", "host == 'api.test' && method == method || true");
    assert_eq!(told(&unseen(&known, true)), "rule_deny: asked");
}

#[test]
fn a_name_is_looked_up_only_where_a_request_might_be_let_through() {
    let look_up = |config: &Config| {
        let tenant = &config.tenants[0].tenant;
        let looked = decide_name(tenant, "curl", &"api.test".parse().unwrap());
        looked.map(drop).map_err(|denial| denied(&denial))
    };
    for (when, answer) in [
        ("true", Ok(())),
        ("host == 'api.test'", Ok(())),
        // Another port or request may be asked for.
        ("port == 8443 || scheme == 'tcp'", Ok(())),
        ("method == 'GET'", Ok(())),
        ("cidr('192.0.2.0/24').containsIP(address)", Ok(())),
        ("host == 'x.test'", Err("no_rule: no rule")),
        (
            "host == 'x.test' && method == 'GET'",
            Err("no_rule: no rule"),
        ),
        ("tenant == 'globex'", Err("no_rule: no rule")),
        ("params.plan == 'pro'", Err("no_rule: no rule")),
    ] {
        let answer = answer.map_err(str::to_owned);
        assert_eq!(look_up(&ruled("allow", when)), answer, "{when}");
    }
    let open = |action: &str, rule: &str, when: &str| {
        config(&format!(
            "[policies.p]\nallow = [\"*:*\", \"tcp://*:*\"]\n[[policies.p.rules]]\nname = \"asked\"\n\
             host = \"api.test\"\naction = \"{action}\"\n{rule}\nwhen = {when:?}\n"
        ))
    };
    let whole = "scheme = [\"http\", \"https\", \"tcp\"]\nport = \"*\"";
    for (action, rule, when, answer) in [
        ("deny", "", "true", Err("rule_deny: asked")),
        (
            "deny",
            "",
            "params.plan == 'pro'",
            Err("condition_failed: asked"),
        ),
        (
            "allow",
            whole,
            "params.plan == 'pro'",
            Err("condition_failed: asked"),
        ),
        (
            "allow",
            "scheme = \"dns\"",
            "params.plan == 'pro'",
            Err("condition_failed: asked"),
        ),
        (
            "deny",
            "scheme = \"dns\"",
            "params.plan == 'pro'",
            Err("condition_failed: asked"),
        ),
        (
            "deny",
            "scheme = \"dns\"",
            "tenant == 'acme'",
            Err("rule_deny: asked"),
        ),
        ("deny", "scheme = \"dns\"", "tenant == 'globex'", Ok(())),
        ("allow", "", "params.plan == 'pro'", Ok(())),
        ("deny", "", "method == 'GET'", Ok(())),
        ("deny", "", "port == 443", Ok(())),
        (
            "deny",
            "",
            "cidr('192.0.2.0/24').containsIP(address)",
            Ok(()),
        ),
    ] {
        let answer = answer.map_err(str::to_owned);
        assert_eq!(
            look_up(&open(action, rule, when)),
            answer,
            "{action} {rule} {when}"
        );
    }
}

/// A namespace that declares these parameters.
fn declaring(given: &Values) -> String {
    let names: Vec<_> = given.keys().collect();
    format!(
        "[services.egress]\nmain = \"egress.js\"\n[[dispatch_namespaces]]\nbinding = \"b\"\n\
         namespace = \"n\"\noutbound = {{ service = \"egress\", parameters = {names:?} }}\n"
    )
}

#[test]
fn parameters_have_the_types_that_their_dispatch_gave() {
    let given = json!({ "plan": "pro", "seats": 7, "big": 18_446_744_073_709_551_615_u64,
        "half": 0.5, "on": true, "none": null, "roles": ["a", "b"], "a": { "b": "c" } });
    let given = given.as_object().unwrap();
    let judge = |when: &str| {
        let config = with("allow", when, &declaring(given));
        let mut tenant = Tenant::clone(&config.tenants[0].tenant);
        let checked = config.namespaces[0].check(given.clone()).unwrap();
        tenant.parameters = Some(Arc::new(checked));
        let facts = Facts {
            tenant: Some(&tenant),
            executable: "curl",
            scheme: Scheme::Https,
            host: &"api.test".parse().unwrap(),
            port: 443,
            request: None,
            is_foreseen: false,
        };
        told(&decide(&tenant.policy, &facts))
    };
    for when in [
        "params.plan == 'pro' && params['plan'].startsWith('p')",
        "params.seats == 7 && params.seats == 7.0 && params.seats > 5 && params.half < 1",
        "params.big > 9223372036854775807 && params.big != 9223372036854775807",
        "params.on && params.on == true && params.none == null",
        "'a' in params.roles && params.roles[1] == 'b' && size(params.roles) == 2",
        "params.roles.exists(r, r == 'b') && params.roles.all(r, r < 'c')",
        "params.a.b == 'c' && has(params.a.b) && !has(params.a.x) && 'b' in params.a",
        "params.exists(k, k == 'plan') && params.a == params.a && params.roles == params.roles",
        // Values of two types are not equal.
        "params.seats != 'x' && !(params.plan == 7)",
        "(params.on ? params.seats : 1) == 7",
    ] {
        assert_eq!(judge(when), "asked", "{when}");
    }
    for when in [
        "params.seats.startsWith('7')",
        "params.seats > 'x'",
        "params.plan",
        "params.plan.x == 1",
        "params.roles.x == 'a'",
        "params.roles[2] == 'a'",
        "params.seats.exists(r, true)",
        "'a' in params.seats",
        "size(params.seats) == 1",
        "params.none.x == 1",
    ] {
        assert_eq!(judge(when), "condition_failed: asked", "{when}");
    }
}

#[test]
fn no_spelling_of_a_path_leads_around_an_expression() {
    let reads = "path.matches('^/repos/[^/]+$')";
    for path in [
        "/repos/../users",
        "/repos/%2e%2e",
        "/x/../repos/a",
        "/repos/a%00b",
    ] {
        let url = format!("https://api.test{path}");
        assert_eq!(told_of(reads, &get(&url)), "no_rule: no rule", "{path}");
    }
    assert_eq!(told_of(reads, &get("https://api.test/repos/a")), "asked");
    // Turned round it is as strict: every reading has to be another path.
    let hides = "!path.startsWith('/secrets')";
    for path in [
        "/secrets/1",
        "/x/../secrets/1",
        "//secrets/1",
        "/%73ecrets",
        "/a/..%2fsecrets",
    ] {
        let url = format!("https://api.test{path}");
        assert_eq!(told_of(hides, &get(&url)), "no_rule: no rule", "{path}");
        let denies = ruled("deny", "path.startsWith('/secrets')");
        assert_eq!(
            told(&judged(&denies, &get(&url))),
            "rule_deny: asked",
            "{path}"
        );
    }
}

#[test]
fn the_address_is_asked_for_when_it_is_dialled() {
    let dial = |action: &str, when: &str, ip: &str| {
        let text = format!(
            "[policies.p]\nallow = [\"*.test\", \"192.0.2.0/24\"]\n[[policies.p.rules]]\n\
             name = \"asked\"\nhost = \"api.test\"\naction = \"{action}\"\nwhen = {when:?}\n"
        );
        let Verdict::Allow(mut permit) = judged(&config(&text), &asked()) else {
            return "denied before".to_owned();
        };
        match permit.check_address(ip.parse().unwrap()) {
            Ok(_) => permit.rule().unwrap().to_owned(),
            Err(denial) => denied(&denial),
        }
    };
    let within = "cidr('192.0.2.0/24').containsIP(address)";
    let outside = "!cidr('192.0.2.0/24').containsIP(address)";
    let nested = "method == 'GET' && (cidr('192.0.2.0/24').containsIP(address) || path == '/')";
    let broken = "cidr('192.0.2.0/24').containsIP(address) || headers.none[0] == ''";
    // What an address stands for in another form is that as well.
    let translated = "64:ff9b::c000:207";
    for (action, when, ip, answer) in [
        ("allow", within, "192.0.2.7", "asked"),
        ("allow", within, "198.51.100.7", "no_rule: asked"),
        ("allow", within, translated, "no_rule: asked"),
        ("allow", outside, "198.51.100.7", "asked"),
        ("allow", outside, "192.0.2.7", "no_rule: asked"),
        ("allow", outside, translated, "no_rule: asked"),
        ("allow", nested, "192.0.2.7", "asked"),
        ("allow", nested, "198.51.100.7", "no_rule: asked"),
        ("allow", broken, "192.0.2.7", "asked"),
        ("allow", broken, "198.51.100.7", "condition_failed: asked"),
        ("deny", within, "192.0.2.7", "rule_deny: asked"),
        ("deny", within, translated, "rule_deny: asked"),
        ("deny", within, "198.51.100.7", "allow *.test"),
        ("deny", outside, "198.51.100.7", "rule_deny: asked"),
        ("deny", outside, "192.0.2.7", "allow *.test"),
        ("deny", outside, translated, "rule_deny: asked"),
        ("deny", broken, "198.51.100.7", "condition_failed: asked"),
        ("deny", broken, "192.0.2.7", "rule_deny: asked"),
        ("deny", nested, "192.0.2.7", "rule_deny: asked"),
        (
            "deny",
            "method == 'PUT' && cidr('192.0.2.0/24').containsIP(address)",
            "192.0.2.7",
            "allow *.test",
        ),
    ] {
        assert_eq!(dial(action, when, ip), answer, "{action} {when} {ip}");
    }
}

#[test]
fn a_private_address_is_opened_by_no_rule_whose_expression_does_not_hold() {
    let open = |rule: &str, ip: &str| {
        let text = format!(
            "[policies.p]\nallow = [\"api.test\"]\n[[policies.p.rules]]\nname = \"asked\"\n\
             host = \"10.0.0.0/8\"\naction = \"allow\"\n{rule}\n"
        );
        let Verdict::Allow(mut permit) = judged(&config(&text), &asked()) else {
            panic!("{rule}");
        };
        match permit.check_address(ip.parse().unwrap()) {
            Ok(_) => "open".to_owned(),
            Err(denial) => denied(&denial),
        }
    };
    let closed = "private_address: no rule";
    for (rule, answer) in [
        ("when = \"method == 'GET'\"", "open"),
        ("when = \"method == 'PUT'\"", closed),
        (
            "when = \"headers.none[0] == 'a'\"",
            "condition_failed: asked",
        ),
        ("when = \"cidr('10.1.0.0/16').containsIP(address)\"", closed),
        ("when = \"cidr('10.0.0.0/16').containsIP(address)\"", "open"),
        ("addresses = \"10.1.0.0/16\"", closed),
        ("mode = \"off\"", closed),
    ] {
        assert_eq!(open(rule, "10.0.0.7"), answer, "{rule}");
    }
    // Elsewhere nothing is asked of it.
    assert_eq!(
        open("when = \"headers.none[0] == 'a'\"", "192.0.2.7"),
        "open"
    );
}

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
