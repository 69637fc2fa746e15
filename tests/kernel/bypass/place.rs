use std::io::Read as _;
use std::net::TcpListener;

use outbound_common::Counter;
use outbound_common::tenant::{TENANT_INBOUND, TENANT_STRICT};

use super::{NONE, attacks};
use crate::stage::{DNS_PORT, Stage, TCP_PORT};

attacks! {
    what_a_namespace_of_the_tenants_making_sends_through_it_stays_inside: None,
        include_str!("../forward.py") => "ENETUNREACH";
}

/// A service of the host on loopback is a destination like any other: it is asked for at the
/// agent, whatever the loopback is called.
#[test]
fn a_service_on_loopback_is_not_reached_past_the_agent() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let netns = stage.sandbox.netns();
    let service = netns.enter(|| TcpListener::bind("[::]:8080"));
    let service = service.expect("a service");
    let tenant = stage.tenant("a", 0);
    let free = stage.sandbox.cgroup("free");
    for (family, address, asked) in [
        ("AF_INET", "127.0.0.1", "127.0.0.1:8080"),
        ("AF_INET", "0.0.0.0", "0.0.0.0:8080"),
        ("AF_INET6", "::1", "[::1]:8080"),
        ("AF_INET6", "::", "[::]:8080"),
        ("AF_INET6", "::ffff:127.0.0.1", "127.0.0.1:8080"),
        ("AF_INET6", "::ffff:0.0.0.0", "0.0.0.0:8080"),
    ] {
        let connect = format!("s = tcp({family}); print(attempt(s.connect, ('{address}', 8080)))");
        assert_eq!(stage.workload(&free).python(&connect), "ok", "{address}");
        assert!(service.accept().is_ok());
        assert_eq!(stage.workload(&tenant.cgroup).python(&connect), "ok");
        let flow = stage.flow();
        assert_eq!(flow.original_dst.0, asked.parse().expect("an address"));
    }
    service.set_nonblocking(true).expect("a listener");
    assert!(service.accept().is_err(), "somebody came past the agent");
}

/// Sends a descriptor from one process to another, as a service manager, a container runtime or
/// an accomplice would.
const GIVE: &str = "socketpair = socketpair(); import array\n\
     def give(to, made): to.sendmsg([b'x'], [(SOL_SOCKET, SCM_RIGHTS, array.array('i', [made.fileno()]))])\n\
     def take(of): return socket(fileno=array.array('i', of.recvmsg(1, CMSG_LEN(4))[1][0][2])[0])\n\
     def enter(cgroup): open(cgroup + '/cgroup.procs', 'w').write(str(os.getpid()))\n";

/// A socket made in one cgroup, passed by SCM_RIGHTS to a process in another, used there.
#[track_caller]
fn passed(
    stage: &Stage,
    from: &std::path::Path,
    to: &std::path::Path,
    make: &str,
    using: &str,
) -> String {
    let program = format!(
        "{GIVE}here, there = socketpair\n\
         child = os.fork()\n\
         if child == 0:\n    \
         enter('{}'); s = take(there); s.settimeout(1.5); print({using}, flush=True); os._exit(0)\n\
         s = {make}; give(here, s); os.waitpid(child, 0)",
        to.display()
    );
    stage.workload(from).python(&program)
}

#[test]
fn a_socket_that_is_passed_into_a_tenant_is_refused_there() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let free = stage.sandbox.cgroup("free");
    let mut witness = stage.sandbox.sniff();
    for (make, using) in [
        ("tcp()", "attempt(s.connect, ('192.0.2.7', 80))"),
        ("tcp(AF_INET6)", "attempt(s.connect, ('2001:db8::7', 80))"),
        ("udp()", "attempt(s.connect, ('192.0.2.7', 53))"),
        ("udp()", "attempt(s.sendto, b'x', ('192.0.2.7', 53))"),
        (
            "udp(AF_INET6)",
            "attempt(s.sendto, b'x', ('2001:db8::7', 53))",
        ),
    ] {
        let seen = passed(&stage, &free, &tenant.cgroup, make, using);
        assert_eq!(seen, "EPERM", "{using}");
        assert_eq!(witness.packets(), NONE);
        // The control: it is the user that makes the difference.
        passed(
            &stage,
            &free,
            &free,
            make,
            &format!(
                "{using}, s.sendto(b'x', ('192.0.2.7', 9)) if s.type == SOCK_DGRAM and s.family == AF_INET else 0"
            ),
        );
        witness.packets();
    }
    assert_eq!(stage.count(Counter::ForeignSocket), 5);
}

#[test]
fn a_socket_that_is_passed_out_of_a_tenant_stays_the_tenants() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let mut witness = stage.sandbox.sniff();
    let free = stage.sandbox.cgroup("free");
    let other = stage.tenant("b", 1);
    let connect = "attempt(s.connect, ('192.0.2.7', 80))";
    for to in [&free, &other.cgroup] {
        let tenant = stage.tenant("a", 0);
        assert_eq!(passed(&stage, &tenant.cgroup, to, "tcp()", connect), "ok");
        assert_eq!(stage.flow().tenant_cgroup, tenant.id);
        let tenant = stage.tenant_with("a", 0, TENANT_STRICT);
        assert_eq!(
            passed(&stage, &tenant.cgroup, to, "tcp()", connect),
            "EPERM"
        );
    }
    assert_eq!(witness.packets(), NONE);
}

#[test]
fn a_process_that_leaves_its_tenant_takes_no_socket_out_of_it() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let free = stage.sandbox.cgroup("free");
    let mut witness = stage.sandbox.sniff();
    let leave = format!(
        "s = tcp(); v = tcp(AF_INET6); u = udp()\n\
         open('{}/cgroup.procs', 'w').write(str(os.getpid()))\n\
         print(attempt(s.connect, ('192.0.2.7', 80)), attempt(v.connect, ('2001:db8::7', 80)), \
         attempt(u.sendto, b'x', ('192.0.2.7', 443)))\n\
         wait(); attempt(udp().sendto, b'x', ('192.0.2.7', 443))",
        free.display()
    );
    let workload = stage.workload(&tenant.cgroup).start_python(&leave);
    for _stream in 0..2 {
        assert_eq!(stage.flow().tenant_cgroup, tenant.id);
    }
    harness::sandbox::eventually("the datagram is refused", || {
        (stage.count(Counter::Datagram) > 0).then_some(())
    });
    assert_eq!(witness.packets(), NONE);
    workload.go_on();
    assert_eq!(workload.output(), "ok ok ECONNREFUSED");
    // The control: what it makes outside goes out.
    witness.await_packet();
}

/// Descriptor 3, as of systemd's socket units and of the agent itself.
#[test]
fn a_socket_that_a_service_manager_hands_over_sends_nothing_of_the_tenants_choice() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let manager = stage.sandbox.cgroup("manager");
    let mut witness = stage.sandbox.sniff();
    for (make, using) in [
        ("udp()", "attempt(s.sendto, b'x', ('192.0.2.7', 443))"),
        (
            "udp(AF_INET6)",
            "attempt(s.sendto, b'x', ('2001:db8::7', 443))",
        ),
        ("tcp()", "attempt(s.connect, ('192.0.2.7', 80))"),
        ("tcp(AF_INET6)", "attempt(s.connect, ('2001:db8::7', 80))"),
    ] {
        // The unit's process is in its cgroup before it is executed.
        let hand_over = |cgroup: &std::path::Path| {
            let unit = format!(
                "import errno; from socket import *\n\
                 {}\ns = socket(fileno=3); s.settimeout(1.5); print({using})",
                "def attempt(call, *arguments):\n    \
                 try: call(*arguments); return 'ok'\n    \
                 except OSError as error: return errno.errorcode.get(error.errno, str(error))"
            );
            let program = format!(
                "s = {make}; os.dup2(s.fileno(), 3); os.set_inheritable(3, True)\n\
                 open('{}/cgroup.procs', 'w').write(str(os.getpid()))\n\
                 os.execv(sys.executable, ['python3', '-S', '-c', {unit:?}])",
                cgroup.display()
            );
            stage.workload(&manager).python(&program)
        };
        assert_eq!(hand_over(&tenant.cgroup), "EPERM", "{using}");
        assert_eq!(witness.packets(), NONE);
        hand_over(&stage.sandbox.cgroup("free"));
        witness.await_packet();
    }
}

/// The agent's own listeners are in no tenant's cgroup; what it hands to a tenant is no way out.
#[test]
fn a_port_that_a_tenant_comes_to_by_chance_receives_nobodys_traffic() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    // Its servers answer, but not there.
    let squatter = stage.tenant_with("squatter", 0, TENANT_INBOUND);
    let victim = stage.tenant("victim", 1);
    stage.stop_listening();
    let netns = stage.sandbox.netns();
    // Nothing but the agent's port is left to be given out, as a tenant that is root of the
    // namespace could arrange.
    netns.sysctl("net/ipv4/ip_local_port_range", "15001 15001");
    let squat = "l = tcp(); l.listen(); print(l.getsockname()[1], flush=True); wait()\n\
         l.setblocking(False); print(attempt(l.accept))";
    let workload = stage.workload(&squatter.cgroup).start_python(squat);
    stage.sandbox.await_listener(TCP_PORT);
    netns.sysctl("net/ipv4/ip_local_port_range", "40000 40099");
    let connect = "print(attempt(tcp().connect, ('192.0.2.7', 80)))";
    assert_eq!(stage.workload(&victim.cgroup).python(connect), "timed out");
    workload.go_on();
    assert_eq!(workload.output(), "15001\nEAGAIN");
    assert!(stage.count(Counter::BeltInbound) > 0);

    // What the agent reserves is not given out, for datagrams neither.
    let reserved = format!("{TCP_PORT},{DNS_PORT}");
    netns.sysctl("net/ipv4/ip_local_reserved_ports", &reserved);
    for (port, ask) in [
        (TCP_PORT, "tcp().listen"),
        (DNS_PORT, "udp().sendto, b'x', ('192.0.2.53', 53)"),
        (DNS_PORT, "udp().bind, ('', 0)"),
    ] {
        netns.sysctl("net/ipv4/ip_local_port_range", &format!("{port} {port}"));
        let program = format!("print(attempt({ask}))");
        let seen = stage.workload(&squatter.cgroup).python(&program);
        assert!(
            ["EADDRINUSE", "EADDRNOTAVAIL", "timed out"].contains(&&*seen),
            "{ask}: {seen}"
        );
    }
    let mut end = [0];
    while let Some(accepted) = stage.try_accept() {
        assert_eq!((&accepted.stream).read(&mut end).unwrap_or(0), 0);
    }
}

/// Frames below every hook on IP: closed where the kernel offers `lsm_cgroup`; elsewhere `status`
/// and `doctor` say that they are open, and a namespace without an uplink closes them.
#[test]
fn frames_of_a_packet_socket_stay_inside_where_the_kernel_can_refuse_it() {
    const SEND: &str = "def frame():\n    \
         s = socket(AF_PACKET, SOCK_RAW); s.bind(('up0', 0))\n    \
         s.send(bytes(12) + b'\\x08\\x00' + struct.pack('!BBHHHBBH4s4s', 69, 0, 20, 1, 0, 64, 17, 0, \
         inet_aton('10.99.0.1'), inet_aton('192.0.2.7')))\n\
         print(attempt(frame))";
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let mut witness = stage.sandbox.sniff();
    let free = stage.sandbox.cgroup("free");
    assert_eq!(stage.workload(&free).python(SEND), "ok");
    witness.await_packet();
    let tenant = stage.tenant("a", 0);
    let seen = stage.workload(&tenant.cgroup).python(SEND);
    match &stage.redirect().features().families {
        Ok(()) => {
            assert_eq!(seen, "EAFNOSUPPORT");
            assert_eq!(witness.packets(), NONE);
        }
        Err(why) => {
            println!("open on this kernel: {why}");
            assert_eq!(seen, "ok");
            let Some(mut sealed) = Stage::new() else {
                return;
            };
            let tenant = sealed.tenant("a", 0);
            let seen = sealed.workload(&tenant.cgroup).python(SEND);
            assert_eq!(seen, "ENODEV", "nothing but lo");
        }
    }
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
