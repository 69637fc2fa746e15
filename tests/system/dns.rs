use harness::host::ORIGIN_V6;

use crate::scene::{host, origin};

#[test]
fn a_tenant_finds_the_names_that_it_may_reach_and_no_others() {
    let Some(host) = host() else { return };
    let v4 = origin(&host);
    let _v6 = host.server(&format!("[{ORIGIN_V6}]:80"));
    let _agent = host.agent();
    // With the host's own resolver configuration, whose servers cannot be reached from here.
    let curl = |tenant: &str, url: &str| host.run(tenant, &["curl", "-sS", url]).end();
    for name in ["api.test", "six.test"] {
        let found = curl("acme", &format!("http://{name}/by-name"));
        assert_eq!(
            found.stdout,
            format!("hello from {name}/by-name\n"),
            "{found:?}"
        );
        let name = [
            ("kind", "dns"),
            ("dns.question.name", name),
            ("dns.answers.count", "1"),
        ];
        let line = host.expect_log(&name);
        assert_eq!(line["tenant"], "acme");
        assert_eq!(line["process.executable.name"], "curl");
    }
    for (tenant, name, reason) in [
        ("acme", "evil.test", "rule_deny"),
        ("acme", "nowhere.test", "no_rule"),
        ("globex", "api.test", "no_rule"),
    ] {
        let refused = curl(tenant, &format!("http://{name}/"));
        // 6: the name was not found.
        assert_eq!(refused.code, 6, "{refused:?}");
        let line = host.expect_log(&[("tenant", tenant), ("dns.question.name", name)]);
        assert_eq!(line["dns.response.code"], "REFUSED");
        assert_eq!(line["reason"], reason);
    }
    assert_eq!(v4.connections(), 1);
}
