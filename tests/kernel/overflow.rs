//! What is full refuses, and confuses nobody.

use std::time::{Duration, Instant};

use aya::maps::{HashMap, Map, MapData};
use outbound_agent::redirect::Refusals;
use outbound_common::account::{FLOWS_PER_TENANT, REPORTS_PER_SECOND};
use outbound_common::names::map;
use outbound_common::{Addr16, Counter, Flow, FlowKey};

use crate::stage::{Stage, Tenant};

#[test]
fn a_full_map_of_flows_is_a_connection_without_a_flow() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let data = MapData::from_pin(stage.sandbox.settings().pin_dir.join(map::FLOWS)).unwrap();
    let mut flows = HashMap::<_, FlowKey, Flow>::try_from(Map::HashMap(data)).unwrap();
    let stale = Flow::stamp(1, 1, 0, 1);
    let key = |n: u32| FlowKey {
        netns: 1,
        source: Addr16([0, 0, 0, n]),
        agent: Addr16::UNSPECIFIED,
        source_port: 1,
        agent_port: 1,
        protocol: 6,
    };
    let filled = (0..)
        .take_while(|&n| flows.insert(key(n), stale, 0).is_ok())
        .count();
    assert!(filled > 60_000, "{filled}");

    let connect = "s = tcp(); s.connect(('192.0.2.7', 80)); print(attempt(s.recv, 1))";
    let workload = stage.workload(&tenant.cgroup).start_python(connect);
    assert!(stage.accept().flow.is_none());
    workload.output();
    assert_eq!(stage.count(Counter::FlowsFull), 1);
    assert_eq!(stage.count(Counter::FlowMissing), 1);

    let swept = stage.redirect().sweep(Duration::from_secs(60)).unwrap();
    assert_eq!(swept, filled);
    let workload = stage.workload(&tenant.cgroup).start_python(connect);
    assert_eq!(stage.flow().tenant_cgroup, tenant.id);
    workload.output();
}

#[test]
fn a_tenant_that_fills_its_share_of_flows_denies_nobody_else() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let greedy = stage.tenant("greedy", 0);
    let other = stage.tenant("other", 1);
    let fill = "def ask(port):\n    \
        u = udp(); u.bind(('127.0.0.1', port)); result = attempt(u.sendto, b'q', ('192.0.2.53', 53))\n    \
        u.close(); return result\n\
        results = [ask(20000 + n) for n in range(9000)]\n\
        print(results.count('ok'), results[-1])";
    let output = stage.workload(&greedy.cgroup).python(fill);
    assert_eq!(output, format!("{FLOWS_PER_TENANT} EPERM"));
    assert_eq!(stage.pending(), FLOWS_PER_TENANT as usize);

    let ask = "print(attempt(udp().sendto, b'q', ('192.0.2.53', 53)), \
               attempt(tcp().connect, ('192.0.2.7', 80)))";
    let greedy_sees = || stage.workload(&greedy.cgroup).python(ask);
    assert_eq!(greedy_sees(), "EPERM EADDRNOTAVAIL");
    assert_eq!(stage.workload(&other.cgroup).python(ask), "ok ok");
    assert_eq!(stage.flow().tenant_cgroup, other.id);
    let refused = u64::from(9000 - FLOWS_PER_TENANT) + 2;
    assert_eq!(stage.count(Counter::TenantFlowsFull), refused);
    assert_eq!(stage.count(Counter::FlowsFull), 0);

    stage.redirect().sweep(Duration::ZERO).unwrap();
    assert_eq!(greedy_sees(), "ok ok");
    assert_eq!(stage.flow().tenant_cgroup, greedy.id);
}

#[test]
fn a_query_from_where_another_tenants_is_under_way_is_not_taken_for_that_tenants() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let first = stage.tenant("first", 0);
    let second = stage.tenant("second", 1);
    // Tenants that share a namespace have one `::1`; on IPv4 the agent's addresses are their own.
    let ask = |family: &str, source: &str, server: &str| {
        format!(
            "u = udp({family}); u.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1); u.bind(('{source}', 4000))\n\
             print(attempt(u.sendto, b'q', ('{server}', 53)))"
        )
    };
    let over_v6 = ask("AF_INET6", "::1", "2001:db8::53");
    let over_v4 = ask("AF_INET", "127.0.0.1", "192.0.2.53");
    let sees = |tenant: &Tenant, program: &str| stage.workload(&tenant.cgroup).python(program);
    assert_eq!(sees(&first, &over_v6), "ok");
    assert_eq!(sees(&first, &over_v6), "ok");
    assert_eq!(sees(&second, &over_v6), "EPERM");
    assert_eq!(stage.count(Counter::FlowTaken), 1);
    assert_eq!(sees(&first, &over_v4), "ok");
    assert_eq!(sees(&second, &over_v4), "ok");
    stage.redirect().sweep(Duration::ZERO).unwrap();
    assert_eq!(sees(&second, &over_v6), "ok");
}

#[tokio::test]
async fn a_tenant_that_is_refused_all_the_time_does_not_fill_the_log() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let spinning = stage.tenant("spinning", 0);
    let other = stage.tenant("other", 1);
    let mut refusals = stage.redirect().refusals().unwrap();
    let started = Instant::now();
    stage
        .workload(&spinning.cgroup)
        .python("u = udp()\nfor n in range(30000): attempt(u.sendto, b'x', ('192.0.2.7', 443))");
    let seconds = started.elapsed().as_secs() + 2;
    let told = |refusals: &mut Refusals| {
        let taken = std::iter::from_fn(|| refusals.take());
        taken
            .map(|one| (one.tenant_cgroup, 1 + one.suppressed))
            .collect::<Vec<_>>()
    };
    let first = told(&mut refusals);
    assert!(
        first.len() as u64 <= seconds * REPORTS_PER_SECOND,
        "{}",
        first.len()
    );

    // Another's refusal is told at once; this tenant's next tells how many were not.
    let refused = "print(attempt(udp().sendto, b'x', ('192.0.2.7', 443)))";
    stage.workload(&other.cgroup).python(refused);
    assert_eq!(told(&mut refusals), [(other.id.0, 1)]);
    let last = harness::sandbox::eventually("the next second", || {
        stage.workload(&spinning.cgroup).python(refused);
        Some(told(&mut refusals)).filter(|told| !told.is_empty())
    });
    let all: u64 = first
        .iter()
        .chain(&last)
        .map(|(_cgroup, number)| number)
        .sum();
    assert_eq!(all + 1, stage.count(Counter::Datagram));
    // An address tried by `connect` alone is counted and never told: resolvers sort by it.
    stage
        .workload(&other.cgroup)
        .python("print(attempt(udp().connect, ('192.0.2.7', 443)))");
    assert_eq!(told(&mut refusals), []);
    assert_eq!(all + 2, stage.count(Counter::Datagram));
}

#[test]
fn who_is_no_tenant_does_not_come_to_the_agent_by_its_ports() {
    let Some(stage) = Stage::new() else { return };
    let free = stage.sandbox.cgroup("free");
    // A neighbouring port is nobody's business.
    let tries = "for s, a in ((tcp(), '127.1.0.9'), (tcp(AF_INET6), '::1'), (tcp(), '0.0.0.0'), \
         (tcp(AF_INET6), '::ffff:127.1.0.9')):\n    print(attempt(s.connect, (a, 15001)))\n\
         print(attempt(udp().sendto, b'q', ('127.1.0.9', 15053)), \
         attempt(udp().sendto, b'q', ('127.1.0.9', 15054)))\n\
         l = tcp(); l.bind(('127.0.0.1', 15002)); l.listen(); \
         print(attempt(tcp().connect, ('127.0.0.1', 15002)))";
    let output = stage.workload(&free).python(tries);
    let refused = ["ECONNREFUSED"; 4].join("\n");
    assert_eq!(output, format!("{refused}\nECONNREFUSED ok\nok"));
    assert_eq!(stage.count(Counter::AgentAddress), 5);
    stage.expect_none_accepted();
}

#[test]
fn no_tenant_uses_up_anothers_ports() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let netns = stage.sandbox.netns();
    netns.sysctl("net/ipv4/ip_local_port_range", "40000 40099");
    let greedy = stage.tenant("greedy", 0);
    let other = stage.tenant("other", 1);
    let exhaust = "kept = []\n\
        for n in range(300):\n    \
        s = tcp(); kept.append(s)\n    \
        if attempt(s.connect, ('192.0.2.7', 80)) != 'ok': print(n); break\n\
        wait()";
    let workload = stage.workload(&greedy.cgroup).start_python(exhaust);
    let held: Vec<_> = (0..100).map(|_| stage.accept()).collect();
    // One destination is one loopback address: a hundred ports, a hundred connections.
    let again = "print(attempt(tcp().connect, ('192.0.2.7', 80)))";
    assert_eq!(
        stage.workload(&greedy.cgroup).python(again),
        "EADDRNOTAVAIL"
    );
    assert_eq!(stage.workload(&other.cgroup).python(again), "ok");
    drop(held);
    workload.go_on();
    assert_eq!(workload.output(), "100");
}
