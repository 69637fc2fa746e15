use outbound_agent::redirect::{attachments, detach};

use crate::stage::Stage;

/// A server that is not the agent, on the address that the workload asks for.
const SERVE_AND_CONNECT: &str = "print(attempt(tcp().connect, ('10.99.0.2', 80)))";

#[test]
fn after_detach_connects_go_where_they_are_meant_to() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    let outside = stage.sandbox.outside();
    let server = outside.enter(|| std::net::TcpListener::bind("10.99.0.2:80").unwrap());
    server.set_nonblocking(true).unwrap();

    assert_eq!(
        stage.workload(&tenant.cgroup).python(SERVE_AND_CONNECT),
        "ok"
    );
    stage.flow();
    assert!(server.accept().is_err());

    let pin_dir = stage.sandbox.settings().pin_dir;
    let attached = attachments(&pin_dir).unwrap();
    assert!(attached.iter().any(|found| found.program == "connect4"
        && found.path.as_ref() == Some(&tenant.cgroup)
        && found.attach_type == "inet4_connect"));
    assert_eq!(detach(&pin_dir).unwrap(), attached);
    assert!(attachments(&pin_dir).unwrap().is_empty());

    assert_eq!(
        stage.workload(&tenant.cgroup).python(SERVE_AND_CONNECT),
        "ok"
    );
    assert!(server.accept().is_ok());
    stage.expect_none_accepted();
}

#[test]
fn unwatching_frees_one_cgroup_and_no_other() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let a = stage.tenant("a", 0);
    let b = stage.tenant("b", 1);
    let connect = "print(attempt(tcp().connect, ('192.0.2.7', 9)))";
    stage.redirect().unassign(a.id).unwrap();
    stage.redirect_mut().unwatch(&a.cgroup).unwrap();
    assert_eq!(stage.workload(&a.cgroup).python(connect), "ECONNREFUSED");
    stage.expect_none_accepted();
    assert_eq!(stage.workload(&b.cgroup).python(connect), "ok");
    assert_eq!(stage.flow().tenant_cgroup, b.id);
}
