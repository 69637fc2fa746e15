use outbound_agent::sys;
use outbound_common::Counter;
use outbound_common::tenant::TENANT_STRICT;

use crate::stage::Stage;

const CONNECT: &str = "print(attempt(tcp().connect, ('192.0.2.7', 80)))";

#[test]
fn a_watched_cgroup_that_is_nobodys_has_no_sockets() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let cgroup = stage.sandbox.cgroup("nobody");
    stage
        .redirect_mut()
        .watch(&cgroup)
        .expect("the programs attach");
    let output = stage.workload(&cgroup).python("print(attempt(socket))");
    assert_eq!(output, "EPERM");
    assert_eq!(stage.count(Counter::NoTenant), 1);
}

#[test]
fn one_watched_parent_serves_every_tenant_below_it() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let parent = stage.sandbox.cgroup("tenants");
    stage
        .redirect_mut()
        .watch(&parent)
        .expect("the programs attach");
    for (slot, name) in (0..).zip(["tenants/a", "tenants/b"]) {
        let cgroup = stage.sandbox.cgroup(name);
        let id = sys::cgroup_id(&cgroup).expect("its id");
        assert_eq!(
            stage.workload(&cgroup).python("print(attempt(socket))"),
            "EPERM"
        );
        let id = outbound_agent::model::tenant::CgroupId(id);
        let assigned = stage.redirect().assign(id, &cgroup, slot, 0);
        assigned.expect("an entry");
        assert_eq!(stage.workload(&cgroup).python(CONNECT), "ok");
        assert_eq!(stage.flow().tenant_cgroup, id);
    }
}

#[test]
fn the_innermost_tenant_is_the_one() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    stage.tenant("outer", 0);
    let inner = stage.tenant("outer/inner", 1);
    let below = stage.sandbox.cgroup("outer/inner/below");
    assert_eq!(stage.workload(&below).python(CONNECT), "ok");
    assert_eq!(stage.flow().tenant_cgroup, inner.id);
}

#[test]
fn an_unassigned_tenant_stops_at_once() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let workload = stage.workload(&tenant.cgroup).start_python(
        "other = tcp(); s = tcp(); s.connect(('192.0.2.7', 80)); wait()\n\
         s.send(b'x'); print(attempt(s.recv, 1))\n\
         print(attempt(other.connect, ('192.0.2.7', 80)), attempt(socket))",
    );
    let accepted = stage.accept();
    stage
        .redirect()
        .unassign(tenant.id)
        .expect("the entry goes");
    assert!(stage.redirect().assigned().expect("a list").is_empty());
    workload.go_on();
    assert_eq!(workload.output(), "timed out\nEPERM EPERM");
    assert!(stage.count(Counter::BeltNoTenant) > 0);
    accepted.stream.set_nonblocking(true).expect("a socket");
    let received = std::io::Read::read(&mut &accepted.stream, &mut [0]);
    assert!(received.is_err(), "{received:?}");
}

#[test]
fn a_socket_from_before_the_hooks_is_refused() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let cgroup = stage.sandbox.cgroup("late");
    let workload = stage.workload(&cgroup).start_python(
        "s = tcp(); u = udp(); print('made', flush=True); wait()\n\
         print(attempt(s.connect, ('192.0.2.7', 80)), attempt(u.sendto, b'x', ('192.0.2.7', 53)))",
    );
    harness::sandbox::eventually("the workload has its sockets", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", workload.pid())).ok()?;
        (open.count() >= 5).then_some(())
    });
    stage.tenant("late", 0);
    workload.go_on();
    assert_eq!(workload.output(), "made\nEPERM EPERM");
    assert!(stage.count(Counter::NoStamp) >= 2);
}

#[test]
fn a_socket_from_elsewhere_is_refused_inside_a_tenant() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let free = stage.sandbox.cgroup("free");
    let enter = format!(
        "s = tcp(); v = tcp(AF_INET6); u = udp()\n\
         open('{}/cgroup.procs', 'w').write(str(os.getpid()))\n\
         print(attempt(s.connect, ('192.0.2.7', 80)), attempt(v.connect, ('2001:db8::7', 80)), \
         attempt(u.sendto, b'x', ('192.0.2.7', 53)))",
        tenant.cgroup.display()
    );
    assert_eq!(stage.workload(&free).python(&enter), "EPERM EPERM EPERM");
    assert_eq!(stage.count(Counter::ForeignSocket), 3);
}

#[test]
fn a_tenants_socket_stays_its_own_in_anothers_hands() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let a = stage.tenant("a", 0);
    let b = stage.tenant("b", 1);
    let move_over = format!(
        "s = tcp(); open('{}/cgroup.procs', 'w').write(str(os.getpid()))\n\
         print(attempt(s.connect, ('192.0.2.7', 80)))",
        b.cgroup.display()
    );
    assert_eq!(stage.workload(&a.cgroup).python(&move_over), "ok");
    assert_eq!(stage.flow().tenant_cgroup, a.id);

    let a = stage.tenant_with("a", 0, TENANT_STRICT);
    assert_eq!(stage.workload(&a.cgroup).python(&move_over), "EPERM");
    assert_eq!(stage.count(Counter::WrongTenant), 1);
    assert_eq!(stage.workload(&a.cgroup).python(CONNECT), "ok");
}

#[test]
fn the_thread_that_connects_is_named() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    // PR_SET_NAME
    let connect = "import ctypes\n\
         def one(): ctypes.CDLL(None).prctl(15, b'fetcher'); tcp().connect(('192.0.2.7', 80))\n\
         made = threading.Thread(target=one); made.start(); made.join(); wait()";
    let workload = stage.workload(&tenant.cgroup).as_user(1000);
    let workload = workload.start_python(connect);
    let flow = stage.flow();
    assert_eq!((flow.pid, flow.uid), (workload.pid(), 1000));
    assert_eq!(&*flow.executable, "fetcher");
    workload.go_on();
    workload.output();
}

/// Tenants that share a namespace have one `::1`: both take the same source port, again and
/// again, and leave it by a reset before the next takes it.
#[test]
fn a_source_port_that_is_used_again_confuses_nobody() {
    const EACH: usize = 300;
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenants = [stage.tenant("a", 0), stage.tenant("b", 1)];
    let running: Vec<_> = (1..)
        .zip(&tenants)
        .map(|(number, tenant)| {
            stage.workload(&tenant.cgroup).start_python(&format!(
                "def one(n):\n    \
                 s = tcp(AF_INET6); s.setsockopt(SOL_SOCKET, SO_REUSEADDR, 1); s.bind(('::1', 4000))\n    \
                 s.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack('ii', 1, 0))\n    \
                 s.connect(('2001:db8:{number}::%x' % n, 80)); s.send(b'{number}:%x\\n' % n)\n\
                 for n in range(1, {EACH} + 1):\n    \
                 while attempt(one, n) != 'ok': pass\n\
                 print('done')"
            ))
        })
        .collect();
    let mut read = 0;
    for _ in 0..EACH * 2 {
        let accepted = stage.accept();
        let flow = accepted.flow.expect("a flow");
        let asked = flow.original_dst.0.ip().to_string();
        let whose = tenants.iter().position(|one| one.id == flow.tenant_cgroup);
        let whose = 1 + whose.expect("one of the two");
        assert!(
            asked.starts_with(&format!("2001:db8:{whose}::")),
            "{flow:?}"
        );
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(accepted.stream);
        // A reset may have taken what was sent with it.
        if std::io::BufRead::read_line(&mut reader, &mut line).is_ok_and(|length| length > 0) {
            let (number, n) = line.trim().split_once(':').expect("tenant and number");
            assert_eq!(asked, format!("2001:db8:{number}::{n}"));
            read += 1;
        }
    }
    println!("{read} of {} were read", EACH * 2);
    for workload in running {
        assert_eq!(workload.output(), "done");
    }
    assert_eq!(stage.pending(), 0);
}

#[test]
fn a_namespace_that_a_tenant_makes_leads_nowhere() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let output = stage.workload(&tenant.cgroup).python(
        "import ctypes; print(ctypes.CDLL(None).unshare(0x40000000))\n\
         os.system('ip link set lo up')\n\
         print(attempt(tcp().connect, ('192.0.2.7', 80)))",
    );
    assert_eq!(output, "0\nENETUNREACH");
    assert_eq!(stage.count(Counter::NoListener), 1);
}

#[test]
fn a_removed_cgroup_keeps_its_identity_as_long_as_a_socket_lives() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let below = stage.sandbox.cgroup("a/below");
    let leave = format!(
        "s = tcp(); open('{}/cgroup.procs', 'w').write(str(os.getpid())); os.rmdir('{}')\n\
         print(attempt(s.connect, ('192.0.2.7', 80)))",
        tenant.cgroup.display(),
        below.display()
    );
    assert_eq!(stage.workload(&below).python(&leave), "ok");
    assert_eq!(stage.flow().tenant_cgroup, tenant.id);
}

#[tokio::test]
async fn a_refusal_says_who_wanted_what() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let mut refusals = stage.redirect().refusals().expect("the ring buffer");
    let output = stage
        .workload(&tenant.cgroup)
        .python("print(os.getpid(), attempt(udp().sendto, b'x', ('192.0.2.7', 443)))");
    let (pid, outcome) = output.split_once(' ').expect("two words");
    assert_eq!(outcome, "ECONNREFUSED");
    let refusal = refusals.next().await.expect("a refusal");
    assert_eq!(refusal.check(), Some(Counter::Datagram));
    assert_eq!(refusal.tenant_cgroup, tenant.id.0);
    assert_eq!(refusal.process_cgroup, tenant.id.0);
    assert_eq!(refusal.pid.to_string(), pid);
    assert_eq!(refusal.protocol, 17);
    let destination =
        outbound_common::addr::socket_addr(refusal.destination, refusal.destination_port);
    assert_eq!(destination.to_string(), "192.0.2.7:443");
    assert!(refusals.take().is_none());
}
