mod address;
mod foresee;
mod modes;
mod name;
mod network;
mod rules;
mod when;

use super::*;
use crate::model::policy::Fallback;
use crate::model::targets::List;
use crate::model::tenant::TenantId;

fn targets(list: List, texts: &[&str]) -> Targets {
    Targets::compile(texts.iter().map(|text| text.parse().unwrap()), list)
}

fn policy(mode: Mode, default: Fallback, allow: &[&str], deny: &[&str]) -> Arc<Policy> {
    Arc::new(Policy {
        roots: None,
        name: "test".into(),
        mode,
        default,
        allow: targets(List::Allow, allow),
        deny: targets(List::Deny, deny),
        true_errors: true,
        ..Policy::default()
    })
}

fn enforce(allow: &[&str], deny: &[&str]) -> Arc<Policy> {
    policy(Mode::Enforce, Fallback::Deny, allow, deny)
}

fn tenant(policy: &Arc<Policy>) -> Arc<Tenant> {
    Arc::new(Tenant {
        namespace: None,
        parameters: None,
        dispatch: None,
        id: TenantId::new("acme").unwrap(),
        policy: Arc::clone(policy),
        credentials: Vec::new(),
        limits: Default::default(),
    })
}

/// Decides on `scheme://host:port`.
fn ask(policy: &Arc<Policy>, url: &str) -> Verdict {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, port) = rest.rsplit_once(':').unwrap();
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        "tcp" => Scheme::Tcp,
        other => panic!("{other}"),
    };
    let tenant = tenant(policy);
    let facts = Facts {
        tenant: Some(&tenant),
        executable: "curl",
        scheme,
        host: &host.parse().unwrap(),
        port: port.parse().unwrap(),
        request: None,
        is_foreseen: false,
    };
    decide(policy, &facts)
}

#[track_caller]
fn permit(policy: &Arc<Policy>, url: &str) -> Permit {
    match ask(policy, url) {
        Verdict::Allow(permit) => permit,
        Verdict::Deny(denial) => panic!("{url} denied: {denial:?}"),
    }
}

/// The verdict as one line: `allow RULE`, or the denial's reason and rule.
fn told(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(permit) => permit.rule().unwrap_or("allow by default").to_owned(),
        Verdict::Deny(denial) => denied(denial),
    }
}

fn denied(denial: &Denial) -> String {
    let rule = denial.rule.as_deref().unwrap_or("no rule");
    format!("{}: {rule}", denial.reason.label())
}

#[test]
fn deny_wins_and_the_most_specific_rule_is_named() {
    let policy = enforce(
        &[
            "*",
            "*.example",
            "*.a.example",
            "x.a.example",
            "https://x.a.example",
            "https://x.a.example:443",
            "192.0.2.0/24",
            "192.0.2.128/25",
            "192.0.2.200",
            "db.example:*",
            "tcp://db.example:5432",
            "evil.example",
        ],
        &[
            "*.evil.example",
            "evil.example",
            "tcp://*:25",
            "203.0.113.0/24",
            "http://plain.example",
        ],
    );
    for (url, answer) in PRECEDENCE {
        assert_eq!(told(&ask(&policy, url)), *answer, "{url}");
    }
}

#[test]
fn a_rule_below_a_name_does_not_cover_the_name() {
    let policy = enforce(&["*.example.com"], &[]);
    assert_eq!(
        told(&ask(&policy, "https://example.com:443")),
        "no_rule: no rule"
    );
    assert_eq!(
        told(&ask(&policy, "https://badexample.com:443")),
        "no_rule: no rule"
    );
    permit(&policy, "https://a.b.example.com:443");
}

#[test]
fn a_default_of_allow_is_for_every_scheme_and_port_but_not_for_private_addresses() {
    let policy = policy(Mode::Enforce, Fallback::Allow, &[], &["evil.example"]);
    for url in [
        "http://a.test:8080",
        "https://a.test:1",
        "tcp://192.0.2.1:22",
    ] {
        assert_eq!(told(&ask(&policy, url)), "allow by default", "{url}");
    }
    for (url, answer) in [
        ("tcp://10.0.0.1:22", "private_address: no rule"),
        ("http://169.254.169.254:80", "metadata_address: no rule"),
        (
            "http://metadata.google.internal:80",
            "metadata_address: no rule",
        ),
        ("tcp://evil.example:22", "rule_deny: deny evil.example"),
    ] {
        assert_eq!(told(&ask(&policy, url)), answer, "{url}");
    }
}

#[test]
fn audit_lets_through_and_says_what_it_would_have_refused() {
    let policy = policy(Mode::Audit, Fallback::Deny, &["a.test"], &["evil.test"]);
    assert_eq!(permit(&policy, "http://a.test:80").would_deny(), None);
    let evil = permit(&policy, "http://evil.test:80");
    assert_eq!(
        denied(evil.would_deny().unwrap()),
        "rule_deny: deny evil.test"
    );

    let mut rebound = permit(&policy, "http://a.test:80");
    let address = rebound.check_address("10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(address.to_string(), "10.0.0.1:80");
    assert_eq!(
        denied(rebound.would_deny().unwrap()),
        "private_address: no rule"
    );

    let mut twice = permit(&policy, "http://other.test:80");
    twice.check_address("10.0.0.1".parse().unwrap()).unwrap();
    assert_eq!(denied(twice.would_deny().unwrap()), "no_rule: no rule");
}

#[test]
fn off_judges_nothing() {
    let policy = policy(Mode::Off, Fallback::Deny, &[], &["*"]);
    let mut permit = permit(&policy, "http://169.254.169.254:80");
    permit
        .check_address("169.254.169.254".parse().unwrap())
        .unwrap();
    assert_eq!((permit.rule(), permit.would_deny()), (None, None));
}

#[test]
fn opaque_names_are_those_of_tcp_rules_with_the_port() {
    let policy = enforce(
        &[
            "tcp://db.test:5432",
            "tcp://any.test:*",
            "web.test:5432",
            "tcp://*.test:5432",
            "tcp://192.0.2.1:5432",
        ],
        &[],
    );
    let names = |port| {
        let mut names: Vec<_> = opaque_names(&policy, port)
            .map(ToString::to_string)
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(5432), ["any.test", "db.test"]);
    assert_eq!(names(22), ["any.test"]);
}

/// What is asked for, and the answer.
const PRECEDENCE: &[(&str, &str)] = &[
    ("https://else.test:443", "allow *"),
    ("https://example:443", "allow *"),
    ("https://b.example:443", "allow *.example"),
    ("https://y.b.example:443", "allow *.example"),
    ("https://a.example:443", "allow *.example"),
    ("https://z.y.a.example:443", "allow *.a.example"),
    ("http://x.a.example:80", "allow x.a.example"),
    ("https://x.a.example:80", "allow https://x.a.example"),
    ("https://X.A.Example.:443", "allow https://x.a.example:443"),
    ("http://192.0.2.1:80", "allow 192.0.2.0/24"),
    ("http://192.0.2.129:80", "allow 192.0.2.128/25"),
    ("http://192.0.2.200:80", "allow 192.0.2.200"),
    ("http://[::ffff:192.0.2.200]:80", "allow 192.0.2.200"),
    ("http://198.51.100.1:80", "allow *"),
    ("https://else.test:8443", "no_rule: no rule"),
    ("tcp://else.test:443", "no_rule: no rule"),
    ("http://db.example:5432", "allow db.example:*"),
    ("tcp://db.example:5432", "allow tcp://db.example:5432"),
    ("tcp://db.example:5433", "no_rule: no rule"),
    ("https://evil.example:443", "rule_deny: deny evil.example"),
    (
        "https://a.b.evil.example:8443",
        "rule_deny: deny *.evil.example",
    ),
    ("tcp://a.evil.example:22", "rule_deny: deny *.evil.example"),
    ("tcp://db.example:25", "rule_deny: deny tcp://*:25"),
    ("http://db.example:25", "allow db.example:*"),
    ("http://203.0.113.9:80", "rule_deny: deny 203.0.113.0/24"),
    (
        "http://plain.example:8080",
        "rule_deny: deny http://plain.example",
    ),
    ("https://plain.example:443", "allow *.example"),
];
