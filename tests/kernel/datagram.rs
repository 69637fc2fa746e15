use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use harness::sandbox::PATIENCE;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use outbound_agent::model::addr::Downstream;
use outbound_agent::model::flow::Flow;
use outbound_agent::sys;
use outbound_common::Counter;

use crate::stage::{DNS_PORT, Stage};

/// In the resolver's place: answers each query with `re:` before it, from the address that the
/// query came to, and tells whose it was.
struct Resolver {
    queries: Receiver<Option<Flow>>,
    /// Who answers ends with it.
    _wanted: Arc<()>,
}

impl Resolver {
    fn start(stage: &Stage) -> Self {
        let (sender, queries) = mpsc::channel();
        let wanted = Arc::new(());
        let (v4, v6) = stage.sandbox.netns().enter(|| {
            let v4 = UdpSocket::bind(("0.0.0.0", DNS_PORT)).expect("the resolver's port");
            setsockopt(&v4, sockopt::Ipv4PacketInfo, &true).expect("IP_PKTINFO");
            (
                v4,
                UdpSocket::bind(("::1", DNS_PORT)).expect("the resolver's port"),
            )
        });
        for socket in [v4, v6] {
            let (sender, flows) = (sender.clone(), stage.flows.clone());
            let wanted = Arc::downgrade(&wanted);
            let netns = sys::netns_cookie(socket.as_fd()).expect("a cookie");
            let patience = Some(Duration::from_millis(300));
            socket.set_read_timeout(patience).expect("a timeout");
            thread::spawn(move || {
                while wanted.strong_count() > 0 {
                    let Some((query, source, local)) = receive(&socket) else {
                        continue;
                    };
                    let flow = flows.datagram(netns, Downstream(source), local, DNS_PORT);
                    answer(&socket, &query, source, local);
                    if sender.send(flow).is_err() {
                        break;
                    }
                }
            });
        }
        Self {
            queries,
            _wanted: wanted,
        }
    }

    #[track_caller]
    fn flow(&self) -> Flow {
        let flow = self.queries.recv_timeout(PATIENCE).expect("a query");
        flow.expect("the query has a flow")
    }
}

fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddr, IpAddr)> {
    let mut bytes = [0; 512];
    if socket.local_addr().expect("an address").is_ipv6() {
        let (length, source) = socket.recv_from(&mut bytes).ok()?;
        return Some((bytes[..length].to_vec(), source, "::1".parse().expect("it")));
    }
    let mut space = nix::cmsg_space!(nix::libc::in_pktinfo);
    let mut slices = [IoSliceMut::new(&mut bytes)];
    let flags = MsgFlags::empty();
    let message =
        recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut slices, Some(&mut space), flags).ok()?;
    let source = SocketAddrV4::from(message.address?);
    let local = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr.s_addr),
        _ => None,
    })?;
    let length = message.bytes;
    let local = Ipv4Addr::from(local.to_ne_bytes());
    Some((bytes[..length].to_vec(), source.into(), local.into()))
}

fn answer(socket: &UdpSocket, query: &[u8], source: SocketAddr, local: IpAddr) {
    let answer = [b"re:", query].concat();
    let (IpAddr::V4(local), SocketAddr::V4(source)) = (local, source) else {
        socket.send_to(&answer, source).expect("an answer leaves");
        return;
    };
    let info = nix::libc::in_pktinfo {
        ipi_ifindex: 0,
        ipi_spec_dst: nix::libc::in_addr {
            s_addr: u32::from_ne_bytes(local.octets()),
        },
        ipi_addr: nix::libc::in_addr { s_addr: 0 },
    };
    sendmsg(
        socket.as_raw_fd(),
        &[IoSlice::new(&answer)],
        &[ControlMessage::Ipv4PacketInfo(&info)],
        MsgFlags::empty(),
        Some(&SockaddrIn::from(source)),
    )
    .expect("an answer leaves");
}

#[test]
fn dns_reaches_the_resolver_and_the_answer_comes_from_where_it_was_asked() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 3);
    let resolver = Resolver::start(&stage);
    for (statements, asked, answered) in [
        (
            "u = patient(udp()); u.connect(('192.0.2.53', 53)); u.send(b'q'); \
             print(u.recvfrom(9), u.getpeername())",
            "192.0.2.53:53",
            "(b're:q', ('192.0.2.53', 53)) ('192.0.2.53', 53)",
        ),
        (
            "u = patient(udp()); u.sendto(b'q', ('192.0.2.53', 53)); print(u.recvfrom(9))",
            "192.0.2.53:53",
            "(b're:q', ('192.0.2.53', 53))",
        ),
        (
            "u = patient(udp(AF_INET6)); u.connect(('2001:db8::53', 53)); u.send(b'q'); print(u.recvfrom(9))",
            "[2001:db8::53]:53",
            "(b're:q', ('2001:db8::53', 53, 0, 0))",
        ),
        (
            "u = patient(udp(AF_INET6)); u.sendto(b'q', ('2001:db8::53', 53)); print(u.recvfrom(9))",
            "[2001:db8::53]:53",
            "(b're:q', ('2001:db8::53', 53, 0, 0))",
        ),
        (
            "u = patient(udp(AF_INET6)); u.connect(('::ffff:192.0.2.53', 53)); u.send(b'q'); \
             print(u.recvfrom(9))",
            "192.0.2.53:53",
            "(b're:q', ('::ffff:192.0.2.53', 53, 0, 0))",
        ),
        (
            "u = patient(udp(AF_INET6)); u.sendto(b'q', ('::ffff:192.0.2.53', 53)); print(u.recvfrom(9))",
            "192.0.2.53:53",
            "(b're:q', ('::ffff:192.0.2.53', 53, 0, 0))",
        ),
    ] {
        let output = stage.workload(&tenant.cgroup).python(statements);
        assert_eq!(output, answered, "{statements}");
        let flow = resolver.flow();
        assert_eq!(flow.original_dst.0, asked.parse().expect("an address"));
        assert_eq!(flow.tenant_cgroup, tenant.id);
    }
    assert!(stage.count(Counter::RedirectedDns) >= 6);
}

#[test]
fn one_socket_may_ask_two_servers() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let resolver = Resolver::start(&stage);
    let output = stage.workload(&tenant.cgroup).python(
        "u = patient(udp())\n\
         for server in ('192.0.2.53', '192.0.2.54'):\n    \
         u.sendto(b'q', (server, 53)); print(u.recvfrom(9)[1][0])",
    );
    assert_eq!(output, "192.0.2.53\n192.0.2.54");
    assert_eq!(resolver.flow().tenant_cgroup, tenant.id);
}

#[test]
fn datagrams_that_are_not_dns_fail_at_once() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let mut witness = stage.sandbox.sniff();
    for (statements, outcome) in [
        ("attempt(udp().connect, ('192.0.2.7', 443))", "ECONNREFUSED"),
        (
            "attempt(udp().sendto, b'x', ('192.0.2.7', 443))",
            "ECONNREFUSED",
        ),
        (
            "attempt(udp(AF_INET6).connect, ('2001:db8::7', 443))",
            "ECONNREFUSED",
        ),
        (
            "attempt(udp(AF_INET6).sendto, b'x', ('2001:db8::7', 443))",
            "ECONNREFUSED",
        ),
        (
            "attempt(udp(AF_INET6).sendto, b'x', ('::ffff:192.0.2.7', 443))",
            "ECONNREFUSED",
        ),
        (
            "attempt(udp().sendto, b'x', ('224.0.0.251', 5353))",
            "ECONNREFUSED",
        ),
        // The resolver's port is no destination of its own.
        (
            "attempt(udp().sendto, b'x', ('127.1.0.9', 15053))",
            "ECONNREFUSED",
        ),
    ] {
        let program = format!("print({statements})");
        assert_eq!(
            stage.workload(&tenant.cgroup).python(&program),
            outcome,
            "{statements}"
        );
    }
    assert_eq!(stage.count(Counter::Datagram), 7);
    assert_eq!(witness.packets(), Vec::<String>::new());
}

#[test]
fn flows_of_datagrams_are_swept() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    stage.workload(&tenant.cgroup).python(
        "kept = [udp() for n in range(50)]; [u.sendto(b'q', ('192.0.2.53', 53)) for u in kept]",
    );
    assert_eq!(stage.pending(), 50);
    assert_eq!(
        stage
            .redirect()
            .sweep(Duration::from_secs(3600))
            .expect("a sweep"),
        0
    );
    assert_eq!(stage.redirect().sweep(Duration::ZERO).expect("a sweep"), 50);
    assert_eq!(stage.pending(), 0);
}
