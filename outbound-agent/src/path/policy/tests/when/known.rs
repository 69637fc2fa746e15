use super::*;
use crate::model::addr::OriginalDst;
use crate::path::policy::foresee::{Foreseen, foresee};

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

fn look_up(config: &Config) -> Result<(), String> {
    let tenant = &config.tenants[0].tenant;
    let looked = decide_name(tenant, "curl", &"api.test".parse().unwrap());
    looked.map(drop).map_err(|denial| denied(&denial))
}

#[test]
fn a_name_is_looked_up_only_where_a_request_might_be_let_through() {
    for (when, answer) in [
        ("true", Ok(())),
        ("host == 'api.test'", Ok(())),
        // Another port or request may be asked for.
        ("port == 8443 || scheme == 'https'", Ok(())),
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
}

#[test]
fn a_name_is_hidden_where_an_expression_leaves_nothing_open() {
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
        ("deny", "", "scheme == 'tcp' || port == 0", Ok(())),
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

#[test]
fn before_its_first_byte_a_connect_may_be_for_any_name() {
    let told = |action: &str, when: &str| {
        let config = config(&format!(
            "[policies.p]\nallow = [\"*:*\", \"tcp://*:*\"]\n[[policies.p.rules]]\nname = \"asked\"\n\
             host = \"*\"\naction = \"{action}\"\nwhen = {when:?}\n"
        ));
        let asked = OriginalDst("192.0.2.7:443".parse().unwrap());
        match foresee(&config.tenants[0].tenant, "curl", asked) {
            Foreseen::Allow(_) => "allow".to_owned(),
            Foreseen::Deny(denial) => denied(&denial),
            Foreseen::Open => "open".to_owned(),
        }
    };
    for (action, when, answer) in [
        ("deny", "host != 'api.test'", "open"),
        (
            "deny",
            "!cidr('198.51.100.0/24').containsIP(address)",
            "open",
        ),
        ("deny", "port == 443", "rule_deny: asked"),
        ("deny", "port == 80", "allow"),
        ("deny", "params.plan == 'a'", "condition_failed: asked"),
        ("deny", "host == 'api.test' || params.plan == 'a'", "open"),
    ] {
        assert_eq!(told(action, when), answer, "{when}");
    }
}
