use std::fs;
use std::path::PathBuf;

use harness::host::{Host, Running};
use harness::sandbox::eventually;
use serde_json::Value;

use crate::scene::{host, origin};

/// Connects whenever it is told to, and says what became of the connection before.
const WORKLOAD: &str = "
import errno, socket, sys
def told(act):
    try: return act()
    except OSError as error: return errno.errorcode.get(error.errno, str(error))
def ask():
    stream = socket.create_connection(('203.0.113.10', 80), timeout=15)
    stream.sendall(b'GET / HTTP/1.1\\r\\nhost: evil.test\\r\\nconnection: close\\r\\n\\r\\n')
    reply = b''
    while chunk := stream.recv(65536):
        reply += chunk
    return reply[9:12].decode()
early = socket.create_connection(('203.0.113.10', 80), timeout=15)
print('connected')
for line in sys.stdin:
    print(told(lambda: early.send(b'G') and 'sent'), told(ask), flush=True)
";

/// A cgroup of the test's own that is nobody's, with a workload in it that has connected.
fn stranger(host: &Host, name: &str) -> (PathBuf, Running) {
    let cgroup = host.cgroup(name);
    let workload = host.program("python3", &["-uc", WORKLOAD]);
    let workload = workload.in_cgroup(&cgroup).start();
    workload.expect("connected\n");
    (cgroup, workload)
}

fn assignments(host: &Host) -> Vec<Value> {
    let list: Value = serde_json::from_str(&host.admin("/v1/assignments").1).unwrap();
    list["assignments"].as_array().unwrap().clone()
}

#[test]
fn what_runs_is_the_tenants_from_its_next_connect_and_again_after_a_restart() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let (cgroup, workload) = stranger(&host, "late");
    workload.say("");
    workload.expect("sent 200\n");

    let pid = workload.pid().to_string();
    let said = host
        .outbound(&["assign", "--tenant", "acme", "--pid", &pid])
        .output();
    assert!(said.contains(cgroup.to_str().unwrap()), "{said}");
    assert!(said.contains("1 socket of before ended"), "{said}");
    workload.say("");
    workload.expect("ECONNABORTED 403\n");
    host.expect_log(&[("tenant", "acme"), ("server.address", "evil.test")]);
    let mine = |one: &Value| one["cgroup"] == cgroup.to_str().unwrap();
    let listed = assignments(&host).into_iter().find(mine).unwrap();
    assert_eq!(
        (&listed["tenant"], &listed["by"]),
        (&"acme".into(), &"operator".into())
    );

    agent.kill();
    let agent = host.agent();
    assert!(assignments(&host).iter().any(mine));
    workload.say("");
    workload.expect("403\nEPIPE 403\n");

    let path = cgroup.to_str().unwrap();
    let said = host.outbound(&["unassign", path]).output();
    assert!(said.contains("is free"), "{said}");
    workload.say("");
    workload.expect("403\nEPIPE 200\n");
    agent.stop();
    let _agent = host.agent();
    assert!(!assignments(&host).iter().any(mine));
}

#[test]
fn below_a_watched_parent_what_is_nobodys_again_has_no_egress() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let parent = host.cgroup("pods");
    let cgroup = host.cgroup("pods/one");
    let agent_cgroup = host.cgroup_name("pods");
    host.configure("watch", &format!("[agent]\nwatch = [{agent_cgroup:?}]\n"));
    let agent = host.agent();
    let path = cgroup.to_str().unwrap();
    host.outbound(&["assign", "--tenant", "acme", path])
        .output();
    let links = fs::read_dir(host.pin_dir()).unwrap().flatten();
    let groups = links.filter(|entry| entry.path().is_dir()).count();
    // The parent, two tenants of the configuration, the agent, the sentinel.
    assert_eq!(groups, 5, "the parent's links do for it");
    let workload = host.program("python3", &["-uc", WORKLOAD]);
    let workload = workload.in_cgroup(&cgroup).start();
    workload.expect("connected\n");
    workload.say("");
    workload.expect("sent 403\n");
    let said = host.outbound(&["unassign", path]).output();
    assert!(said.contains("has no egress"), "{said}");
    workload.say("");
    workload.expect("ECONNABORTED EPERM\n");
    drop((workload, agent, parent));
}

#[test]
fn what_cannot_be_assigned_is_refused_with_the_reason() {
    let Some(host) = host() else { return };
    let agent = host.agent();
    let acme = host.tenant_cgroup("acme");
    let (acme, pid) = (acme.to_str().unwrap(), agent.process().pid().to_string());
    for (arguments, words) in [
        (
            vec!["assign", "--tenant", "nobody", acme],
            "no tenant nobody",
        ),
        (
            vec!["assign", "--tenant", "globex", acme],
            "is tenant acme's",
        ),
        (
            vec!["assign", "--tenant", "acme", "/.."],
            "is not below the cgroup root",
        ),
        (
            vec!["assign", "--tenant", "acme", "/none"],
            "there is no cgroup",
        ),
        (
            vec!["assign", "--tenant", "acme", "--pid", &pid],
            "the agent itself runs in",
        ),
        (
            vec!["assign", "--tenant", "acme", "--pid", "4194305"],
            "there is no process 4194305",
        ),
        (
            vec!["assign", "--tenant", "acme", "--unit", "none"],
            "no unit none.service is running",
        ),
        (vec!["unassign", acme], "by the configuration"),
        (vec!["unassign", "/"], "is not below the cgroup root"),
    ] {
        let ended = host.outbound(&arguments).end();
        assert_eq!(ended.code, 1, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{words}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    assert_eq!(assignments(&host).len(), 2);
    let kept = host.path("state/assignments.json");
    assert!(!kept.exists(), "nothing was assigned");
}

#[test]
fn an_assignment_ends_with_its_cgroup() {
    let Some(host) = host() else { return };
    let _agent = host.agent();
    let cgroup = host.cgroup("brief");
    let path = cgroup.to_str().unwrap();
    host.outbound(&["assign", "--tenant", "acme", path])
        .output();
    assert_eq!(assignments(&host).len(), 3);
    fs::remove_dir(&cgroup).unwrap();
    eventually("the assignment is dropped", || {
        (assignments(&host).len() == 2).then_some(())
    });
    let kept = fs::read_to_string(host.path("state/assignments.json")).unwrap();
    assert!(kept.contains("\"assignments\":[]"), "{kept}");
    // One of the same name is another cgroup.
    fs::create_dir(&cgroup).unwrap();
    let (status, said) = host.admin("/v1/assignments");
    assert!(!said.contains("brief"), "{status} {said}");
}

#[test]
fn a_tenants_cgroup_that_is_removed_is_made_and_fenced_again() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let cgroup = host.tenant_cgroup("globex");
    fs::remove_dir(&cgroup).unwrap();
    eventually("the cgroup is back", || cgroup.exists().then_some(()));
    let tenant = || -> Value { serde_json::from_str(&host.admin("/v1/tenants/globex").1).unwrap() };
    let id = std::os::unix::fs::MetadataExt::ino(&fs::metadata(&cgroup).unwrap());
    eventually("it is the tenant's", || {
        (tenant()["cgroup_ids"] == serde_json::json!([id])).then_some(())
    });
    let ended = host.python(
        "globex",
        "import socket; socket.create_connection(('203.0.113.10', 443))",
    );
    assert_eq!(ended.end().code, 0);
}

#[test]
fn an_operators_word_opens_a_namespace_that_the_workload_made() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let cgroup = host.cgroup("rootless");
    let program = "
import errno, socket, sys
print('there')
for line in sys.stdin:
    try: socket.create_connection(('203.0.113.10', 80)); print('connected')
    except OSError as error: print(errno.errorcode[error.errno], flush=True)";
    let unshare = [
        "--user",
        "--map-root-user",
        "--net",
        "python3",
        "-uc",
        program,
    ];
    let workload = host.program("unshare", &unshare).in_cgroup(&cgroup).start();
    workload.expect("there\n");
    let pid = workload.pid().to_string();
    host.outbound(&["assign", "--tenant", "acme", "--pid", &pid])
        .output();
    workload.say("");
    workload.expect("connected\n");
}
