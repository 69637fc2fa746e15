use std::net::{IpAddr, SocketAddr};

use outbound_agent::model::flow::Flow;
use outbound_common::Counter;
use outbound_common::tenant::{LISTENER_NO_IPV6, LISTENER_PREFER_IPV4};

use crate::stage::Stage;

/// Runs one connect, and gives what Python printed and the flow that reached the agent.
#[track_caller]
fn connected(stage: &mut Stage, statements: &str) -> (String, Flow, IpAddr) {
    let tenant = stage.tenant("a", 7);
    let statements = format!("{statements}; wait()");
    let workload = stage.workload(&tenant.cgroup).start_python(&statements);
    let accepted = stage.accept();
    let flow = accepted.flow.expect("a flow");
    assert_eq!(flow.tenant_cgroup, tenant.id);
    workload.go_on();
    let local = accepted.stream.local_addr().expect("an address").ip();
    (workload.output(), flow, local)
}

#[track_caller]
fn assert_asked_for(flow: &Flow, address: &str) {
    let address: SocketAddr = address.parse().expect("an address");
    assert_eq!(flow.original_dst.0, address);
}

#[test]
fn an_ipv4_connect_reaches_the_agent_with_its_destination() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 7);
    let workload = stage
        .workload(&tenant.cgroup)
        .start_python("s = tcp(); s.connect(('192.0.2.7', 443)); print(s.getpeername()); wait()");
    let accepted = stage.accept();
    let flow = accepted.flow.expect("a flow");
    assert_asked_for(&flow, "192.0.2.7:443");
    assert_eq!(flow.tenant_cgroup, tenant.id);
    assert_eq!(flow.socket_cgroup, tenant.id);
    assert_eq!(flow.netns, stage.sandbox.netns().cookie());
    assert_eq!(flow.pid, workload.pid());
    assert_eq!(flow.uid, 0);
    assert!(flow.executable.starts_with("python3"), "{flow:?}");
    // The tenant of slot 7 has 127.1.7.0/24 to itself.
    let local = accepted.stream.local_addr().expect("an address");
    assert!(local.to_string().starts_with("127.1.7."), "{local}");
    workload.go_on();
    assert_eq!(workload.output(), "('192.0.2.7', 443)");
    assert_eq!(stage.count(Counter::Redirected), 1);
    assert_eq!(stage.pending(), 0);
}

#[test]
fn an_ipv6_connect_reaches_the_agent_with_its_destination() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let (peer, flow, local) = connected(
        &mut stage,
        "s = tcp(AF_INET6); s.connect(('2001:db8::7', 443)); print(s.getpeername())",
    );
    assert_asked_for(&flow, "[2001:db8::7]:443");
    assert_eq!(local, IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]));
    assert_eq!(peer, "('2001:db8::7', 443, 0, 0)");
}

#[test]
fn an_ipv4_mapped_connect_reaches_the_agent_as_ipv4() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let (peer, flow, local) = connected(
        &mut stage,
        "s = tcp(AF_INET6); s.connect(('::ffff:192.0.2.7', 443)); print(s.getpeername())",
    );
    assert_asked_for(&flow, "192.0.2.7:443");
    assert!(local.to_string().starts_with("127.1.7."), "{local}");
    assert_eq!(peer, "('::ffff:192.0.2.7', 443, 0, 0)");
}

#[test]
fn a_shared_namespace_carries_ipv6_over_the_tenants_own_ipv4() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    stage.listen(LISTENER_PREFER_IPV4);
    let (peer, flow, local) = connected(
        &mut stage,
        "s = tcp(AF_INET6); s.connect(('2001:db8::7', 443)); print(s.getpeername())",
    );
    assert_asked_for(&flow, "[2001:db8::7]:443");
    assert!(local.to_string().starts_with("127.1.7."), "{local}");
    assert_eq!(peer, "('2001:db8::7', 443, 0, 0)");
}

#[test]
fn a_socket_that_cannot_speak_ipv4_keeps_ipv6() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    stage.listen(LISTENER_PREFER_IPV4);
    for prepare in [
        "s.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)",
        "s.bind(('::1', 0))",
    ] {
        let statements = format!("s = tcp(AF_INET6); {prepare}; s.connect(('2001:db8::7', 443))");
        let (_, flow, local) = connected(&mut stage, &statements);
        assert_asked_for(&flow, "[2001:db8::7]:443");
        assert_eq!(local, IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]), "{prepare}");
    }
}

#[test]
fn a_namespace_without_ipv6_carries_it_over_ipv4() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let netns = stage.sandbox.netns();
    netns.sysctl("net/ipv6/conf/all/disable_ipv6", "1");
    stage.listen(LISTENER_NO_IPV6);
    let (peer, flow, _) = connected(
        &mut stage,
        "s = tcp(AF_INET6); s.connect(('2001:db8::7', 443)); print(s.getpeername())",
    );
    assert_asked_for(&flow, "[2001:db8::7]:443");
    assert_eq!(peer, "('2001:db8::7', 443, 0, 0)");
}

#[test]
fn every_way_to_connect_is_redirected() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    for statements in [
        // Non-blocking: the outcome is in SO_ERROR.
        "s = tcp(); s.setblocking(False); print(attempt(s.connect, ('192.0.2.7', 80))); \
         select.select([], [s], []); print(s.getsockopt(SOL_SOCKET, SO_ERROR))",
        // MSG_FASTOPEN
        "s = tcp(); s.settimeout(None); print(s.sendto(b'hello', 0x20000000, ('192.0.2.7', 80)))",
        // TCP_FASTOPEN_CONNECT
        "s = tcp(); s.settimeout(None); s.setsockopt(IPPROTO_TCP, 30, 1); s.connect(('192.0.2.7', 80)); s.send(b'x')",
        // Bound to an address and port
        "s = tcp(); s.bind(('127.0.0.5', 4242)); s.connect(('192.0.2.7', 80))",
        // IP_BIND_ADDRESS_NO_PORT
        "s = tcp(); s.setsockopt(0, 24, 1); s.bind(('127.0.0.1', 0)); s.connect(('192.0.2.7', 80))",
        // SO_DONTROUTE
        "s = tcp(); s.setsockopt(SOL_SOCKET, SO_DONTROUTE, 1); s.connect(('192.0.2.7', 80))",
    ] {
        let (_, flow, _) = connected(&mut stage, statements);
        assert_asked_for(&flow, "192.0.2.7:80");
    }
}

#[test]
fn the_unspecified_address_is_a_destination_like_any_other() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let (_, flow, _) = connected(&mut stage, "s = tcp(); s.connect(('0.0.0.0', 80))");
    assert_asked_for(&flow, "0.0.0.0:80");
    let (_, flow, _) = connected(&mut stage, "s = tcp(AF_INET6); s.connect(('::', 80))");
    assert_asked_for(&flow, "[::]:80");
}

#[test]
fn a_socket_that_connects_again_has_its_second_destination() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let workload = stage.workload(&tenant.cgroup).start_python(
        "import ctypes; s = tcp(); s.connect(('192.0.2.1', 80)); wait()\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         print(libc.connect(s.fileno(), struct.pack('=H14x', 0), 16))\n\
         s.connect(('192.0.2.2', 81)); print(s.getpeername())",
    );
    assert_asked_for(&stage.flow(), "192.0.2.1:80");
    workload.go_on();
    assert_asked_for(&stage.flow(), "192.0.2.2:81");
    assert_eq!(workload.output(), "0\n('192.0.2.2', 81)");
}

#[test]
fn the_agents_own_ports_are_no_destination() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    for (destination, family) in [
        ("'127.0.0.1', 15001", "AF_INET"),
        ("'127.1.0.9', 15001", "AF_INET"),
        ("'0.0.0.0', 15053", "AF_INET"),
        ("'::1', 15001", "AF_INET6"),
        ("'::', 15001", "AF_INET6"),
        ("'::ffff:127.0.0.1', 15001", "AF_INET6"),
    ] {
        let outcome = stage.workload(&tenant.cgroup).python(&format!(
            "print(attempt(tcp({family}).connect, ({destination})))"
        ));
        assert_eq!(outcome, "ECONNREFUSED", "{destination}");
    }
    assert_eq!(stage.count(Counter::AgentAddress), 6);
    stage.expect_none_accepted();
}

#[test]
fn a_nested_cgroup_counts_as_its_tenant() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let below = stage.sandbox.cgroup("a/b/c");
    let output = stage
        .workload(&below)
        .python("s = tcp(); s.connect(('192.0.2.7', 80)); print('connected')");
    assert_eq!(output, "connected");
    let flow = stage.flow();
    assert_eq!(flow.tenant_cgroup, tenant.id);
    assert_ne!(flow.socket_cgroup, tenant.id);
}

#[test]
fn a_process_that_is_no_tenants_is_untouched() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    stage.tenant("a", 0);
    let free = stage.sandbox.cgroup("free");
    let output = stage.workload(&free).python(
        "l = tcp(); l.bind(('127.0.0.1', 8080)); l.listen(); s = tcp()\n\
         s.connect(('127.0.0.1', 8080)); print(s.getpeername())\n\
         print(attempt(tcp().connect, ('192.0.2.7', 80)))\n\
         u = udp(); u.bind(('127.0.0.1', 0)); u.sendto(b'x', u.getsockname()); print(u.recv(9))",
    );
    assert_eq!(output, "('127.0.0.1', 8080)\nENETUNREACH\nb'x'");
    stage.expect_none_accepted();
}

#[test]
fn two_hundred_connects_at_once_keep_destination_and_tenant_apart() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenants = [stage.tenant("a", 0), stage.tenant("b", 1)];
    let running: Vec<_> = tenants
        .iter()
        .enumerate()
        .map(|(number, tenant)| {
            // The port is the answer: 20000 + the source port's bits cannot be guessed by chance.
            stage.workload(&tenant.cgroup).start_python(&format!(
                "open_ones = []\n\
                 def one(n):\n    \
                 s = tcp(); s.settimeout(20); s.connect(('198.51.{number}.' + str(n), 1000 + n))\n    \
                 s.send(b'{number}:%d\\n' % n); open_ones.append(s)\n\
                 threads = [threading.Thread(target=one, args=(n,)) for n in range(100)]\n\
                 [t.start() for t in threads]; [t.join() for t in threads]\n\
                 print(len(open_ones)); wait()"
            ))
        })
        .collect();
    for _ in 0..200 {
        let accepted = stage.accept();
        let flow = accepted.flow.expect("a flow");
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(accepted.stream);
        std::io::BufRead::read_line(&mut reader, &mut line).expect("what the workload says");
        let (number, n) = line.trim().split_once(':').expect("tenant and number");
        let number: usize = number.parse().expect("a number");
        let n: u16 = n.parse().expect("a number");
        assert_asked_for(&flow, &format!("198.51.{number}.{n}:{}", 1000 + n));
        assert_eq!(flow.tenant_cgroup, tenants[number].id);
    }
    for workload in running {
        workload.go_on();
        assert_eq!(workload.output(), "100");
    }
    assert_eq!(stage.pending(), 0);
}

#[test]
fn connections_that_are_closed_at_once_are_known_all_the_same() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let workload = stage.workload(&tenant.cgroup).start_python(
        "for n in range(10000):\n    \
         s = tcp(); s.connect(('192.0.2.7', 100 + n)); s.send(b'x'); s.close()",
    );
    let started = std::time::Instant::now();
    for n in 0..10_000 {
        assert_asked_for(&stage.flow(), &format!("192.0.2.7:{}", 100 + n));
    }
    let a_minute = 10_000.0 * 60.0 / started.elapsed().as_secs_f64();
    println!("{a_minute:.0} connections a minute");
    workload.output();
    assert_eq!(stage.pending(), 0);
}

#[test]
fn one_source_port_in_two_namespaces_is_two_flows() {
    let (Some(mut one), Some(mut two)) = (Stage::new(), Stage::new()) else {
        return;
    };
    let statements =
        "s = tcp(); s.bind(('127.0.0.1', 900)); s.connect(('192.0.2.{n}', 80)); wait()";
    let stages = [&mut one, &mut two];
    let running: Vec<_> = stages
        .into_iter()
        .zip(["1", "2"])
        .map(|(stage, n)| {
            let tenant = stage.tenant("a", 0);
            let workload = stage.workload(&tenant.cgroup);
            workload.start_python(&statements.replace("{n}", n))
        })
        .collect();
    for (stage, n) in [(&one, 1), (&two, 2)] {
        let accepted = stage.accept();
        assert_eq!(accepted.stream.peer_addr().expect("an address").port(), 900);
        assert_asked_for(&accepted.flow.expect("a flow"), &format!("192.0.2.{n}:80"));
    }
    for workload in running {
        workload.go_on();
        workload.output();
    }
}
