use std::fs::{self, File};

use harness::host::{Daemon, Host, Site};
use harness::sandbox::eventually;
use serde_json::Value;

use crate::scene::{curl, host, origin};

const MIB: u64 = 1 << 20;
/// How much the agent may grow, whatever the size of a body.
const ROOM: u64 = 32 * MIB;

/// What the agent holds once everything that one request needs is there.
fn warm_up(host: &Host, agent: &Daemon) -> u64 {
    curl(host, "acme", "http://bulk.test/").output();
    agent.forget_peak_memory();
    agent.memory()
}

#[track_caller]
fn expect_constant_memory(agent: &Daemon, before: u64) {
    let peak = agent.peak_memory();
    assert!(
        peak < before + ROOM,
        "from {} to {} MiB",
        before / MIB,
        peak / MIB
    );
}

/// A host on which `acme` speaks TLS with the origin of `bulk.test`, or with the agent.
fn host_with_tls(ends: &str) -> Option<(Host, Site)> {
    let host = host()?;
    let policy = format!("[policies.bulk]\nallow = [\"bulk.test\"]\ntls = {ends:?}\n");
    host.configure("bulk", &policy);
    host.tenant("acme", "bulk");
    let site = host.site(&["bulk.test"]);
    Some((host, site))
}

/// A gibibyte each way by `curl`, with these arguments, from an origin with this URL.
#[track_caller]
fn expect_a_gibibyte_each_way(host: &Host, url: &str, more: &str, log: &[(&str, &str)]) {
    let agent = host.agent();
    let length = (1024 * MIB).to_string();
    let curl = |rest: &str| {
        let shell = format!(
            "curl -sS --max-time 100 --resolve '*:80:203.0.113.10' --resolve '*:443:203.0.113.10' \
             {more} {rest}"
        );
        host.run("acme", &["sh", "-c", &shell]).output()
    };
    curl(&format!("-o /dev/null {url}/"));
    agent.forget_peak_memory();
    let before = agent.memory();

    let down = format!("-o /dev/null -w '%{{size_download}}' {url}/bytes/{length}");
    assert_eq!(curl(&down), length);
    expect_constant_memory(&agent, before);
    let up = format!("-T - {url}/sink < {}", sparse(host, 1024 * MIB));
    assert_eq!(curl(&up).trim(), length);
    expect_constant_memory(&agent, before);
    for bytes in ["bytes.received", "bytes.sent"] {
        expect_carried(host, bytes, log);
    }
}

fn of_http(version: &str) -> [(&str, &str); 3] {
    [
        ("kind", "http"),
        ("network.protocol.version", version),
        ("outcome", "completed"),
    ]
}

/// The path of a file of zeros that takes no room.
fn sparse(host: &Host, length: u64) -> String {
    let path = host.path("zeros");
    File::create(&path).unwrap().set_len(length).unwrap();
    path.display().to_string()
}

/// Waits for a line that counts at least a gibibyte: a tunnel counts what TLS adds to it.
#[track_caller]
fn expect_carried(host: &Host, bytes: &str, fields: &[(&str, &str)]) {
    eventually(
        &format!("{bytes} with {fields:?} among {:#?}", host.log()),
        || {
            let has = |line: &Value| {
                line[bytes]
                    .as_u64()
                    .is_some_and(|bytes| bytes >= 1024 * MIB)
                    && fields.iter().all(|(name, value)| line[*name] == *value)
            };
            host.log().iter().any(has).then_some(())
        },
    );
}

#[test]
fn a_gibibyte_each_way_takes_constant_memory() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    expect_a_gibibyte_each_way(&host, "http://bulk.test", "", &of_http("1.1"));
}

#[test]
fn a_gibibyte_each_way_over_tls_and_http2_takes_constant_memory() {
    let Some((host, _site)) = host_with_tls("terminate") else {
        return;
    };
    expect_a_gibibyte_each_way(&host, "https://bulk.test", "--http2", &of_http("2"));
}

#[test]
fn a_gibibyte_each_way_through_a_tunnel_takes_constant_memory() {
    let Some((host, _site)) = host_with_tls("passthrough") else {
        return;
    };
    let roots = host.path("origin.pem").display().to_string();
    let trusting = format!("--http1.1 --cacert {roots}");
    // How it ends is curl's affair, which may reset what says goodbye to it.
    expect_a_gibibyte_each_way(&host, "https://bulk.test", &trusting, &[("kind", "tls")]);
}

/// Resident memory of the agent's own workers now, and the most that it was; in bytes.
fn workers(agent: &Daemon) -> (u64, u64) {
    let parent = format!("PPid:\t{}\n", agent.process().pid());
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let statuses = processes.filter_map(|process| {
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        status.contains(&parent).then_some((process, status))
    });
    statuses.fold((0, 0), |(now, most), (process, status)| {
        let bytes = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.unwrap().trim().trim_end_matches(" kB");
            kib.parse::<u64>().unwrap() * 1024
        };
        let found = (now + bytes("VmRSS:"), most + bytes("VmHWM:"));
        fs::write(process.path().join("clear_refs"), "5").unwrap();
        found
    })
}

/// The worker hands on what it does not read, in a process of its own and in a thread.
#[test]
fn a_gibibyte_each_way_through_a_worker_takes_constant_memory() {
    for hosting in ["process", "thread"] {
        let Some(host) = host() else { return };
        let _origin = origin(&host);
        host.configure(
            "dispatch",
            &format!(
                "[[dispatch_namespaces]]\nbinding = \"dispatcher\"\nnamespace = \"production\"\n\
                 outbound = {{ service = \"egress\", parameters = [] }}\n\
                 [services.egress]\nmain = \"egress/worker.js\"\nhosting = {hosting:?}\n\
                 limits = {{ wall = \"100s\", cpu = \"5s\" }}\n"
            ),
        );
        fs::create_dir_all(host.path("conf.d/egress")).unwrap();
        let module = "export default { async fetch(request) { return await fetch(request) } }";
        host.write("conf.d/egress/worker.js", module);
        host.tenant_with("acme", "acme", "namespace = \"production\"\noutbound = {}");
        let agent = host.agent();
        let length = (1024 * MIB).to_string();
        let curl = |rest: &str| {
            let shell = format!("curl -sS --max-time 100 --resolve '*:80:203.0.113.10' {rest}");
            host.run("acme", &["sh", "-c", &shell]).output()
        };
        curl("-o /dev/null http://bulk.test/");
        agent.forget_peak_memory();
        let (before, (worker, _)) = (agent.memory(), workers(&agent));
        assert_eq!(worker > 0, hosting == "process");
        let down = format!("-o /dev/null -w '%{{size_download}}' http://bulk.test/bytes/{length}");
        assert_eq!(curl(&down), length);
        let up = format!("-T - http://bulk.test/sink < {}", sparse(&host, 1024 * MIB));
        assert_eq!(curl(&up).trim(), length);
        expect_constant_memory(&agent, before);
        let (_, peak) = workers(&agent);
        assert!(peak < worker + ROOM, "from {worker} to {peak}");
        let passed = ("worker.outcome", "responded");
        for bytes in ["bytes.received", "bytes.sent"] {
            expect_carried(&host, bytes, &[("outcome", "completed"), passed]);
        }
    }
}

#[test]
fn a_slow_reader_holds_its_origin_back_and_the_agent_keeps_little() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let agent = host.agent();
    let before = warm_up(&host, &agent);
    let length = 256 * MIB;
    let program = format!(
        "import http.client, sys\n\
         connection = http.client.HTTPConnection('203.0.113.10')\n\
         connection.request('GET', '/bytes/{length}', headers={{'Host': 'bulk.test'}})\n\
         reply = connection.getresponse()\n\
         read = len(reply.read(65536))\n\
         print('reads no more')\n\
         sys.stdin.readline()\n\
         while chunk := reply.read(1 << 20): read += len(chunk)\n\
         print('read', read)\n"
    );
    let reader = host.python("acme", &program).start();
    reader.expect("reads no more");
    eventually("the origin is held back", || {
        origin.is_blocked().then_some(())
    });
    let ahead = origin.sent();
    assert!(ahead < 64 * MIB, "{} MiB are on the way", ahead / MIB);
    expect_constant_memory(&agent, before);
    reader.say("go on");
    assert!(reader.end().stdout.ends_with(&format!("read {length}\n")));
    expect_constant_memory(&agent, before);
}

#[test]
fn a_slow_origin_holds_its_tenant_back_and_the_agent_keeps_little() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let agent = host.agent();
    let before = warm_up(&host, &agent);
    let length = 256 * MIB;
    let program = format!(
        "import socket\n\
         stream = socket.create_connection(('203.0.113.10', 80))\n\
         stream.sendall(b'PUT /held-sink HTTP/1.1\\r\\nhost: bulk.test\\r\\n'\n\
         \x20   b'connection: close\\r\\ncontent-length: {length}\\r\\n\\r\\n')\n\
         stream.settimeout(0.3)\n\
         sent, chunk, told = 0, bytes(1 << 20), False\n\
         while sent < {length}:\n\
         \x20   try:\n\
         \x20       sent += stream.send(chunk)\n\
         \x20   except TimeoutError:\n\
         \x20       if not told: print('held back after', sent, '.')\n\
         \x20       told = True\n\
         stream.settimeout(20)\n\
         reply = b''\n\
         while chunk := stream.recv(4096): reply += chunk\n\
         print(reply.decode())\n"
    );
    let writer = host.python("acme", &program).start();
    writer.expect(" .\n");
    let output = writer.output();
    let ahead: u64 = output.split(' ').nth(3).unwrap().parse().unwrap();
    assert!(ahead < 64 * MIB, "{} MiB are on the way", ahead / MIB);
    expect_constant_memory(&agent, before);
    origin.go_on();
    let reply = writer.end().stdout;
    assert!(reply.contains(&format!("\n{length}\n")), "{reply}");
    expect_constant_memory(&agent, before);
}
