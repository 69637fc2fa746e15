//! Ways around. Each is tried first where nothing protects, and the witness outside sees the
//! packet; then in a tenant, and the witness sees nothing.

use outbound_common::Counter;
use outbound_common::tenant::TENANT_INBOUND;

use crate::stage::{Stage, Tenant};

struct Attack {
    /// Print what the attacker sees.
    statements: &'static str,
    /// Tried without privileges; some need them.
    user: Option<u32>,
    /// What the attacker sees inside a tenant.
    outcome: &'static str,
}

const NOBODY: Option<u32> = Some(1000);
const NONE: Vec<String> = Vec::new();

#[track_caller]
fn run(stage: &Stage, cgroup: &std::path::Path, attack: &Attack) -> String {
    let workload = stage.workload(cgroup);
    let workload = match attack.user {
        Some(user) => workload.as_user(user),
        None => workload,
    };
    workload.python(attack.statements)
}

#[track_caller]
fn stays_inside(attack: Attack) {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let netns = stage.sandbox.netns();
    netns.sysctl("net/ipv4/ping_group_range", "0 2000");
    let mut witness = stage.sandbox.sniff();

    let free = stage.sandbox.cgroup("free");
    let outcome = run(&stage, &free, &attack);
    if matches!(outcome.as_str(), "EPROTONOSUPPORT" | "absent") {
        harness::sandbox::skipped("this kernel has no such thing");
        return;
    }
    witness.await_packet();

    let tenant = stage.tenant("a", 0);
    let outcome = run(&stage, &tenant.cgroup, &attack);
    assert_eq!(witness.packets(), NONE, "{outcome}");
    assert_eq!(outcome, attack.outcome);
}

/// The belt holds where no socket hook is left to help it.
#[track_caller]
fn belt_alone_holds(attack: Attack, counter: Counter) {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let mut witness = stage.sandbox.sniff();
    take_off(&stage, &tenant, "setsockopt");
    run(&stage, &tenant.cgroup, &attack);
    assert_eq!(witness.packets(), NONE);
    assert!(stage.count(counter) > 0);

    // The control: without the belt the packet is out.
    take_off(&stage, &tenant, "egress");
    run(&stage, &tenant.cgroup, &attack);
    witness.await_packet();
}

/// Removes one protection: a link without a pin and a holder is gone.
fn take_off(stage: &Stage, tenant: &Tenant, program: &str) {
    let pin_dir = stage.sandbox.settings().pin_dir;
    let pin = pin_dir.join(format!("c{}", tenant.id)).join(program);
    std::fs::remove_file(pin).expect("the pin");
}

macro_rules! attacks {
    ($($name:ident: $user:expr, $statements:expr => $outcome:expr;)*) => {
        $(#[test]
        fn $name() {
            stays_inside(Attack { statements: $statements, user: $user, outcome: $outcome });
        })*
    };
}

attacks! {
    a_plain_connect_stays_inside: NOBODY,
        "print(attempt(tcp().connect, ('192.0.2.7', 80)))" => "ok";
    a_mapped_connect_stays_inside: NOBODY,
        "print(attempt(tcp(AF_INET6).connect, ('::ffff:192.0.2.7', 80)))" => "ok";
    a_device_bound_socket_stays_inside: NOBODY,
        "s = tcp(); print(attempt(s.setsockopt, SOL_SOCKET, 25, b'up0\\0'), \
         attempt(s.connect, ('127.0.0.1', 80)))" => "EPERM ok";
    an_interface_index_stays_inside: NOBODY,
        "s = tcp(); print(attempt(s.setsockopt, SOL_SOCKET, 62, if_nametoindex('up0')), \
         attempt(s.connect, ('127.0.0.1', 80)))" => "EPERM ok";
    a_device_bound_datagram_stays_inside: NOBODY,
        "u = udp(); print(attempt(u.setsockopt, SOL_SOCKET, 25, b'up0\\0'), \
         attempt(u.sendto, b'x', ('192.0.2.53', 53)))" => "EPERM ok";
    a_unicast_interface_stays_inside: NOBODY,
        "u = udp(); i = struct.pack('!I', if_nametoindex('up0')); \
         print(attempt(u.setsockopt, 0, 50, i), attempt(u.sendto, b'x', ('192.0.2.53', 53)))"
        => "EPERM ok";
    an_ipv6_unicast_interface_stays_inside: NOBODY,
        "u = udp(AF_INET6); i = struct.pack('!I', if_nametoindex('up0')); \
         print(attempt(u.setsockopt, 41, 76, i), attempt(u.sendto, b'x', ('2001:db8::53', 53)))"
        => "EPERM ok";
    a_source_route_stays_inside: None,
        "s = tcp(); r = bytes([131, 7, 4]) + inet_aton('10.99.0.2') + b'\\0'; \
         print(attempt(s.setsockopt, 0, 4, r), attempt(s.connect, ('127.0.0.1', 80)))"
        => "EPERM ok";
    an_ipv6_routing_header_stays_inside: NOBODY,
        "s = tcp(AF_INET6); r = bytes([0, 4, 4, 1, 1, 0, 0, 0]) + inet_pton(AF_INET6, '::') + \
         inet_pton(AF_INET6, 'fd99::2'); \
         print(attempt(s.setsockopt, 41, 57, r), attempt(s.connect, ('2001:db8::7', 80)))"
        => "EPERM ok";
    a_sticky_packet_info_stays_inside: NOBODY,
        "u = udp(AF_INET6); i = struct.pack('16sI', bytes(16), if_nametoindex('up0')); \
         print(attempt(u.setsockopt, 41, 50, i), attempt(u.sendto, b'x', ('2001:db8::53', 53)))"
        => "EPERM ok";
    packet_info_stays_inside: NOBODY,
        "u = udp(); i = struct.pack('=I4s4s', if_nametoindex('up0'), bytes(4), bytes(4)); \
         print(attempt(u.sendmsg, [b'x'], [(0, 8, i)], 0, ('192.0.2.53', 53)))" => "EPERM";
    ipv6_packet_info_stays_inside: NOBODY,
        "u = udp(AF_INET6); i = struct.pack('16sI', bytes(16), if_nametoindex('up0')); \
         print(attempt(u.sendmsg, [b'x'], [(41, 50, i)], 0, ('2001:db8::53', 53)))" => "EPERM";
    options_in_a_control_message_stay_inside: None,
        "u = udp(); r = bytes([131, 7, 4]) + inet_aton('10.99.0.2') + b'\\0'; \
         print(attempt(u.sendmsg, [b'x'], [(0, 7, r)], 0, ('192.0.2.53', 53)))" => "EPERM";
    udp_lite_stays_inside: NOBODY,
        "def lite():\n    u = socket(AF_INET, SOCK_DGRAM, 136); u.connect(('192.0.2.7', 9)); u.send(b'x')\n\
         print(attempt(lite))" => "EPROTONOSUPPORT";
    a_ping_socket_stays_inside: NOBODY,
        "def ping(): socket(AF_INET, SOCK_DGRAM, 1).sendto(b'\\x08' + bytes(7), ('192.0.2.7', 0))\n\
         print(attempt(ping))" => "EPROTONOSUPPORT";
    an_ipv6_ping_socket_stays_inside: NOBODY,
        "def ping(): socket(AF_INET6, SOCK_DGRAM, 58).sendto(b'\\x80' + bytes(7), ('2001:db8::7', 0))\n\
         print(attempt(ping))" => "EPROTONOSUPPORT";
    a_raw_socket_stays_inside: None,
        "def raw(): socket(AF_INET, SOCK_RAW, 17).sendto(bytes([0, 9, 0, 9, 0, 8, 0, 0]), ('192.0.2.7', 0))\n\
         print(attempt(raw))" => "EPROTONOSUPPORT";
    a_raw_socket_with_its_own_header_stays_inside: None,
        "def raw():\n    s = socket(AF_INET, SOCK_RAW, 255)\n    \
         s.sendto(struct.pack('!BBHHHBBH4s4s', 69, 0, 20, 1, 0, 64, 17, 0, inet_aton('10.99.0.1'), \
         inet_aton('192.0.2.7')), ('192.0.2.7', 0))\n\
         print(attempt(raw))" => "EPROTONOSUPPORT";
    multipath_tcp_stays_inside: NOBODY,
        "def multi(): s = socket(AF_INET, SOCK_STREAM, 262); s.settimeout(1); s.connect(('192.0.2.7', 80))\n\
         print(attempt(multi))" => "EPROTONOSUPPORT";
    an_io_uring_connect_stays_inside: None,
        concat!(include_str!("uring.py"),
            "s = ring.run(OP_SOCKET, AF_INET, off=SOCK_STREAM); \
             t = ring.run(OP_SOCKET, AF_INET, off=SOCK_STREAM)\n\
             print(ring.run(OP_CONNECT, s, off=16, addr=address) in (0, -111), \
             ring.run(OP_CONNECT, t, off=16, addr=address, flags=ASYNC) in (0, -111))")
        => "True True";
    an_io_uring_packet_of_another_protocol_stays_inside: None,
        concat!(include_str!("uring.py"),
            "r = ring.run(OP_SOCKET, AF_INET, off=SOCK_RAW, length=17); \
             attempt(lambda: socket(fileno=r).sendto(bytes([0, 9, 0, 9, 0, 8, 0, 0]), ('192.0.2.7', 0))) \
             if r > 0 else 0; print(r if r < 0 else 'made')") => "-93";
    multicast_stays_inside: NOBODY,
        "print(attempt(udp().sendto, b'x', ('239.1.2.3', 9)))" => "ECONNREFUSED";
    a_large_datagram_stays_inside: NOBODY,
        "print(attempt(udp().sendto, bytes(9000), ('192.0.2.7', 443)))" => "ECONNREFUSED";
}

#[test]
fn the_belt_alone_holds_a_unicast_interface() {
    let attack = Attack {
        statements: "u = udp(); i = struct.pack('!I', if_nametoindex('up0')); \
             u.setsockopt(0, 50, i); print(attempt(u.sendto, b'x', ('192.0.2.53', 53)))",
        user: NOBODY,
        outcome: "",
    };
    belt_alone_holds(attack, Counter::BeltInterface);
}

#[test]
fn the_belt_alone_holds_a_source_route() {
    let attack = Attack {
        statements: "s = tcp(); r = bytes([131, 7, 4]) + inet_aton('10.99.0.2') + b'\\0'; \
             s.setsockopt(0, 4, r); print(attempt(s.connect, ('192.0.2.7', 80)))",
        user: None,
        outcome: "",
    };
    belt_alone_holds(attack, Counter::BeltHeader);
}

#[test]
fn the_belt_alone_holds_an_ipv6_routing_header() {
    let attack = Attack {
        statements: "s = tcp(AF_INET6); \
             r = bytes([0, 4, 4, 1, 1, 0, 0, 0]) + inet_pton(AF_INET6, '::') + inet_pton(AF_INET6, 'fd99::2'); \
             s.setsockopt(41, 57, r); print(attempt(s.connect, ('2001:db8::7', 80)))",
        user: NOBODY,
        outcome: "",
    };
    belt_alone_holds(attack, Counter::BeltHeader);
}

#[test]
fn a_connection_from_before_the_hooks_carries_nothing_more() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let server = stage
        .sandbox
        .outside()
        .enter(|| std::net::TcpListener::bind("10.99.0.2:80"));
    let server = server.expect("a server outside");
    let cgroup = stage.sandbox.cgroup("late");
    let workload = stage.workload(&cgroup).start_python(
        "s = tcp(); s.connect(('10.99.0.2', 80)); wait(); s.send(b'secret'); print(attempt(s.recv, 1))",
    );
    let (connection, _) = server.accept().expect("a connection");
    stage.tenant("late", 0);
    let mut witness = stage.sandbox.sniff();
    workload.go_on();
    assert_eq!(workload.output(), "timed out");
    assert_eq!(witness.packets(), NONE);
    assert!(stage.count(Counter::BeltUnstamped) > 0);
    drop(connection);
}

#[test]
fn unrelated_options_still_work_however_large() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let output = stage.workload(&tenant.cgroup).python(
        "s = tcp(); s.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1); s.setsockopt(SOL_SOCKET, SO_RCVBUF, 65536)\n\
         s.setsockopt(0, 49, struct.pack('=IIII', 1, 1, 1, 0) + bytes(5000))\n\
         print(s.getsockopt(IPPROTO_TCP, TCP_NODELAY))",
    );
    // IP_MSFILTER says EINVAL to a filter for no group; all that matters is that it was asked.
    assert!(output == "1" || output.contains("Errno"), "{output}");
}

const SERVE: &str = "l = tcp(); l.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1); l.bind(('0.0.0.0', 8080)); \
     l.listen(); l.settimeout(15); print('listens', flush=True); c, _ = l.accept(); \
     c.send(b're:' + c.recv(9)); c.close(); wait()";

/// What a peer outside sees of the tenant's server.
fn ask_from_outside(stage: &Stage) -> std::io::Result<String> {
    use std::io::{Read as _, Write as _};
    stage.sandbox.outside().enter(|| {
        let server = "10.99.0.1:8080".parse().expect("an address");
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
        let seen = ask_from_outside(&stage).ok();
        assert_eq!(seen.as_deref(), answer);
        drop(workload);
        stage.sandbox.kill(&tenant.cgroup);
    }
    assert!(stage.count(Counter::BeltInbound) > 0);
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
