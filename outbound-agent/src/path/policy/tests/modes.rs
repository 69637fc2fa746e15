//! Modes, floors, and what a rule asks of who is asking.

use super::rules::{config, expect, get, judged};
use super::*;

#[test]
fn a_rule_has_a_mode_of_its_own() {
    let text = r#"
[policies.p]
mode = "MODE"
allow = ["*.test"]
[[policies.p.rules]]
name = "watched"
host = "a.test"
action = "deny"
mode = "audit"
[[policies.p.rules]]
name = "bound"
host = "b.test"
action = "deny"
mode = "enforce"
[[policies.p.rules]]
name = "gone"
host = "*.test"
action = "deny"
mode = "off"
[[policies.p.rules]]
name = "tried"
host = "new.example"
action = "allow"
mode = "audit"
"#;
    for mode in ["enforce", "audit"] {
        let config = config(&text.replace("MODE", mode));
        let permit = |url| match judged(&config, &get(url)) {
            Verdict::Allow(permit) => permit,
            Verdict::Deny(denial) => panic!("{url}: {denial:?}"),
        };
        let watched = permit("https://a.test/");
        assert_eq!(denied(watched.would_deny().unwrap()), "rule_deny: watched");
        assert_eq!(watched.rule(), Some("allow *.test"));
        assert_eq!(permit("https://c.test/").would_deny(), None);
        expect(&config, "https://b.test/", "rule_deny: bound");
        if mode == "enforce" {
            let tried = permit("https://new.example/");
            assert_eq!(denied(tried.would_deny().unwrap()), "no_rule: tried");
        }
    }
}

#[test]
fn a_floor_cannot_be_loosened() {
    let config = config(
        r#"
[policies.base]
floor = true
default = "allow"
deny = ["*.evil.test", "203.0.113.0/24"]
[policies.p]
mode = "off"
"#,
    );
    expect(
        &config,
        "https://x.evil.test/",
        "rule_deny: deny *.evil.test",
    );
    let Verdict::Allow(mut permit) = judged(&config, &get("https://good.test/")) else {
        panic!("denied");
    };
    let denial = permit.check_address("203.0.113.9".parse().unwrap());
    assert_eq!(
        denied(&denial.unwrap_err()),
        "rule_deny: deny 203.0.113.0/24"
    );
    let tenant = &config.tenants[0].tenant;
    assert!(decide_name(tenant, "", &"x.evil.test".parse().unwrap()).is_err());
    assert!(decide_name(tenant, "", &"good.test".parse().unwrap()).is_ok());
}

#[test]
fn a_floor_that_denies_by_default_is_the_most_that_is_allowed() {
    let config = config(
        "[policies.base]\nfloor = true\nallow = [\"*.test\"]\n[policies.p]\nallow = [\"*\"]\n",
    );
    expect(&config, "https://a.test/", "allow *");
    expect(&config, "https://a.example/", "no_rule: no rule");
}

#[test]
fn tenant_and_executable_are_asked_for() {
    let config = config(
        r#"
[[policies.p.rules]]
name = "ours"
host = "a.test"
tenants = ["ac*"]
executables = "curl"
action = "allow"
[[policies.p.rules]]
name = "others"
host = "b.test"
tenants = "globex"
action = "allow"
"#,
    );
    expect(&config, "https://a.test/", "ours");
    expect(&config, "https://b.test/", "no_rule: no rule");
}

#[test]
fn a_rule_for_look_ups_is_for_nothing_else() {
    let config = config(
        r#"
[policies.p]
allow = ["open.test"]
[[policies.p.rules]]
name = "may-know"
host = "known.test"
scheme = "dns"
action = "allow"
[[policies.p.rules]]
name = "may-not-know"
host = "open.test"
scheme = "dns"
action = "deny"
"#,
    );
    let tenant = &config.tenants[0].tenant;
    let ask = |host: &str| decide_name(tenant, "", &host.parse().unwrap());
    assert_eq!(ask("known.test").unwrap().rule(), Some("may-know"));
    assert_eq!(
        ask("open.test").unwrap_err().rule.as_deref(),
        Some("may-not-know")
    );
    expect(&config, "https://known.test/", "no_rule: no rule");
    expect(&config, "https://open.test/", "allow open.test");
}

#[test]
fn what_a_later_request_may_be_denied_is_still_open_at_connect() {
    use crate::model::addr::OriginalDst;
    use crate::path::policy::foresee::{Foreseen, foresee};

    let config = config(
        r#"
[policies.p]
allow = ["203.0.113.0/24"]
[[policies.p.rules]]
name = "no-delete"
host = "203.0.113.7"
methods = "DELETE"
action = "deny"
[[policies.p.rules]]
name = "read"
host = "10.0.0.7"
methods = "GET"
action = "allow"
"#,
    );
    let tenant = &config.tenants[0].tenant;
    let foreseen = |address: &str| {
        let asked = OriginalDst(address.parse().unwrap());
        match foresee(tenant, "", asked) {
            Foreseen::Allow(_) => "allow",
            Foreseen::Deny(_) => "deny",
            Foreseen::Open => "open",
        }
    };
    assert_eq!(foreseen("203.0.113.8:443"), "allow");
    assert_eq!(foreseen("203.0.113.7:443"), "open");
    assert_eq!(foreseen("10.0.0.7:443"), "open");
    assert_eq!(foreseen("10.0.0.8:443"), "deny");
}

#[test]
fn namespace_and_dispatch_parameters_are_asked_for() {
    let config = config(
        r#"
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = { service = "egress", parameters = ["params_object"] }
[services.egress]
main = "egress.js"
[[policies.p.rules]]
name = "paid"
host = "paid.test"
namespaces = "prod*"
parameters = { "params_object.plan" = "pro*", "params_object.seats" = "7", "params_object.trial" = false }
action = "allow"
[[policies.p.rules]]
name = "other-plan"
host = "other.test"
parameters = { "params_object.plan" = "free" }
action = "allow"
[[policies.p.rules]]
name = "other-namespace"
host = "other.test"
namespaces = "staging"
action = "allow"
[[tenants]]
name = "paying"
policy = "p"
cgroup = "/paying"
namespace = "production"
outbound = { params_object = { plan = "pro-2", seats = 7 } }
"#,
    );
    let ask = |tenant: usize, host: &str| {
        let tenant = &config.tenants[tenant].tenant;
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
    let paying = usize::from(config.tenants[0].tenant.id.as_str() != "paying");
    assert_eq!(ask(paying, "paid.test"), "paid");
    assert_eq!(ask(paying, "other.test"), "no_rule: no rule");
    assert_eq!(ask(1 - paying, "paid.test"), "no_rule: no rule");
}
