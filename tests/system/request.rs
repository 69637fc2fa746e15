use harness::host::{ORIGIN_V4, ORIGIN_V6};
use serde_json::Value;

use crate::scene::{Prober, SECRET, curl, host, origin, urllib};

#[test]
fn an_allowed_request_reaches_its_origin_and_is_logged_with_tenant_program_and_rule() {
    let Some(host) = host() else { return };
    let v4 = origin(&host);
    let v6 = host.server(&format!("[{ORIGIN_V6}]:80"));
    let _agent = host.agent();

    let from_curl = curl(&host, "acme", "http://api.test/curl4").output();
    assert_eq!(from_curl, "hello from api.test/curl4\n200");
    let from_curl = curl(&host, "acme", "http://six.test/curl6").output();
    assert_eq!(from_curl, "hello from six.test/curl6\n200");
    let from_python = urllib(&host, "acme", "api.test", "/python4").output();
    assert_eq!(from_python, "200 hello from api.test/python4\n\n");
    let from_python = urllib(&host, "acme", "six.test", "/python6").output();
    assert_eq!(from_python, "200 hello from six.test/python6\n\n");

    for (path, program, name, address) in [
        ("/curl4", "curl", "api.test", ORIGIN_V4),
        ("/curl6", "curl", "six.test", ORIGIN_V6),
        ("/python4", "python3", "api.test", ORIGIN_V4),
        ("/python6", "python3", "six.test", ORIGIN_V6),
    ] {
        let line = host.expect_log(&[("url.path", path)]);
        for (field, expected) in [
            ("kind", "http"),
            ("tenant", "acme"),
            ("process.executable.name", program),
            ("network.peer.address", address),
            ("server.address", name),
            ("http.request.method", "GET"),
            ("verdict", "allow"),
            ("rule", &format!("allow {name}")),
            ("outcome", "completed"),
            ("credential", "token"),
        ] {
            assert_eq!(line[field], expected, "{field} of {line:#}");
        }
        assert_eq!(line["http.response.status_code"], 200);
    }
    assert_eq!(host.log().len(), 4);
    for (server, paths) in [(&v4, ["/curl4", "/python4"]), (&v6, ["/curl6", "/python6"])] {
        let targets: Vec<_> = server
            .requests()
            .into_iter()
            .map(|seen| seen.target)
            .collect();
        assert_eq!(targets, paths);
    }
}

#[test]
fn a_denied_request_gets_a_readable_403_and_never_reaches_the_origin() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let _agent = host.agent();

    for (tenant, url, reason, rule) in [
        (
            "acme",
            "http://evil.test/x",
            "rule_deny",
            Some("deny evil.test"),
        ),
        ("globex", "http://api.test/x", "no_rule", None),
    ] {
        let answer = curl(&host, tenant, url).output();
        let (body, status) = answer.rsplit_once('\n').unwrap();
        assert_eq!(status, "403");
        let reply: Value = serde_json::from_str(body).unwrap();
        assert_eq!(reply["error"], "denied");
        assert_eq!(reply["reason"], reason);
        assert_eq!(reply["tenant"], tenant);
        assert_eq!(reply["rule"].as_str(), rule);
        assert!(reply["hint"].as_str().unwrap().contains("operator"));
        let line = host.expect_log(&[("tenant", tenant)]);
        for field in ["reason", "rule", "request_id"] {
            assert_eq!(line[field], reply[field], "{field} of {line:#}");
        }
        assert_eq!(line["verdict"], "deny");
        assert_eq!(line["process.executable.name"], "curl");
        let denials = format!("outbound_denials_total{{reason=\"{reason}\",tenant=\"{tenant}\"}}");
        host.expect_metric(&denials, 1.0);
    }
    assert_eq!(origin.connections(), 0);
    // The witness sees who gets through.
    curl(&host, "acme", "http://api.test/").output();
    assert_eq!(origin.connections(), 1);
}

#[test]
fn the_origin_sees_the_credential_and_nobody_else_does() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let agent = host.agent_of(host.start_agent().env("OUTBOUND_LOG", "trace"));

    let script = "import os, sys, urllib.request\n\
        request = urllib.request.Request('http://203.0.113.10/v',\n\
            headers={'Host': 'api.test', 'Authorization': 'Bearer of the tenant'})\n\
        with urllib.request.urlopen(request, timeout=20) as reply:\n\
        \x20   print(reply.status, reply.headers, reply.read())\n\
        print(dict(os.environ), open('/proc/self/environ').read(), sys.argv)\n";
    let tenants_view = host.python("acme", script).end();
    assert!(tenants_view.stdout.starts_with("200 "), "{tenants_view:?}");
    let denied = curl(&host, "acme", "http://evil.test/").end();
    let status = host.outbound(&["status", "--json"]).end();
    let check = host.outbound(&["check", "--tenant", "acme", "GET", "http://api.test/"]);
    let check = check.end();
    host.expect_log(&[("reason", "rule_deny")]);

    let expected = format!("Bearer {SECRET}");
    let seen = &origin.requests()[0];
    assert_eq!(seen.header("authorization"), Some(expected.as_str()));
    let mut views = vec![
        ("/metrics", host.get("/metrics").1),
        ("/readyz", host.get("/readyz").1),
        (
            "the access log",
            std::fs::read_to_string(host.path("access.jsonl")).unwrap(),
        ),
    ];
    for path in ["/v1/status", "/v1/tenants", "/v1/tenants/acme", "/metrics"] {
        let (status, text) = host.admin(path);
        assert_eq!(status, 200, "{text}");
        views.push((path, text));
    }
    let ended = agent.stop();
    assert!(ended.stderr.contains("stopping"), "{}", ended.stderr);
    for (name, program) in [
        ("the tenant", tenants_view),
        ("the denied request", denied),
        ("status", status),
        ("check", check),
        ("the agent", ended),
    ] {
        views.extend([(name, program.stdout), (name, program.stderr)]);
    }
    for (name, text) in views {
        assert!(!text.contains(SECRET), "{name} tells the secret: {text}");
    }
}

#[test]
fn what_outlives_its_run_stays_fenced() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let _agent = host.agent();
    let prober = Prober::orphan(&host, "globex");
    assert_eq!(prober.ask("/orphan"), "403");
    assert_eq!(origin.connections(), 0);
    let line = host.expect_log(&[("url.path", "/orphan")]);
    assert_eq!(line["tenant"], "globex");
}
