use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use harness::host::{Host, Running};

/// Beyond the uplink.
const FAR: &str = "198.51.100.10";

/// A host whose tenant may reach a far one, which is found to be gone after two seconds.
fn host() -> Option<Host> {
    let host = Host::with_uplink()?;
    host.configure("limits", "[limits]\ndead_peer = \"2s\"\n");
    host.configure(
        "policies",
        &format!("[policies.acme]\nallow = [\"{FAR}\", \"tcp://{FAR}:7\"]\n"),
    );
    host.tenant("acme", "acme");
    Some(host)
}

/// A tenant's connection to a far port, on which it sends `first`, and on every line `more`. It
/// says what it was sent, and how the connection ended.
fn connected(host: &Host, port: u16, first: &str, more: &str) -> Running {
    let program = format!(
        "import socket, sys, threading\n\
         made = socket.create_connection(('{FAR}', {port}), timeout=50)\n\
         def write():\n\
         \x20   for line in sys.stdin: made.sendall(b'{more}')\n\
         threading.Thread(target=write, daemon=True).start()\n\
         made.sendall(b'{first}')\n\
         try:\n\
         \x20   while chunk := made.recv(4096): print('heard', chunk, flush=True)\n\
         \x20   print('closed', flush=True)\n\
         except OSError as error: print('ended', type(error).__name__, flush=True)\n"
    );
    host.python("acme", &program).start()
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\\r\\nhost: {FAR}\\r\\n\\r\\n")
}

#[track_caller]
fn expect_dead(host: &Host, protocol: &str) {
    host.expect_log(&[
        ("network.protocol.name", protocol),
        ("reason", "upstream_dead"),
        ("outcome", "timed_out"),
        ("fault", "upstream"),
    ]);
}

/// Probes find it: the agent itself has nothing to send.
#[test]
fn an_upstream_that_vanishes_ends_the_body_that_it_sends() {
    let Some(host) = host() else { return };
    let _origin = host.far_server(&format!("{FAR}:80"));
    let _agent = host.agent();
    let client = connected(&host, 80, &request("/held"), "");
    client.expect("hello ");
    host.cut_off();
    // Short of its length.
    client.expect("\nclosed\n");
    expect_dead(&host, "http");
}

#[test]
fn an_upstream_that_vanishes_before_it_answers_is_told() {
    let Some(host) = host() else { return };
    let origin = host.far_server(&format!("{FAR}:80"));
    let _agent = host.agent();
    let client = connected(&host, 80, &request("/held-sink"), "");
    harness::sandbox::eventually("the origin has the request", || {
        (!origin.requests().is_empty()).then_some(())
    });
    host.cut_off();
    client.expect("HTTP/1.1 504 ");
    client.expect("upstream_dead");
    expect_dead(&host, "http");
}

/// A tunnel that has carried something each way: its server's end, and its client.
fn tunnel(host: &Host) -> (TcpStream, Running) {
    let listener = host.far_listener(&format!("{FAR}:7"));
    let client = connected(host, 7, "\\x01first", "more");
    let (mut server, _peer) = listener.accept().expect("the agent's connection");
    let mut first = [0; 6];
    server.read_exact(&mut first).unwrap();
    server.write_all(b"welcome").unwrap();
    client.expect("welcome");
    (server, client)
}

/// What it does not acknowledge finds it.
#[test]
fn an_upstream_that_vanishes_ends_the_tunnel() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    let (_server, client) = tunnel(&host);
    host.cut_off();
    client.say("go on");
    client.expect("\nended ConnectionResetError\n");
    expect_dead(&host, "tcp");
}

/// To neither end does it look like a proper one.
#[test]
fn a_tunnel_whose_agent_is_killed_is_reset() {
    let Some(host) = host() else { return };
    let agent = host.agent();
    let (mut server, client) = tunnel(&host);
    agent.kill();
    client.expect("\nended ConnectionResetError\n");
    let ended = server.read(&mut [0]).map_err(|error| error.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_tunnel_that_both_sides_end_is_not_reset() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    let (server, client) = tunnel(&host);
    drop(server);
    client.expect("\nclosed\n");
    drop(client);
    host.expect_log(&[("kind", "tcp"), ("outcome", "completed")]);
}
