//! What holds while the agent is away, and what comes back with it.

use outbound_common::Counter;

use crate::stage::Stage;

const CONNECT: &str = "print(attempt(tcp().connect, ('192.0.2.7', 80)))";

#[test]
fn nobody_takes_the_agents_ports_not_even_while_it_is_away() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    stage.stop_listening();
    let output = stage.workload(&tenant.cgroup).python(
        "for family, address in ((AF_INET, ''), (AF_INET, '127.0.0.1'), (AF_INET, '127.1.0.9'), \
         (AF_INET6, '::'), (AF_INET6, '::1'), (AF_INET6, '::ffff:127.0.0.1')):\n    \
         print(attempt(tcp(family).bind, (address, 15001)), attempt(udp(family).bind, (address, 15053)))",
    );
    assert_eq!(output, ["EADDRINUSE EADDRINUSE"; 6].join("\n"));
    assert_eq!(stage.count(Counter::AgentPort), 12);
    // The control: a neighbouring port is free.
    let bind = "print(attempt(tcp().bind, ('127.0.0.1', 15002)))";
    assert_eq!(stage.workload(&tenant.cgroup).python(bind), "ok");
}

#[test]
fn without_an_agent_there_is_no_egress_and_with_the_next_there_is() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let mut witness = stage.sandbox.sniff();
    stage.stop_listening();
    assert_eq!(
        stage.workload(&tenant.cgroup).python(CONNECT),
        "ECONNREFUSED"
    );
    stage.reload();
    stage.start_listening();
    assert_eq!(stage.workload(&tenant.cgroup).python(CONNECT), "ok");
    assert_eq!(stage.flow().tenant_cgroup, tenant.id);
    assert_eq!(witness.packets(), Vec::<String>::new());
}

#[test]
fn programs_are_replaced_under_load_without_a_gap() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let mut witness = stage.sandbox.sniff();
    let workload = stage.workload(&tenant.cgroup).start_python(
        "for n in range(3000):\n    s = tcp(); s.connect(('192.0.2.7', 80)); s.close()\nprint('done')",
    );
    for n in 0..3000 {
        assert_eq!(stage.flow().tenant_cgroup, tenant.id);
        if n % 500 == 0 {
            stage.reload();
        }
    }
    assert_eq!(workload.output(), "done");
    assert_eq!(witness.packets(), Vec::<String>::new());
    assert_eq!(stage.pending(), 0);
}

#[test]
fn refused_connects_leave_no_flow_behind() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    stage.stop_listening();
    let output = stage
        .workload(&tenant.cgroup)
        .python("print({attempt(tcp().connect, ('192.0.2.7', 80)) for n in range(5000)})");
    assert_eq!(output, "{'ECONNREFUSED'}");
    assert_eq!(stage.pending(), 0);
}

#[test]
fn a_tenant_that_is_removed_under_its_connections_leaks_nothing() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let mut witness = stage.sandbox.sniff();
    let free = stage.sandbox.cgroup("free");
    let leave = format!(
        "s = tcp(); s.connect(('192.0.2.7', 80)); other = tcp()\n\
         open('{}/cgroup.procs', 'w').write(str(os.getpid())); os.rmdir('{}'); wait()\n\
         s.send(b'x'); print(attempt(s.recv, 1)); print(attempt(other.connect, ('192.0.2.7', 80)))",
        free.display(),
        tenant.cgroup.display()
    );
    let workload = stage.workload(&tenant.cgroup).start_python(&leave);
    let accepted = stage.accept();
    harness::sandbox::eventually("the cgroup is gone", || {
        (!tenant.cgroup.exists()).then_some(())
    });
    stage
        .redirect()
        .unassign(tenant.id)
        .expect("the entry goes");
    workload.go_on();
    assert_eq!(workload.output(), "timed out\nEPERM");
    assert_eq!(witness.packets(), Vec::<String>::new());
    drop(accepted);
}
