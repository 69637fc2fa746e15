//! What is full refuses, and confuses nobody.

use aya::maps::{HashMap, Map, MapData};
use outbound_common::names::map;
use outbound_common::{Addr16, Counter, Flow, FlowKey};

use crate::stage::Stage;

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

    let swept = stage
        .redirect()
        .sweep(std::time::Duration::from_secs(60))
        .unwrap();
    assert_eq!(swept, filled);
    let workload = stage.workload(&tenant.cgroup).start_python(connect);
    assert_eq!(stage.flow().tenant_cgroup, tenant.id);
    workload.output();
}

#[test]
fn a_process_that_is_no_tenants_has_no_flow_at_the_agents_port() {
    let Some(stage) = Stage::new() else { return };
    let free = stage.sandbox.cgroup("free");
    let connect = "s = tcp(); s.connect(('127.1.0.9', 15001)); print(attempt(s.recv, 1))";
    let workload = stage.workload(&free).start_python(connect);
    assert!(stage.accept().flow.is_none());
    workload.output();
    assert_eq!(stage.count(Counter::FlowMissing), 1);
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
