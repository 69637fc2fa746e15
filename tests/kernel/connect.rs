use std::net::{IpAddr, SocketAddr};

use outbound_common::Counter;

use crate::stage::Stage;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
fn an_ipv4_connect_reaches_the_agent_with_its_destination() {
    let Some(mut stage) = Stage::new() else { return };
    let tenant = stage.tenant("a", 7);
    let workload = stage.workload(&tenant.cgroup).start_python(
        "s = tcp(); s.connect(('192.0.2.7', 443)); print(s.getpeername()); wait()",
    );
    let accepted = stage.accept();
    let flow = accepted.flow.unwrap();
    assert_eq!(flow.original_dst.0, address("192.0.2.7:443"));
    assert_eq!(flow.tenant_cgroup, tenant.id);
    assert_eq!(flow.socket_cgroup, tenant.id);
    assert_eq!(flow.netns, stage.sandbox.netns().cookie());
    assert_eq!(flow.pid, workload.pid());
    assert_eq!(flow.uid, 0);
    assert!(flow.executable.starts_with("python3"), "{}", flow.executable);
    // The tenant of slot 7 has 127.1.7.0/24 to itself.
    let IpAddr::V4(local) = accepted.stream.local_addr().unwrap().ip() else {
        panic!("IPv4 stays IPv4");
    };
    assert_eq!(local.octets()[..3], [127, 1, 7]);
    workload.go_on();
    assert_eq!(workload.output(), "('192.0.2.7', 443)");
    assert_eq!(stage.count(Counter::Redirected), 1);
    assert_eq!(stage.redirect.pending(), 0);
}
