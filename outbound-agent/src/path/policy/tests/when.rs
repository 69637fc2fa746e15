//! `when`: what an expression says of a decision, and what becomes of one that says nothing.

/// What is not known yet, or in more than one way.
mod known;
/// What dispatches gave.
mod parameters;
/// What is sent to make it slow.
mod hostile;

use super::rules::{Asked, config, expect, get, judged};
use super::*;
use crate::config::Config;

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
