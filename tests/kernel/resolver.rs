//! A workload asks whatever server it likes, and the agent answers: kernel, sockets and resolver
//! together.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use arc_swap::ArcSwap;
use outbound_agent::app::App;
use outbound_agent::config;
use outbound_agent::model::tenant::Tenants;
use outbound_agent::observe::access_log::{AccessLog, Lines};
use outbound_agent::observe::metrics::Metrics;
use outbound_agent::observe::record::Records;
use tokio::runtime::Runtime;

use crate::stage::{DNS_PORT, Stage, TCP_PORT, Tenant};

/// An agent in the stage's namespace; it ends with the test.
struct Agent {
    _app: App,
    _runtime: Runtime,
    lines: Lines,
}

impl Agent {
    /// Serves `a`, which may reach `api.test`, and `b`, which may reach `other.test`.
    fn start(stage: &mut Stage, a: &Tenant, b: &Tenant) -> Self {
        let text = format!(
            r#"
            version = 1
            [agent]
            port = {TCP_PORT}
            dns_port = {DNS_PORT}
            [resolver]
            hosts = {{ "api.test" = ["203.0.113.10", "2001:db8::10"], "other.test" = ["203.0.113.11"] }}
            servers = ["127.0.0.1:1"]
            [policies.a]
            allow = ["api.test"]
            [policies.b]
            allow = ["other.test"]
            [[tenants]]
            name = "a"
            policy = "a"
            cgroup = "/a"
            [[tenants]]
            name = "b"
            policy = "b"
            cgroup = "/b"
            "#
        );
        let config = config::parse(&text, Path::new("test.toml")).expect("a configuration");
        let tenants = config.tenants.iter().map(|spec| Arc::clone(&spec.tenant));
        let snapshot: Tenants = [a.id, b.id].into_iter().zip(tenants).collect();
        let (log, lines) = AccessLog::memory().expect("a log");
        stage.stop_listening();
        let (app, runtime) = stage.sandbox.netns().enter(|| {
            let runtime = Runtime::new().expect("a runtime");
            // The listeners that stood in its place are on their way out.
            let app = harness::eventually("the ports are free", || {
                let _inside = runtime.enter();
                let records = Records::new(Metrics::new("test", None), log.clone());
                let snapshot = Arc::new(ArcSwap::from_pointee(snapshot.clone()));
                App::start(&config, stage.flows.clone(), snapshot, records).ok()
            });
            (app, runtime)
        });
        Self {
            _app: app,
            _runtime: runtime,
            lines,
        }
    }

    /// Waits for a line of the access log that has all of these.
    #[track_caller]
    fn expect_log(&self, fields: &[&str]) {
        harness::eventually(&format!("{fields:?} among {:#?}", self.lines.all()), || {
            let lines = self.lines.all();
            let has_all = |line: &String| fields.iter().all(|field| line.contains(field));
            lines.iter().any(has_all).then_some(())
        });
    }
}

/// `ask` makes a query, `told` says what an answer has: its code and its addresses.
const PYTHON: &str = r"
def ask(name, kind=1):
    labels = b''.join(bytes([len(label)]) + label.encode() for label in name.split('.'))
    return struct.pack('!6H', 7, 0x100, 1, 0, 0, 0) + labels + b'\0' + struct.pack('!2H', kind, 1)

def told(answer):
    count = struct.unpack('!H', answer[6:8])[0]
    addresses = [inet_ntoa(answer[-4:])] if count else []
    return (answer[3] & 15, addresses)
";

/// What a workload does, and what it sees.
const QUERIES: [(&str, &str); 7] = [
    (
        "u = udp(); u.connect(('192.0.2.53', 53)); u.send(ask('api.test')); \
             print(told(u.recv(999)), u.getpeername())",
        "(0, ['203.0.113.10']) ('192.0.2.53', 53)",
    ),
    (
        "u = udp(AF_INET6); u.connect(('2001:db8::53', 53)); u.send(ask('api.test')); \
             print(told(u.recv(999)), u.getpeername()[0])",
        "(0, ['203.0.113.10']) 2001:db8::53",
    ),
    (
        "u = udp(AF_INET6); u.sendto(ask('api.test'), ('2001:db8::53', 53)); \
             answer, server = u.recvfrom(999); print(told(answer), server[0])",
        "(0, ['203.0.113.10']) 2001:db8::53",
    ),
    (
        "u = udp(AF_INET6); u.sendto(ask('api.test'), ('::ffff:192.0.2.53', 53)); \
             answer, server = u.recvfrom(999); print(told(answer), server[0])",
        "(0, ['203.0.113.10']) ::ffff:192.0.2.53",
    ),
    (
        "u = udp(); u.connect(('127.0.0.53', 53)); u.send(ask('api.test')); \
             print(told(u.recv(999)))",
        "(0, ['203.0.113.10'])",
    ),
    (
        "u = udp(); u.sendto(ask('other.test'), ('192.0.2.53', 53)); \
             print(told(u.recvfrom(999)[0]))",
        "(5, [])",
    ),
    (
        "t = tcp(); t.connect(('192.0.2.53', 53)); q = ask('api.test'); \
             t.sendall(struct.pack('!H', len(q)) + q); answer = t.recv(999); \
             print(told(answer[2:]), t.getpeername()[0])",
        "(0, ['203.0.113.10']) 192.0.2.53",
    ),
];

#[test]
fn any_server_answers_and_is_shown_as_the_one_that_was_asked() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let (a, b) = (stage.tenant("a", 0), stage.tenant("b", 300));
    let agent = Agent::start(&mut stage, &a, &b);
    for (statements, expected) in QUERIES {
        let program = format!("{PYTHON}\n{statements}");
        let output = stage.workload(&a.cgroup).python(&program);
        assert_eq!(output, expected, "{statements}");
    }
    let two = "u = udp()\n\
               for server in ('192.0.2.53', '192.0.2.54'):\n    \
               u.sendto(ask('api.test'), (server, 53)); print(u.recvfrom(999)[1][0])";
    let output = stage
        .workload(&a.cgroup)
        .python(&format!("{PYTHON}\n{two}"));
    assert_eq!(output, "192.0.2.53\n192.0.2.54");
    agent.expect_log(&[
        r#""kind":"dns""#,
        r#""tenant":"a""#,
        r#""original_dst":"[2001:db8::53]:53""#,
        r#""process.executable.name":"python3"#,
        r#""dns.question.name":"api.test""#,
        r#""dns.response.code":"NOERROR""#,
    ]);
    agent.expect_log(&[r#""dns.response.code":"REFUSED""#, r#""reason":"no_rule""#]);
    agent.expect_log(&[r#""network.transport":"tcp""#, r#""tenant":"a""#]);
    assert!(
        agent
            .lines
            .all()
            .iter()
            .all(|line| line.contains(r#""kind":"dns""#))
    );
}

#[test]
fn every_tenant_is_answered_by_its_own_policy() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let (a, b) = (stage.tenant("a", 0), stage.tenant("b", 300));
    let agent = Agent::start(&mut stage, &a, &b);
    for (tenant, expected) in [
        (&a, "(0, ['203.0.113.10'])\n(5, [])"),
        (&b, "(5, [])\n(0, ['203.0.113.11'])"),
    ] {
        for family in ["AF_INET', '192.0.2.53", "AF_INET6', '2001:db8::53"] {
            let program = format!(
                "{PYTHON}\n\
                 family, server = ('{family}')\n\
                 for name in ('api.test', 'other.test'):\n    \
                 u = udp(globals()[family]); u.sendto(ask(name), (server, 53)); \
                 print(told(u.recv(999)))"
            );
            let output = stage.workload(&tenant.cgroup).python(&program);
            assert_eq!(output, expected);
        }
    }
    agent.expect_log(&[
        r#""tenant":"b""#,
        r#""dns.question.name":"api.test""#,
        "no_rule",
    ]);
}

#[test]
fn a_program_reaches_a_name_with_the_systems_own_resolver() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let (a, b) = (stage.tenant("a", 0), stage.tenant("b", 300));
    stage
        .sandbox
        .netns()
        .ip("address add 203.0.113.10/32 dev lo");
    let origin = stage
        .sandbox
        .netns()
        .enter(|| TcpListener::bind("203.0.113.10:80"));
    let origin = origin.expect("an origin");
    thread::spawn(move || {
        for mut stream in origin.incoming().map_while(Result::ok) {
            let _head = stream.read(&mut [0; 1024]);
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
            let _gone = stream.write_all(answer);
        }
    });
    let agent = Agent::start(&mut stage, &a, &b);
    let directory = tempfile::tempdir().expect("a directory");
    for options in ["", "options use-vc", "options edns0 single-request"] {
        let file = directory.path().join("resolv.conf");
        let text = format!("nameserver 192.0.2.53\nnameserver 2001:db8::53\n{options}\n");
        std::fs::write(&file, text).expect("a resolv.conf");
        let program = "import urllib.request\n\
                       print(urllib.request.urlopen('http://api.test/', timeout=5).read())";
        let script = format!(
            "mount --bind {} \"$(readlink -f /etc/resolv.conf)\" && exec python3 -c \"{program}\"",
            file.display()
        );
        let process = stage
            .workload(&a.cgroup)
            .start("unshare", &["--mount", "sh", "-c", &script]);
        assert_eq!(process.output(), "b'hello'", "{options}");
    }
    agent.expect_log(&[r#""dns.question.type":"AAAA""#, r#""tenant":"a""#]);
    agent.expect_log(&[r#""kind":"http""#, r#""server.address":"api.test""#]);
}
