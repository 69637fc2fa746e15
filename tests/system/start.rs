use crate::scene::{curl, host, origin};

#[test]
fn a_configuration_that_is_wrong_is_told_in_full_and_nothing_starts() {
    let Some(host) = host() else { return };
    host.configure("limits", "[limits]\nconect = \"1s\"\ndrain = \"soon\"\n");
    let file = host.path("conf.d/limits.toml").display().to_string();
    for command in [["agent"], ["check"]] {
        let refused = host.outbound(&command).end();
        assert_eq!(refused.code, 1, "{refused:?}");
        for words in [
            format!("{file}:2:1: limits.conect: "),
            "connect".to_owned(),
            format!("{file}:3:"),
            "\"soon\"".to_owned(),
        ] {
            assert!(refused.stderr.contains(&words), "{words}: {refused:?}");
        }
        assert!(!host.pin_dir().exists());
        assert!(!host.path("admin.sock").exists());
        assert!(host.try_get("/healthz").is_none());
    }
    host.configure("limits", "[limits]\nconnect = \"1s\"\n");
    assert_eq!(
        host.outbound(&["check"]).output(),
        "OK: 2 tenants, 2 policies\n"
    );
}

#[test]
fn check_foretells_what_the_agent_does() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let check = |tenant, url| {
        host.outbound(&["check", "--tenant", tenant, "GET", url])
            .end()
    };
    let _agent = host.agent();
    for (tenant, url, code, words, status) in [
        (
            "acme",
            "http://api.test/",
            0,
            ["allow", "allow api.test", "token"],
            "200",
        ),
        (
            "acme",
            "http://evil.test/",
            1,
            ["deny", "deny evil.test", "rule_deny"],
            "403",
        ),
        (
            "globex",
            "http://api.test/",
            1,
            ["deny", "none matches", "no_rule"],
            "403",
        ),
    ] {
        let said = check(tenant, url);
        assert_eq!(said.code, code, "{said:?}");
        for words in words {
            assert!(said.stdout.contains(words), "{words}: {said:?}");
        }
        let done = curl(&host, tenant, url).output();
        assert!(done.ends_with(status), "{done}");
    }
    let stranger = check("nobody", "http://api.test/");
    assert_eq!(stranger.code, 1);
    assert!(stranger.stderr.contains("no tenant is called \"nobody\""));
}

#[test]
fn without_privileges_there_is_one_line_that_says_which() {
    let Some(host) = host() else { return };
    let agent = host.outbound_as_user(&["agent"]).end();
    assert_eq!(agent.code, 1, "{agent:?}");
    assert_eq!(agent.stderr.lines().count(), 1, "{agent:?}");
    assert!(
        agent
            .stderr
            .contains("missing capability CAP_BPF; run as root"),
        "{agent:?}"
    );
    assert!(!host.pin_dir().exists());

    let _agent = host.agent();
    for command in [
        ["status"].as_slice(),
        &["run", "--tenant", "acme", "--", "true"],
    ] {
        let refused = host.outbound_as_user(command).end();
        assert_eq!(refused.code, 1, "{refused:?}");
        assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
        assert!(
            refused.stderr.contains("you may not talk to the agent"),
            "{refused:?}"
        );
    }
    let detach = host.outbound_as_user(&["detach"]).end();
    assert_eq!(detach.code, 1, "{detach:?}");
    assert_eq!(detach.stderr.lines().count(), 1, "{detach:?}");
    assert_eq!(host.outbound(&["status"]).end().code, 0);
}
