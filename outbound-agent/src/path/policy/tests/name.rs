use super::*;

#[track_caller]
fn name(policy: &Arc<Policy>, host: &str) -> Result<Option<String>, (Reason, Option<String>)> {
    decide_name(&tenant(policy), "curl", &host.parse().unwrap())
        .map(|permit| permit.rule().map(str::to_owned))
        .map_err(|denial| (denial.reason, denial.rule.map(Into::into)))
}

fn permit(policy: &Arc<Policy>, host: &str) -> NamePermit {
    decide_name(&tenant(policy), "curl", &host.parse().unwrap()).unwrap()
}

#[test]
fn a_name_is_known_where_some_destination_under_it_is_allowed() {
    let policy = enforce(
        &[
            "api.test:8443",
            "*.below.test",
            "tcp://db.test:5432",
            "192.0.2.0/24",
        ],
        &[],
    );
    for (host, rule) in [
        ("api.test", "allow api.test:8443"),
        ("a.b.below.test", "allow *.below.test"),
        ("db.test", "allow tcp://db.test:5432"),
        ("192.0.2.7", "allow 192.0.2.0/24"),
    ] {
        assert_eq!(name(&policy, host), Ok(Some(rule.to_owned())), "{host}");
    }
    for host in ["below.test", "evil.test", "x.api.test", "198.51.100.1"] {
        assert_eq!(name(&policy, host), Err((Reason::NoRule, None)), "{host}");
    }
}

#[test]
fn a_deny_hides_a_name_only_where_it_leaves_nothing_open() {
    let open = ["*:*", "tcp://*:*"];
    let hidden = Err((Reason::RuleDeny, Some("deny evil.test".to_owned())));
    assert_eq!(name(&enforce(&open, &["evil.test"]), "evil.test"), hidden);
    let policy = enforce(&open, &["evil.test:25", "https://half.test"]);
    assert!(name(&policy, "evil.test").is_ok());
    assert!(name(&policy, "half.test").is_ok());
    // What is allowed is denied, scheme by scheme.
    let policy = enforce(&["https://half.test"], &["https://half.test"]);
    assert!(name(&policy, "half.test").is_err());
}

#[test]
fn a_default_of_allow_knows_every_name_but_those_of_metadata_services() {
    let open = policy(Mode::Enforce, Fallback::Allow, &[], &["evil.test"]);
    assert_eq!(name(&open, "any.test"), Ok(None));
    assert!(name(&open, "evil.test").is_err());
    let metadata = Err((Reason::MetadataAddress, None));
    assert_eq!(name(&open, "metadata.google.internal"), metadata);
    assert_eq!(name(&open, "169.254.169.254"), metadata);
    let named = enforce(&["metadata.google.internal"], &[]);
    assert!(name(&named, "metadata.google.internal").is_ok());
}

#[test]
fn an_address_that_could_not_be_dialled_is_not_shown() {
    let policy = enforce(&["api.test", "10.1.0.0/16:5432"], &["192.0.2.66"]);
    let mut permit = permit(&policy, "api.test");
    for (ip, reason) in [
        ("192.0.2.7", None),
        ("10.1.2.3", None),
        ("::ffff:10.1.2.3", None),
        ("10.2.0.1", Some(Reason::PrivateAddress)),
        ("127.0.0.1", Some(Reason::PrivateAddress)),
        ("::1", Some(Reason::PrivateAddress)),
        ("64:ff9b::a00:1", Some(Reason::PrivateAddress)),
        ("169.254.169.254", Some(Reason::MetadataAddress)),
        ("192.0.2.66", Some(Reason::RuleDeny)),
    ] {
        let judged = permit.check_address(ip.parse().unwrap());
        assert_eq!(judged.err().map(|denial| denial.reason), reason, "{ip}");
    }
}

#[test]
fn a_policy_that_only_watches_shows_everything_and_says_so() {
    let audit = policy(Mode::Audit, Fallback::Deny, &["api.test"], &[]);
    let unknown = permit(&audit, "evil.test");
    assert_eq!(unknown.would_deny().unwrap().reason, Reason::NoRule);
    let mut known = permit(&audit, "api.test");
    assert!(known.would_deny().is_none());
    assert!(known.check_address("10.0.0.1".parse().unwrap()).is_ok());
    assert_eq!(known.would_deny().unwrap().reason, Reason::PrivateAddress);
    let mut off = permit(&policy(Mode::Off, Fallback::Deny, &[], &[]), "evil.test");
    assert!(off.check_address("10.0.0.1".parse().unwrap()).is_ok());
    assert!(off.would_deny().is_none());
}
