use super::*;
use crate::model::addr::OriginalDst;
use crate::path::policy::foresee::{Foreseen, foresee, foresee_as, names};

#[track_caller]
fn foreseen(policy: &Arc<Policy>, address: &str) -> String {
    match foresee(
        &tenant(policy),
        "curl",
        OriginalDst(address.parse().unwrap()),
    ) {
        Foreseen::Allow(permit) => permit.rule().unwrap_or("allow by default").to_owned(),
        Foreseen::Deny(denial) => denied(&denial),
        Foreseen::Open => "open".to_owned(),
    }
}

#[test]
fn an_address_that_a_rule_names_may_be_connected_to() {
    let policy = enforce(&["203.0.113.0/24", "tcp://198.51.100.7:25"], &[]);
    assert_eq!(foreseen(&policy, "203.0.113.9:443"), "allow 203.0.113.0/24");
    assert_eq!(
        foreseen(&policy, "198.51.100.7:25"),
        "allow tcp://198.51.100.7:25"
    );
}

#[test]
fn an_address_that_every_scheme_denies_is_denied() {
    let policy = enforce(&["api.test"], &["198.51.100.0/24"]);
    assert_eq!(
        foreseen(&policy, "198.51.100.7:443"),
        "rule_deny: deny 198.51.100.0/24"
    );
    assert_eq!(
        foreseen(&policy, "10.0.0.1:443"),
        "private_address: no rule"
    );
    assert_eq!(
        foreseen(&policy, "169.254.169.254:80"),
        "metadata_address: no rule"
    );
}

#[test]
fn a_port_that_no_rule_is_for_is_denied() {
    let policy = enforce(&["api.test", "*.test:8443"], &[]);
    assert_eq!(foreseen(&policy, "203.0.113.9:25"), "no_rule: no rule");
    assert_eq!(foreseen(&policy, "203.0.113.9:8443"), "open");
}

#[test]
fn an_address_that_only_one_scheme_denies_stays_open() {
    let policy = enforce(&["api.test"], &["tcp://203.0.113.9:*"]);
    assert_eq!(foreseen(&policy, "203.0.113.9:443"), "open");
}

#[test]
fn a_name_makes_its_address_one_that_may_be_connected_to() {
    let policy = enforce(&["api.test", "db.test:5432", "*.test"], &["bad.test"]);
    let found: Vec<String> = names(&policy, 443).map(ToString::to_string).collect();
    assert_eq!(found, ["api.test"]);
    let asked = OriginalDst("203.0.113.9:443".parse().unwrap());
    let ask =
        |name: &str| foresee_as(&tenant(&policy), "curl", &name.parse().unwrap(), asked).is_some();
    assert!(ask("api.test"));
    assert!(!ask("bad.test"));
}

#[test]
fn a_policy_with_very_many_names_looks_none_of_them_up() {
    let many: Vec<String> = (0..65).map(|n| format!("n{n}.test")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(names(&enforce(&many, &[]), 443).count(), 0);
}

#[test]
fn a_policy_that_only_watches_lets_every_address_be_connected_to() {
    let policy = policy(Mode::Audit, Fallback::Deny, &[], &[]);
    assert_eq!(foreseen(&policy, "203.0.113.9:443"), "allow by default");
}
