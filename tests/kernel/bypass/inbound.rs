use outbound_common::Counter;
use outbound_common::tenant::TENANT_INBOUND;

use super::NONE;
use crate::stage::Stage;

/// A server on both families; each peer gets an answer.
const SERVE: &str = "l = tcp(AF_INET6); l.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1); l.bind(('::', 8080)); \
     l.listen(); l.settimeout(15)\n\
     while True: c, _ = l.accept(); c.send(b're:' + c.recv(9)); c.close()";

/// What a peer outside sees of the tenant's server.
fn ask_from_outside(stage: &Stage, server: &str) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    stage.sandbox.outside().enter(|| {
        let server = server.parse().expect("an address");
        let patience = std::time::Duration::from_secs(2);
        let mut stream = std::net::TcpStream::connect_timeout(&server, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"hello")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    })
}

#[test]
fn a_tenants_server_answers_only_where_the_operator_says_so() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    for (flags, answer) in [(0, None), (TENANT_INBOUND, Some("re:hello"))] {
        let tenant = stage.tenant_with("a", 0, flags);
        let workload = stage.workload(&tenant.cgroup).start_python(SERVE);
        stage.sandbox.await_listener(8080);
        for server in ["10.99.0.1:8080", "[fd99::1]:8080"] {
            let seen = ask_from_outside(&stage, server).ok();
            assert_eq!(seen.as_deref(), answer, "{server}");
        }
        drop(workload);
        stage.sandbox.kill(&tenant.cgroup);
    }
    assert!(stage.count(Counter::BeltInbound) > 0);
}

/// What came in is no way out: neither by a datagram nor by the connection's other end.
#[test]
fn a_connection_that_came_in_leads_nowhere_else() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant_with("a", 0, TENANT_INBOUND);
    let workload = stage.workload(&tenant.cgroup).start_python(
        "import ctypes; l = tcp(); l.bind(('0.0.0.0', 8080)); l.listen(); l.settimeout(15)\n\
         c, _ = l.accept(); c.settimeout(1.5); c.send(b'hello'); wait()\n\
         print(ctypes.CDLL(None).connect(c.fileno(), struct.pack('=H14x', 0), 16))\n\
         print(attempt(c.connect, ('192.0.2.7', 80)))\n\
         u = udp(); u.bind(('10.99.0.1', 8080)); print(attempt(u.sendto, b'x', ('10.99.0.2', 9)))",
    );
    stage.sandbox.await_listener(8080);
    let peer = stage.sandbox.outside().enter(|| {
        let mut peer = std::net::TcpStream::connect("10.99.0.1:8080").expect("a connection");
        std::io::Read::read_exact(&mut peer, &mut [0; 5]).map(|()| peer)
    });
    drop(peer.expect("a greeting"));
    let mut witness = stage.sandbox.sniff();
    workload.go_on();
    assert_eq!(workload.output(), "0\nok\nECONNREFUSED");
    assert_eq!(stage.flow().tenant_cgroup, tenant.id);
    let to_others = |packet: &String| !packet.contains("10.99.0.1 > 10.99.0.2 protocol 6");
    let mut packets = witness.packets();
    packets.retain(|packet| to_others(packet) && !packet.starts_with("10.99.0.2 > "));
    assert_eq!(packets, NONE);
}

#[test]
fn a_server_that_connects_is_redirected_like_anyone() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant_with("a", 0, TENANT_INBOUND);
    let mut witness = stage.sandbox.sniff();
    let output = stage.workload(&tenant.cgroup).python(
        "import ctypes; l = tcp(); l.listen()\n\
         print(ctypes.CDLL(None).connect(l.fileno(), struct.pack('=H14x', 0), 16))\n\
         print(attempt(l.connect, ('192.0.2.7', 80)))",
    );
    assert_eq!(output, "0\nok");
    stage.flow();
    assert_eq!(witness.packets(), NONE);
}
