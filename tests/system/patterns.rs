use std::fs;
use std::path::Path;

use harness::host::{Host, Running};
use harness::sandbox::eventually;
use serde_json::Value;

use crate::scene::{host, origin};

/// Asks the origin for a name that `acme` may not reach, and `globex` neither, on every line;
/// says the status, or the errno.
const WORKLOAD: &str = "
import errno, socket, sys
def ask():
    stream = socket.create_connection(('203.0.113.10', 80), timeout=15)
    stream.sendall(b'GET / HTTP/1.1\\r\\nhost: api.test\\r\\nconnection: close\\r\\n\\r\\n')
    reply = b''
    while chunk := stream.recv(65536):
        reply += chunk
    return reply[9:12].decode()
print('there')
for line in sys.stdin:
    try: print(line.strip(), ask(), flush=True)
    except OSError as error: print(line.strip(), errno.errorcode.get(error.errno, str(error)), flush=True)
";

/// A tenant of the configuration whose cgroups are those that match.
fn tenant_of_pattern(host: &Host, name: &str, pattern: &str) {
    let pattern = host.cgroup_name(pattern);
    let text = format!("[[tenants]]\nname = {name:?}\npolicy = {name:?}\ncgroup = {pattern:?}\n");
    host.configure(&format!("tenant-{name}"), &text);
}

fn workload(host: &Host, cgroup: &Path) -> Running {
    let workload = host.program("python3", &["-uc", WORKLOAD]);
    let workload = workload.in_cgroup(cgroup).start();
    workload.expect("there\n");
    workload
}

fn assigned(host: &Host) -> Vec<(String, String)> {
    let list: Value = serde_json::from_str(&host.admin("/v1/assignments").1).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = list["assignments"].as_array().unwrap().iter();
    list.map(|one| (text(&one["tenant"]), text(&one["cgroup"])))
        .collect()
}

fn await_assigned(host: &Host, tenant: &str, cgroup: &Path, is_assigned: bool) {
    let entry = (tenant.to_owned(), cgroup.display().to_string());
    eventually(&format!("{entry:?} is {is_assigned}"), || {
        (assigned(host).contains(&entry) == is_assigned).then_some(())
    });
}

#[test]
fn a_cgroup_that_matches_is_the_tenants_as_soon_as_it_appears() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let pods = host.cgroup_name("pods");
    host.configure("watch", &format!("[agent]\nwatch = [{pods:?}]\n"));
    tenant_of_pattern(&host, "acme", "pods/*/{tenant}-*");
    tenant_of_pattern(&host, "globex", "pods/*/{tenant}-*");
    let there = host.cgroup("pods/node/acme-0");
    let agent = host.agent();
    assert_eq!(
        assigned(&host),
        [("acme".to_owned(), there.display().to_string())]
    );

    // On a level that was not there either.
    let acme = host.cgroup("pods/other/acme-1");
    let globex = host.cgroup("pods/other/globex-1");
    let nobodys = host.cgroup("pods/other/web");
    await_assigned(&host, "acme", &acme, true);
    await_assigned(&host, "globex", &globex, true);
    for (cgroup, answer) in [(&acme, "200"), (&globex, "403"), (&nobodys, "EPERM")] {
        let workload = workload(&host, cgroup);
        workload.say("got");
        workload.expect(&format!("got {answer}\n"));
    }
    host.expect_log(&[("tenant", "globex"), ("server.address", "api.test")]);

    // It goes with its cgroup, and one that is made anew is another.
    eventually("the cgroup can be removed", || fs::remove_dir(&acme).ok());
    await_assigned(&host, "acme", &acme, false);
    let again = host.cgroup("pods/other/acme-1");
    await_assigned(&host, "acme", &again, true);

    // A restart finds the same.
    let before = assigned(&host);
    agent.kill();
    let _agent = host.agent();
    assert_eq!(assigned(&host), before);
    let refused = host.outbound(&["unassign", again.to_str().unwrap()]).end();
    assert!(
        refused.stderr.contains("by the configuration"),
        "{refused:?}"
    );
    let refused = host.run("acme", &["true"]).end();
    assert!(
        refused.stderr.contains("none to run a command in"),
        "{refused:?}"
    );
}

#[test]
fn a_cgroup_that_two_patterns_match_is_neithers() {
    let Some(host) = host() else { return };
    let pods = host.cgroup_name("pods");
    host.configure("watch", &format!("[agent]\nwatch = [{pods:?}]\n"));
    tenant_of_pattern(&host, "acme", "pods/*-web");
    tenant_of_pattern(&host, "globex", "pods/globex-*");
    let agent = host.agent();
    let (both, one) = (
        host.cgroup("pods/globex-web"),
        host.cgroup("pods/globex-db"),
    );
    await_assigned(&host, "globex", &one, true);
    await_assigned(&host, "acme", &both, false);
    await_assigned(&host, "globex", &both, false);
    let workload = workload(&host, &both);
    workload.say("got");
    workload.expect("got EPERM\n");
    let told = agent.process().complaints();
    assert!(told.contains("patterns of two tenants"), "{told}");
}

#[test]
fn without_a_watched_parent_what_was_connected_before_is_ended() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    tenant_of_pattern(&host, "acme", "acme-*.scope");
    let early = host.cgroup("acme-1.scope");
    let running = workload(&host, &early);
    running.say("before");
    running.expect("before 200\n");
    let _agent = host.agent();
    await_assigned(&host, "acme", &early, true);
    let late = host.cgroup("acme-2.scope");
    await_assigned(&host, "acme", &late, true);
    running.say("after");
    running.expect("after 200\n");
    host.expect_log(&[("tenant", "acme"), ("server.address", "api.test")]);
    fs::remove_dir(&late).unwrap();
    await_assigned(&host, "acme", &late, false);
}
