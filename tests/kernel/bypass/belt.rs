//! The belt holds where the socket hooks that help it have been taken off; without it the packet
//! is out.

use std::net::UdpSocket;
use std::time::Duration;

use harness::sandbox::eventually;
use outbound_common::Counter;

use super::{ABSENT, Attack, NOBODY, NONE, run};
use crate::stage::{Stage, Tenant};

#[track_caller]
fn holds_alone(without: &[&str], attack: &Attack, counter: Counter) {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let netns = stage.sandbox.netns();
    netns.sysctl("net/ipv4/ping_group_range", "0 2000");
    let tenant = stage.tenant("a", 0);
    let mut witness = stage.sandbox.sniff();
    for program in without {
        take_off(&stage, &tenant, program);
    }
    let outcome = run(&stage, &tenant.cgroup, attack);
    if ABSENT.contains(&&*outcome) {
        harness::sandbox::skipped("this kernel has no such thing");
        return;
    }
    assert_eq!(witness.packets(), NONE, "{outcome}");
    assert!(stage.count(counter) > 0, "{outcome}");

    // The control: without the belt the packet is out.
    take_off(&stage, &tenant, "egress");
    run(&stage, &tenant.cgroup, attack);
    witness.await_packet();
}

/// Removes one protection: a link without a pin and a holder is gone.
fn take_off(stage: &Stage, tenant: &Tenant, program: &str) {
    let pin_dir = stage.sandbox.settings().pin_dir;
    let pin = pin_dir.join(format!("c{}", tenant.id)).join(program);
    std::fs::remove_file(pin).expect("the pin");
}

/// One test each: the hooks that are missing, who tries (`None`: root), what, and which counter
/// tells of it.
macro_rules! belts {
    ($($name:ident: $without:expr, $user:expr, $statements:expr => $counter:ident;)*) => {
        $(#[test]
        fn $name() {
            let attack = Attack { statements: $statements, user: $user, outcome: "" };
            holds_alone(&$without, &attack, Counter::$counter);
        })*
    };
}

belts! {
    the_belt_alone_holds_what_is_forwarded: ["sendmsg4"], None,
        include_str!("../forward.py") => NoListener;
    the_belt_alone_holds_a_connect: ["connect4"], NOBODY,
        "print(attempt(tcp().connect, ('192.0.2.7', 80)))" => BeltUnstamped;
    the_belt_alone_holds_an_ipv6_connect: ["connect6"], NOBODY,
        "print(attempt(tcp(AF_INET6).connect, ('2001:db8::7', 80)))" => BeltUnstamped;
    the_belt_alone_holds_a_datagram: ["sendmsg4"], NOBODY,
        "print(attempt(udp().sendto, b'x', ('192.0.2.7', 443)))" => BeltUnstamped;
    the_belt_alone_holds_an_ipv6_datagram: ["sendmsg6"], NOBODY,
        "print(attempt(udp(AF_INET6).sendto, b'x', ('2001:db8::7', 443)))" => BeltUnstamped;
    the_belt_alone_holds_a_datagram_past_its_connection: ["sendmsg4"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET); print(attempt(u.sendto, b'x', ('192.0.2.7', 443)))")
        => BeltInterface;
    the_belt_alone_holds_an_ipv6_datagram_past_its_connection: ["sendmsg6"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET6); print(attempt(u.sendto, b'x', ('2001:db8::7', 443)))")
        => BeltInterface;
    the_belt_alone_holds_fragments: ["sendmsg4"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET); print(attempt(u.sendto, bytes(9000), ('192.0.2.7', 443)))")
        => BeltInterface;
    the_belt_alone_holds_ipv6_fragments: ["sendmsg6"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET6); print(attempt(u.sendto, bytes(9000), ('2001:db8::7', 443)))")
        => BeltInterface;
    the_belt_alone_holds_segments: ["sendmsg4"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET); u.setsockopt(17, 103, 1000); \
             print(attempt(u.sendto, bytes(3000), ('192.0.2.7', 443)))") => BeltInterface;
    the_belt_alone_holds_a_group: ["sendmsg4"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET); print(attempt(u.sendto, b'x', ('239.1.2.3', 53)))")
        => BeltInterface;
    the_belt_alone_holds_a_device: ["setsockopt", "sendmsg4"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET); u.setsockopt(SOL_SOCKET, 25, b'up0\\0'); \
             print(attempt(u.sendto, b'x', ('127.1.0.9', 15053)))") => BeltInterface;
    the_belt_alone_holds_an_ipv6_device: ["setsockopt", "sendmsg6"], NOBODY,
        concat!(include_str!("../redirected.py"),
            "u = redirected(AF_INET6); u.setsockopt(SOL_SOCKET, 25, b'up0\\0'); \
             print(attempt(u.sendto, b'x', ('::1', 15053)))") => BeltInterface;
    the_belt_alone_holds_a_unicast_interface: ["setsockopt"], NOBODY,
        "u = udp(); i = struct.pack('!I', if_nametoindex('up0')); \
         u.setsockopt(0, 50, i); print(attempt(u.sendto, b'x', ('192.0.2.53', 53)))" => BeltInterface;
    the_belt_alone_holds_an_ipv6_unicast_interface: ["setsockopt"], NOBODY,
        "u = udp(AF_INET6); i = struct.pack('!I', if_nametoindex('up0')); \
         u.setsockopt(41, 76, i); print(attempt(u.sendto, b'x', ('2001:db8::53', 53)))" => BeltInterface;
    the_belt_alone_holds_a_sticky_packet_info: ["setsockopt"], NOBODY,
        "u = udp(AF_INET6); i = struct.pack('16sI', bytes(16), if_nametoindex('up0')); \
         u.setsockopt(41, 50, i); print(attempt(u.sendto, b'x', ('2001:db8::53', 53)))" => BeltInterface;
    the_belt_alone_holds_a_source_route: ["setsockopt"], None,
        "s = tcp(); r = bytes([131, 7, 4]) + inet_aton('10.99.0.2') + b'\\0'; \
         s.setsockopt(0, 4, r); print(attempt(s.connect, ('192.0.2.7', 80)))" => BeltHeader;
    the_belt_alone_holds_an_ipv6_routing_header: ["setsockopt"], NOBODY,
        "s = tcp(AF_INET6); \
         r = bytes([0, 4, 4, 1, 1, 0, 0, 0]) + inet_pton(AF_INET6, '::') + inet_pton(AF_INET6, 'fd99::2'); \
         s.setsockopt(41, 57, r); print(attempt(s.connect, ('2001:db8::7', 80)))" => BeltHeader;
    the_belt_alone_holds_udp_lite: ["sock_create"], NOBODY,
        "def lite():\n    u = socket(AF_INET, SOCK_DGRAM, 136); u.connect(('192.0.2.7', 9)); u.send(b'x')\n\
         print(attempt(lite))" => BeltUnstamped;
    the_belt_alone_holds_a_ping_socket: ["sock_create", "connect4", "sendmsg4"], NOBODY,
        "def ping(): socket(AF_INET, SOCK_DGRAM, 1).sendto(b'\\x08' + bytes(7), ('192.0.2.7', 0))\n\
         print(attempt(ping))" => BeltUnstamped;
    the_belt_alone_holds_an_ipv6_ping_socket: ["sock_create", "connect6", "sendmsg6"], NOBODY,
        "def ping(): socket(AF_INET6, SOCK_DGRAM, 58).sendto(b'\\x80' + bytes(7), ('2001:db8::7', 0))\n\
         print(attempt(ping))" => BeltUnstamped;
    the_belt_alone_holds_a_raw_socket: ["sock_create"], None,
        "def raw(): socket(AF_INET, SOCK_RAW, 17).sendto(bytes([0, 9, 0, 9, 0, 8, 0, 0]), ('192.0.2.7', 0))\n\
         print(attempt(raw))" => BeltUnstamped;
    the_belt_alone_holds_an_ipv6_raw_socket: ["sock_create"], None,
        "def raw(): socket(AF_INET6, SOCK_RAW, 17).sendto(bytes([0, 9, 0, 9, 0, 8, 0, 0]), ('2001:db8::7', 0))\n\
         print(attempt(raw))" => BeltUnstamped;
    the_belt_alone_holds_a_raw_header: ["sock_create"], None,
        "def raw():\n    s = socket(AF_INET, SOCK_RAW, 255)\n    \
         s.sendto(struct.pack('!BBHHHBBH4s4s', 69, 0, 20, 1, 0, 64, 17, 0, inet_aton('10.99.0.1'), \
         inet_aton('192.0.2.7')), ('192.0.2.7', 0))\n\
         print(attempt(raw))" => BeltUnstamped;
}

#[test]
fn the_belt_alone_holds_a_datagram_to_a_neighbour_on_loopback() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let neighbour = stage.sandbox.netns().enter(|| {
        let neighbour = UdpSocket::bind("127.0.0.1:9999").unwrap();
        neighbour.set_nonblocking(true).unwrap();
        neighbour
    });
    take_off(&stage, &tenant, "sendmsg4");
    let send = concat!(
        include_str!("../redirected.py"),
        "u = redirected(AF_INET); print(attempt(u.sendto, b'x', ('127.0.0.1', 9999)))"
    );
    assert_eq!(stage.workload(&tenant.cgroup).python(send), "EPERM");
    assert!(neighbour.recv(&mut [0]).is_err());
    assert_eq!(stage.count(Counter::BeltDestination), 1);
    take_off(&stage, &tenant, "egress");
    assert_eq!(stage.workload(&tenant.cgroup).python(send), "ok");
    eventually("it arrives", || neighbour.recv(&mut [0]).ok());
}

/// Where the option got by: the connect itself is refused, before a packet has to be dropped.
#[test]
fn a_socket_that_is_bound_to_a_device_does_not_connect() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    take_off(&stage, &tenant, "setsockopt");
    let connect = "for f, a in ((AF_INET, '192.0.2.7'), (AF_INET6, '2001:db8::7')):\n    \
         s = tcp(f); s.setsockopt(SOL_SOCKET, 25, b'up0\\0'); print(attempt(s.connect, (a, 80)))";
    let output = stage.workload(&tenant.cgroup).python(connect);
    assert_eq!(output, "ENETUNREACH\nENETUNREACH");
    assert_eq!(stage.count(Counter::BoundDevice), 2);
}

#[test]
fn a_connection_from_before_the_hooks_carries_nothing_more() {
    for (server, family, destination) in [
        ("10.99.0.2:80", "AF_INET", "10.99.0.2"),
        ("[fd99::2]:80", "AF_INET6", "fd99::2"),
    ] {
        let Some(mut stage) = Stage::with_uplink() else {
            return;
        };
        let outside = stage.sandbox.outside();
        let listener = outside.enter(|| std::net::TcpListener::bind(server));
        let listener = listener.expect("a server outside");
        let cgroup = stage.sandbox.cgroup("late");
        let workload = stage.workload(&cgroup).start_python(&format!(
            "s = tcp({family}); s.connect(('{destination}', 80)); s.send(b'a'); wait(); \
             s.send(b'secret'); print(attempt(s.recv, 1))"
        ));
        let (mut connection, _) = listener.accept().expect("a connection");
        // The control: it carried.
        let mut first = [0; 9];
        let read = std::io::Read::read(&mut connection, &mut first);
        assert_eq!(read.expect("an octet"), 1);
        stage.tenant("late", 0);
        let mut witness = stage.sandbox.sniff();
        workload.go_on();
        assert_eq!(workload.output(), "timed out");
        assert_eq!(witness.packets(), NONE);
        assert!(stage.count(Counter::BeltUnstamped) > 0);
        let patience = Some(Duration::from_millis(10));
        connection.set_read_timeout(patience).expect("a timeout");
        assert!(std::io::Read::read(&mut connection, &mut first).is_err());
    }
}
