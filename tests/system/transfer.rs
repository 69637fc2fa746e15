use harness::host::{Daemon, Host};
use harness::sandbox::eventually;

use crate::scene::{curl, curl_with, host, origin};

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

#[test]
fn a_gibibyte_comes_down_in_constant_memory() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let before = warm_up(&host, &agent);
    let length = (1024 * MIB).to_string();
    let url = format!("http://bulk.test/bytes/{length}");
    let written = ["-o", "/dev/null", "-w", "%{size_download}"];
    assert_eq!(curl_with(&host, "acme", &url, &written).output(), length);
    expect_constant_memory(&agent, before);
    host.expect_log(&[("bytes.received", &length), ("outcome", "completed")]);
}

#[test]
fn a_gibibyte_goes_up_in_constant_memory() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let before = warm_up(&host, &agent);
    let length = (1024 * MIB).to_string();
    let shell = format!(
        "head -c {length} /dev/zero | \
         curl -sS --max-time 100 --resolve '*:80:203.0.113.10' -T - http://bulk.test/sink"
    );
    let answer = host.run("acme", &["sh", "-c", &shell]).output();
    assert_eq!(answer.trim(), length);
    expect_constant_memory(&agent, before);
    host.expect_log(&[("bytes.sent", &length), ("outcome", "completed")]);
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
