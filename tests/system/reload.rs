/// What lasts meanwhile.
mod live;

use std::fs;

use harness::host::{Host, ORIGIN_V4};
use harness::sandbox::eventually;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::scene::{Prober, curl, host, origin};

/// Another policy for `acme`, and a set whose hosts stand in a file.
fn rule(host: &Host, acme: &str) {
    let list = host.path("hosts.txt").display().to_string();
    host.configure(
        "policies",
        &format!("[sets.listed]\nfile = {list:?}\n[policies.acme]\n{acme}\n[policies.globex]\n"),
    );
}

fn reload(host: &Host) {
    let said = host.outbound(&["reload"]).output();
    assert!(said.starts_with("reloaded: tenants "), "{said}");
}

/// Asks until the answer is what it is to become.
fn await_answer(prober: &Prober, path: &str, wanted: &str) {
    let mut asked = 0;
    eventually(&format!("{path} gives {wanted}"), || {
        asked += 1;
        (prober.ask(&format!("{path}/{asked}")) == wanted).then_some(())
    });
}

/// What the status says of the configuration.
fn configuration(host: &Host) -> Value {
    let status = host.outbound(&["status", "--json"]).output();
    let status: Value = serde_json::from_str(&status).unwrap();
    status["configuration"].clone()
}

#[test]
fn a_change_holds_from_the_next_request_on_and_a_wrong_one_changes_nothing() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    host.write("hosts.txt", "listed.test\n");
    rule(&host, "allow = [\"api.test\"]");
    let agent = host.agent();
    let prober = Prober::start(&host, "acme");
    assert_eq!(prober.ask("/before"), "200");
    assert_eq!(configuration(&host)["reload"], Value::Null);

    rule(&host, "allow = [\"api.test\"]\ndeny = [\"api.test\"]");
    reload(&host);
    assert_eq!(prober.ask("/denied"), "403");

    // The command may have come after the file was seen.
    rule(&host, "allow = [\"api.test\"]");
    await_answer(&prober, "/again", "200");
    eventually("the status says so", || {
        let reload = configuration(&host)["reload"].clone();
        (reload["by"] == "files" && reload["applied"] == true).then_some(())
    });
    agent.process().signal(Signal::SIGHUP);
    eventually("the signal is heard", || {
        (configuration(&host)["reload"]["by"] == "signal").then_some(())
    });
    let rejected = || host.metric(r#"outbound_config_reloads_total{result="rejected"}"#);
    assert!(rejected().is_none_or(|count| count == 0.0));

    rule(
        &host,
        "allow = [\"api.test\"]\ndeny = [\"api.test\"]\nmodes = 1",
    );
    let refused = host.outbound(&["reload"]).end();
    assert_eq!(refused.code, 1, "{refused:?}");
    for words in [
        "last good one",
        "policies.toml:6:1",
        "policies.acme.modes",
        "`mode`",
    ] {
        assert!(refused.stderr.contains(words), "{words}: {refused:?}");
    }
    assert_eq!(prober.ask("/last-good"), "200");
    let held = configuration(&host);
    let problem = &held["reload"]["problems"][0];
    assert_eq!(
        (&held["reload"]["applied"], &problem["line"]),
        (&false.into(), &6.into())
    );
    assert_eq!(problem["key"], "policies.acme.modes");
    let said = host.outbound(&["status"]).output();
    assert!(said.contains("NOT reloaded at "), "{said}");
    assert!(rejected().is_some_and(|count| count >= 1.0));
    let ended = agent.stop();
    assert!(ended.stderr.contains("policies.acme.modes"), "{ended:?}");
}

#[test]
fn what_cannot_change_while_the_agent_runs_is_refused_by_its_name() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let prober = Prober::start(&host, "acme");
    for (table, key, value) in [
        ("agent", "port", "15999"),
        ("agent", "threads", "1"),
        ("limits", "connect", "\"1s\""),
        ("tls", "authority_per_tenant", "true"),
    ] {
        host.configure("zz", &format!("[{table}]\n{key} = {value}\n"));
        let refused = host.outbound(&["reload"]).end();
        assert_eq!(refused.code, 1, "{refused:?}");
        let named = format!("zz.toml:2:1: {table}.{key}: ");
        assert!(refused.stderr.contains(&named), "{refused:?}");
        assert!(refused.stderr.contains("needs a restart"), "{refused:?}");
    }
    host.configure("zz", "[agent]\nlog_level = \"warn\"\n");
    reload(&host);
    assert_eq!(prober.ask("/less"), "200");
    let ended = agent.stop();
    assert!(ended.stderr.contains("INFO"), "{ended:?}");
    assert!(!ended.stderr.contains("stopping"), "{ended:?}");
}

#[test]
fn a_list_of_hosts_is_read_again_when_it_changes() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    host.write("hosts.txt", "listed.test\n");
    rule(&host, "allow = [\"@listed\"]");
    let _agent = host.agent();
    let prober = Prober::start(&host, "acme");
    assert_eq!(prober.ask("/before"), "403");
    // As editors and package managers write: beside it, then in its place.
    host.write("hosts.new", "listed.test\napi.test\n");
    fs::rename(host.path("hosts.new"), host.path("hosts.txt")).unwrap();
    await_answer(&prober, "/after", "200");
    assert_eq!(origin.requests().len(), 1);
}

#[test]
fn tenants_come_and_go_and_what_is_nobodys_has_no_egress() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let prober = Prober::start(&host, "acme");
    assert_eq!(prober.ask("/before"), "200");

    host.tenant("new", "acme");
    reload(&host);
    assert_eq!(
        curl(&host, "new", "http://api.test/new").output(),
        "hello from api.test/new\n200"
    );
    host.expect_log(&[("tenant", "new"), ("url.path", "/new")]);

    fs::remove_file(host.path("conf.d/tenant-acme.toml")).unwrap();
    reload(&host);
    let gone = prober.ask("/gone");
    assert!(
        ["EPERM", "ECONNREFUSED", "ENETUNREACH"].contains(&&*gone),
        "{gone}"
    );
    let cgroup = host.tenant_cgroup("acme");
    let cgroup = cgroup.to_str().unwrap();
    host.tenant("acme", "acme");
    reload(&host);
    assert_eq!(prober.ask("/back"), "200");

    fs::remove_file(host.path("conf.d/tenant-acme.toml")).unwrap();
    reload(&host);
    assert_ne!(prober.ask("/gone-again"), "200");
    let said = host.outbound(&["unassign", cgroup]).output();
    assert!(
        said.contains("is a former tenant's no more and is free"),
        "{said}"
    );
    let free = host.program("curl", &["-sS", &format!("http://{ORIGIN_V4}/free")]);
    let free = free.in_cgroup(&host.tenant_cgroup("acme")).output();
    assert_eq!(free, format!("hello from {ORIGIN_V4}/free\n"));
    agent.stop();
}

#[test]
fn an_assignment_outlives_its_tenant_without_egress() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let cgroup = host.cgroup("leased");
    let path = cgroup.to_str().unwrap();
    host.outbound(&["assign", "--tenant", "acme", path])
        .output();
    let ask = || {
        let url = format!("http://{ORIGIN_V4}/leased");
        let curl = host.program("curl", &["-sS", "-H", "host: api.test", &url]);
        curl.in_cgroup(&cgroup).end()
    };
    assert_eq!(ask().stdout, "hello from api.test/leased\n");
    fs::remove_file(host.path("conf.d/tenant-acme.toml")).unwrap();
    reload(&host);
    assert_eq!(ask().code, 7, "no connection");
    host.tenant("acme", "acme");
    reload(&host);
    assert_eq!(ask().stdout, "hello from api.test/leased\n");
}

#[test]
fn an_open_tunnel_ends_when_its_policy_or_its_assignment_does() {
    let Some(host) = host() else { return };
    let _origin = host.server(&format!("{ORIGIN_V4}:7000"));
    let open = format!("allow = [\"tcp://{ORIGIN_V4}:7000\"]");
    host.write("hosts.txt", "listed.test\n");
    rule(&host, &open);
    let _agent = host.agent();
    let cgroup = host.cgroup("leased");
    let path = cgroup.to_str().unwrap();
    host.outbound(&["assign", "--tenant", "acme", path])
        .output();
    // Silent: a tunnel, in which nothing moves.
    let program = format!(
        "import socket\n\
         stream = socket.create_connection(({ORIGIN_V4:?}, 7000), timeout=40)\n\
         stream.sendall(b'\\0\\0\\0\\0')\n\
         print('open', flush=True)\n\
         try: print('ended', stream.recv(9))\n\
         except OSError as error: print('ended', error.errno)\n"
    );
    let tunnels = [
        host.python("acme", &program).start(),
        host.program("python3", &["-uc", &program])
            .in_cgroup(&cgroup)
            .start(),
    ];
    tunnels.iter().for_each(|tunnel| tunnel.expect("open\n"));
    // Both have been taken and carried on.
    host.expect_metric(r#"outbound_connections_opened_total{tenant="acme"}"#, 2.0);
    host.outbound(&["unassign", path]).output();
    tunnels[1].expect("ended");
    host.expect_log(&[("tenant", "acme"), ("reason", "unassigned")]);
    assert!(!tunnels[0].output().contains("ended"));
    rule(&host, "");
    reload(&host);
    tunnels[0].expect("ended");
    host.expect_log(&[("tenant", "acme"), ("reason", "policy_changed")]);
}
