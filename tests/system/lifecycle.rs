use harness::host::{Host, Running};
use harness::sandbox::eventually;
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::scene::{Prober, SECRET, curl, host, origin};

#[test]
fn the_agents_ports_are_reserved_beside_what_is_there_until_it_is_taken_off() {
    let Some(host) = host() else { return };
    const FILE: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
    let shell = |script: &str| {
        host.program("sh", &["-c", script])
            .output()
            .trim()
            .to_owned()
    };
    let reserved = || shell(&format!("cat {FILE}"));
    shell(&format!("echo 8080,9000-9002 > {FILE}"));
    let agent = host.agent();
    let with_ours = reserved();
    assert!(with_ours.starts_with("8080,9000-9002,"), "{with_ours}");
    // A namespace of a tenant's own has them from the start.
    let tenants = ["run", "--netns", "--tenant", "acme", "--", "cat", FILE];
    let ours = with_ours.trim_start_matches("8080,9000-9002,");
    assert_eq!(host.outbound(&tenants).output().trim(), ours);
    agent.kill();
    assert_eq!(reserved(), with_ours);
    let agent = host.agent();
    assert_eq!(reserved(), with_ours);
    agent.stop();
    host.outbound(&["detach"]).output();
    assert_eq!(reserved(), "8080,9000-9002");
}

#[test]
fn sigterm_lets_what_is_under_way_end_and_takes_nothing_new() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let agent = host.agent();
    let prober = Prober::start(&host, "acme");
    assert_eq!(prober.ask("/before"), "200");
    let held = curl(&host, "acme", "http://api.test/held").start();
    held.expect("hello ");

    agent.process().signal(Signal::SIGTERM);
    eventually("the agent says that it is not ready", || {
        let (status, body) = host.try_get("/readyz")?;
        (status == 503 && body.contains("drain")).then_some(())
    });
    let mut asked = 0;
    eventually("new connections are refused", || {
        asked += 1;
        let answer = prober.ask(&format!("/meanwhile/{asked}/"));
        // What waits in the backlog when the listener closes is reset.
        assert!(
            ["ECONNREFUSED", "ECONNRESET"].contains(&&*answer),
            "{answer}"
        );
        (answer == "ECONNREFUSED").then_some(())
    });
    assert!(agent.process().is_alive());
    origin.go_on();
    assert_eq!(held.end().stdout, "hello again\n200");
    let ended = agent.stop();
    assert_eq!(ended.code, 0, "{ended:?}");
    let line = host.expect_log(&[("url.path", "/held")]);
    assert_eq!(line["outcome"], "completed");
    assert_eq!(origin.requests().len(), 2);
}

#[test]
fn at_the_end_of_the_drain_what_is_still_under_way_is_ended_and_logged() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    host.configure("limits", "[limits]\ndrain = \"100ms\"\n");
    let agent = host.agent();
    let held = curl(&host, "acme", "http://api.test/held").start();
    held.expect("hello ");
    let ended = agent.stop();
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains("deadline"), "{ended:?}");
    // 18: the body broke off.
    assert_eq!(held.end().code, 18);
    let line = host.expect_log(&[("url.path", "/held")]);
    assert_eq!(line["outcome"], "aborted");
    assert_eq!(origin.requests().len(), 1);
}

/// What `outbound status`, which exits with `code`, says is attached.
#[track_caller]
fn attachments(host: &Host, code: i32) -> Value {
    let status = host.outbound(&["status", "--json"]).end();
    assert_eq!(status.code, code, "{status:?}");
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["running"], code == 0);
    let mut found = status["attachments"].as_array().unwrap().clone();
    found.sort_by_key(Value::to_string);
    Value::from(found)
}

#[test]
fn sigkill_leaves_tenants_without_egress_and_a_restart_brings_it_back() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let agent = host.agent();
    let prober = Prober::start(&host, "acme");
    assert_eq!(prober.ask("/before"), "200");
    let outside = || {
        let outside = host.program("curl", &["-sS", "http://203.0.113.10/outside"]);
        assert_eq!(outside.output(), "hello from 203.0.113.10/outside\n");
    };
    outside();
    let attached = attachments(&host, 0);
    assert!(attached.as_array().is_some_and(|found| found.len() > 20));

    agent.kill();
    let connections = origin.connections();
    assert_eq!(prober.ask("/dead"), "ECONNREFUSED");
    // A process that comes to the tenant only now is fenced as well.
    let late = host.program("curl", &["-sS", "http://203.0.113.10/late"]);
    let late = late.in_cgroup(&host.tenant_cgroup("acme")).end();
    assert_eq!(late.code, 7, "{late:?}");
    assert_eq!(origin.connections(), connections);
    outside();
    let status = host.outbound(&["status"]).end();
    assert_eq!(status.code, 1);
    for words in [
        "no agent answers",
        "tenants/acme: ",
        "connect4",
        "no egress",
    ] {
        assert!(status.stdout.contains(words), "{words}: {status:?}");
    }

    assert_eq!(attachments(&host, 1), attached);

    let _again = host.agent();
    assert_eq!(prober.ask("/again"), "200");
    assert_eq!(attachments(&host, 0), attached);
    let line = host.expect_log(&[("url.path", "/again")]);
    assert_eq!(line["tenant"], "acme");
    let seen = origin.requests();
    let targets: Vec<_> = seen.iter().map(|seen| seen.target.as_str()).collect();
    assert_eq!(targets, ["/before", "/outside", "/outside", "/again"]);
    // Who is no tenant is not carried: nothing is added.
    for request in &seen {
        let is_bare = request.header("authorization").is_none();
        assert_eq!(is_bare, request.target == "/outside");
    }
}

/// Asks again and again, and says how each ended.
const LOAD: &str = "
import errno, socket, sys
while True:
    try:
        with socket.create_connection(('203.0.113.10', 80), timeout=15) as stream:
            stream.sendall(b'GET /load HTTP/1.1\\r\\nhost: api.test\\r\\nconnection: close\\r\\n\\r\\n')
            print(stream.recv(65536)[9:12].decode() or 'nothing')
    except OSError as error:
        print(errno.errorcode.get(error.errno, str(error)))
";

#[test]
fn under_load_nothing_reaches_the_origin_past_the_agent_whatever_dies() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let mut agent = host.agent();
    let load: Vec<Running> = (0..4)
        .map(|_worker| host.python("acme", LOAD).start())
        .collect();
    let carried = || origin.requests().len();
    let refusals = || {
        let outputs = load.iter().map(Running::output);
        let count = outputs.map(|output| output.matches("ECONNREFUSED").count());
        count.sum::<usize>()
    };
    for round in 0..6 {
        let (before, refused) = (carried(), refusals());
        eventually("requests are carried", || {
            (carried() > before + 20).then_some(())
        });
        if round % 2 == 0 {
            agent.kill();
        } else {
            assert_eq!(agent.stop().code, 0);
        }
        eventually("requests are refused", || {
            (refusals() > refused + 20).then_some(())
        });
        agent = host.agent();
    }
    let (seen, connections) = (origin.requests(), origin.connections());
    let expected = format!("Bearer {SECRET}");
    for request in &seen {
        // Only the agent can add it.
        assert_eq!(request.header("authorization"), Some(expected.as_str()));
    }
    assert!(connections <= seen.len() + 4, "{connections} connections");
    for worker in &load {
        for ending in worker.output().lines() {
            assert!(
                [
                    "200",
                    "502",
                    "503",
                    "nothing",
                    "ECONNREFUSED",
                    "ECONNRESET",
                    "EPIPE"
                ]
                .contains(&ending),
                "{ending}"
            );
        }
    }
}

#[test]
fn detach_frees_the_tenants_and_says_what_it_took_off() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let agent = host.agent();
    let prober = Prober::start(&host, "globex");
    assert_eq!(prober.ask("/denied"), "403");
    let refused = host.outbound(&["detach"]).end();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("stop it first"), "{refused:?}");
    assert_eq!(prober.ask("/still-denied"), "403");
    agent.kill();
    assert_eq!(prober.ask("/fenced"), "ECONNREFUSED");
    assert_eq!(origin.connections(), 0);

    let said = host.outbound(&["detach"]).output();
    assert!(said.starts_with("detached "), "{said}");
    assert!(!host.pin_dir().exists());
    assert_eq!(prober.ask("/free"), "200");
    assert_eq!(origin.requests()[0].header("authorization"), None);

    let again = host.outbound(&["detach"]).output();
    assert!(again.starts_with("nothing is attached"), "{again}");
    let status = host.outbound(&["status", "--json"]).end();
    assert_eq!(status.code, 1);
    let status: Value = serde_json::from_str(&status.stdout).unwrap();
    assert_eq!(status["running"], false);
    assert_eq!(status["attachments"], serde_json::json!([]));
}

/// One line that names the other agent, and an exit code of 1.
#[track_caller]
fn expect_refused(host: &Host, words: &str) {
    let refused = host.start_agent().end();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{refused:?}");
    assert!(refused.stderr.contains(words), "{refused:?}");
}

#[test]
fn a_second_agent_is_refused_and_the_first_goes_on() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _first = host.agent();
    let prober = Prober::start(&host, "acme");
    expect_refused(&host, "another agent");
    assert_eq!(prober.ask("/after-same-socket"), "200");

    let main = std::fs::read_to_string(host.path("outbound.toml")).unwrap();
    let elsewhere = main
        .replace("admin.sock", "elsewhere/admin.sock")
        .replace(":9464", ":9465");
    host.write("outbound.toml", &elsewhere);
    let pins = host.pin_dir().display().to_string();
    expect_refused(&host, &format!("an agent is using {pins}; stop it first"));
    host.write("outbound.toml", &main);
    assert_eq!(prober.ask("/after-same-pins"), "200");
    assert_eq!(host.outbound(&["status"]).end().code, 0);
}
