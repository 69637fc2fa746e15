//! Servers of tenants: reachable where the operator says so, and nowhere else.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use harness::host::{Host, ORIGIN_V4, ORIGIN_V6, Running};

/// Answers every peer; connects out when it is told to.
const SERVER: &str = "
import errno, socket, sys, threading
made = socket.socket(socket.AF_INET6)
made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
made.bind(('::', 8080))
made.listen()
def serve():
    while True:
        peer, _ = made.accept()
        peer.sendall(b're:' + peer.recv(9))
        peer.close()
threading.Thread(target=serve, daemon=True).start()
print('listens', flush=True)
for line in sys.stdin:
    try:
        with socket.create_connection(('203.0.113.10', 80), timeout=15) as stream:
            stream.sendall(b'GET / HTTP/1.1\\r\\nhost: evil.test\\r\\nconnection: close\\r\\n\\r\\n')
            print(stream.recv(99)[9:12].decode(), flush=True)
    except OSError as error:
        print(errno.errorcode.get(error.errno, str(error)), flush=True)
";

fn ask(host: &Host, address: &str, port: u16) -> std::io::Result<String> {
    let patience = Duration::from_secs(2);
    let address = std::net::SocketAddr::new(address.parse().unwrap(), port);
    let mut stream = host.connect_within(address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(b"hello")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// A server of a tenant's.
#[track_caller]
fn server(host: &Host, tenant: &str, port: u16) -> Running {
    let statements = SERVER.replace("8080", &port.to_string());
    let running = host.python(tenant, &statements).start();
    running.expect("listens\n");
    running
}

#[test]
fn a_tenants_server_is_reached_where_the_operator_says_so_and_goes_out_by_the_agent() {
    let Some(host) = Host::new() else { return };
    host.configure("policies", "[policies.none]\n");
    host.tenant("client", "none");
    host.tenant_with("server", "none", "inbound = true");
    let origin = host.server("203.0.113.10:80");
    let agent = host.agent();
    let _refused = server(&host, "client", 8081);
    let served = server(&host, "server", 8080);
    let expect_served = || {
        for address in [ORIGIN_V4, ORIGIN_V6] {
            assert_eq!(ask(&host, address, 8080).unwrap(), "re:hello", "{address}");
            assert!(ask(&host, address, 8081).is_err(), "{address}");
        }
    };
    expect_served();
    served.say("");
    served.expect("403\n");
    // Without an agent what comes in is served, and nothing goes out.
    agent.kill();
    expect_served();
    served.say("");
    served.expect("403\nECONNREFUSED\n");
    assert_eq!(origin.connections(), 0);
}
