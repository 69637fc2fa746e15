use super::*;
use crate::model::credential::Kind;
use crate::model::secret::Secret;
use crate::model::target::{List, Targets};

fn targets(list: List, texts: &[&str]) -> Targets {
    Targets::compile(texts.iter().map(|text| text.parse().unwrap()), list)
}

fn policy(mode: Mode, default: Fallback, allow: &[&str], deny: &[&str]) -> Arc<Policy> {
    Arc::new(Policy {
        name: "test".into(),
        mode,
        default,
        allow: targets(List::Allow, allow),
        deny: targets(List::Deny, deny),
    })
}

fn enforce(allow: &[&str], deny: &[&str]) -> Arc<Policy> {
    policy(Mode::Enforce, Fallback::Deny, allow, deny)
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
    decide(
        policy,
        &Facts {
            scheme,
            host: &host.parse().unwrap(),
            port: port.parse().unwrap(),
            method: None,
            path: None,
        },
    )
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

#[track_caller]
fn dialled(allow: &[&str], deny: &[&str], name: &str, ip: &str) -> String {
    let mut permit = permit(&enforce(allow, deny), name);
    match permit.check_address(ip.parse().unwrap()) {
        Ok(address) => address.to_string(),
        Err(denial) => denied(&denial),
    }
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
    for (url, answer) in [
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
    ] {
        assert_eq!(told(&ask(&policy, url)), answer, "{url}");
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
fn special_addresses_are_refused_in_every_written_form() {
    const PRIVATE: &[&str] = &[
        "0.0.0.0",
        "0.1.2.3",
        "10.1.2.3",
        "100.64.0.1",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.0.1",
        "169.254.1.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.168.1.1",
        "198.18.0.1",
        "198.19.255.255",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::10.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:0:10.0.0.1",
        "64:ff9b::10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b:1::10.0.0.1",
        "64:ff9b:1:a00:0:100::",
        "100::1",
        "2001:0:cb00:7101:0:0:f5ff:fffe",
        "2001:0:a00:1:0:0:34ff:8efe",
        "2002:a00:1::",
        "2002:7f00:1::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
    ];
    const METADATA: &[&str] = &[
        "169.254.169.254",
        "169.254.170.2",
        "169.254.170.23",
        "100.100.100.200",
        "192.0.0.192",
        "168.63.129.16",
        "::ffff:169.254.169.254",
        "::169.254.169.254",
        "64:ff9b::169.254.169.254",
        "64:ff9b::a83f:8110",
        "2002:a9fe:a9fe::1",
        "2001:0:cb00:7101::5601:5601",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
    ];
    const ORDINARY: &[&str] = &[
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.0.2.1",
        "198.17.255.255",
        "198.20.0.0",
        "198.51.100.1",
        "203.0.113.1",
        "223.255.255.255",
        "2001:db8::1",
        "2606:4700::1111",
        "64:ff9b::1.1.1.1",
        "2002:101:101::1",
        "2001:0:cb00:7101:0:0:fefe:fefe",
        "::ffff:1.1.1.1",
    ];
    for ip in PRIVATE {
        assert_eq!(
            dialled(&["a.test", "*"], &[], "http://a.test:80", ip),
            "private_address: no rule",
            "{ip}"
        );
        assert_eq!(
            told(&ask(&enforce(&["*"], &[]), &literal(ip))),
            "private_address: no rule",
            "{ip}"
        );
    }
    for ip in METADATA {
        let allow = &["a.test", "*", "0.0.0.0/0", "[::/0]"];
        assert_eq!(
            dialled(allow, &[], "http://a.test:80", ip),
            "metadata_address: no rule",
            "{ip}"
        );
        assert_eq!(
            told(&ask(&enforce(allow, &[]), &literal(ip))),
            "metadata_address: no rule",
            "{ip}"
        );
    }
    for ip in ORDINARY {
        let address: IpAddr = ip.parse().unwrap();
        assert_eq!(
            dialled(&["a.test"], &[], "http://a.test:80", ip),
            UpstreamAddr(SocketAddr::new(address, 80)).to_string()
        );
    }
}

/// A URL with an address as its host.
fn literal(ip: &str) -> String {
    if ip.contains(':') {
        format!("http://[{ip}]:80")
    } else {
        format!("http://{ip}:80")
    }
}

#[test]
fn a_rule_that_names_the_address_or_its_range_opens_it() {
    let name = "http://a.test:80";
    for (allow, ip, answer) in [
        ("10.0.0.0/8", "10.1.2.3", "10.1.2.3:80"),
        ("10.1.2.3", "10.1.2.3", "10.1.2.3:80"),
        ("10.1.2.3", "::ffff:10.1.2.3", "10.1.2.3:80"),
        ("10.1.2.3", "64:ff9b::10.1.2.3", "[64:ff9b::a01:203]:80"),
        ("64:ff9b::/96", "64:ff9b::10.1.2.3", "[64:ff9b::a01:203]:80"),
        ("::1", "::1", "[::1]:80"),
        ("fd00::/8", "fd12::1", "[fd12::1]:80"),
        ("10.1.2.3:8080", "10.1.2.3", "private_address: no rule"),
        ("https://10.1.2.3", "10.1.2.3", "private_address: no rule"),
        ("10.1.2.4", "10.1.2.3", "private_address: no rule"),
        (
            "169.254.0.0/16",
            "169.254.169.254",
            "metadata_address: no rule",
        ),
        (
            "169.254.169.254/32",
            "169.254.169.254",
            "metadata_address: no rule",
        ),
        ("169.254.169.254", "169.254.169.254", "169.254.169.254:80"),
        ("fd00:ec2::254", "fd00:ec2::254", "[fd00:ec2::254]:80"),
        (
            "fd00:ec2::/32",
            "fd00:ec2::254",
            "metadata_address: no rule",
        ),
    ] {
        assert_eq!(
            dialled(&["a.test", allow], &[], name, ip),
            answer,
            "{allow} {ip}"
        );
    }
}

#[test]
fn a_metadata_name_opens_only_when_written_out() {
    let name = "http://metadata.google.internal:80";
    let by_suffix = enforce(&["*.google.internal", "*"], &[]);
    assert_eq!(told(&ask(&by_suffix, name)), "metadata_address: no rule");
    assert_eq!(
        told(&ask(&by_suffix, "http://instance-data:80")),
        "metadata_address: no rule"
    );
    let exact = &["metadata.google.internal"];
    assert_eq!(
        dialled(exact, &[], name, "169.254.169.254"),
        "169.254.169.254:80"
    );
    assert_eq!(
        dialled(exact, &[], name, "10.0.0.1"),
        "private_address: no rule"
    );
}

#[test]
fn denied_ranges_hold_for_the_address_of_an_allowed_name() {
    let name = "http://a.test:80";
    for (deny, ip, answer) in [
        (
            "203.0.113.0/24",
            "203.0.113.7",
            "rule_deny: deny 203.0.113.0/24",
        ),
        ("203.0.113.7", "203.0.113.7", "rule_deny: deny 203.0.113.7"),
        (
            "203.0.113.7",
            "64:ff9b::203.0.113.7",
            "rule_deny: deny 203.0.113.7",
        ),
        (
            "2001:db8::/32",
            "2001:db8::1",
            "rule_deny: deny 2001:db8::/32",
        ),
        ("203.0.113.7:8080", "203.0.113.7", "203.0.113.7:80"),
        ("tcp://203.0.113.0/24:*", "203.0.113.7", "203.0.113.7:80"),
    ] {
        assert_eq!(
            dialled(&["a.test", "0.0.0.0/0"], &[deny], name, ip),
            answer,
            "{deny}"
        );
    }
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

#[test]
fn a_credential_goes_only_where_it_is_bound() {
    let credential = |hosts, allow_plaintext| Credential {
        name: "c".into(),
        hosts: targets(List::Hosts, hosts),
        allow_plaintext,
        kind: Kind::Header {
            name: http::header::AUTHORIZATION,
            value: Secret::new(b"x".to_vec()),
        },
    };
    let to = |scheme, host: &str, port| Destination {
        scheme,
        host: host.parse().unwrap(),
        port,
    };
    let bound = credential(&["api.test", "*.example:8443"], false);
    assert!(applies(&bound, &to(Scheme::Https, "api.test", 443)));
    assert!(applies(&bound, &to(Scheme::Https, "a.example", 8443)));
    assert!(!applies(&bound, &to(Scheme::Https, "example", 8443)));
    assert!(!applies(&bound, &to(Scheme::Https, "api.test", 8443)));
    assert!(!applies(&bound, &to(Scheme::Http, "api.test", 80)));
    assert!(!applies(&bound, &to(Scheme::Tcp, "api.test", 443)));
    assert!(applies(
        &credential(&["api.test"], true),
        &to(Scheme::Http, "api.test", 80)
    ));
}
