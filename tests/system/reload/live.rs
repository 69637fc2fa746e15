//! What lasts while the configuration changes: connects that are held, tunnels with several names,
//! cgroups below a watched parent; and what the service manager hears of it.

use std::fs;
use std::os::unix::net::UnixDatagram;

use harness::host::{Host, ORIGIN_V4, Running};
use harness::sandbox::eventually;

use super::{reload, rule};
use crate::errors;
use crate::scene::{Prober, host, origin};

/// Whether the agent's own connect to the silent upstream of [`errors::host`] is under way.
fn is_dialling(host: &Host) -> bool {
    let sockets = host.program("cat", &["/proc/net/tcp"]).output();
    // 198.51.100.9:80 as the kernel writes it, and SYN_SENT.
    let mut lines = sockets.lines();
    lines.any(|line| line.contains(" 096433C6:0050 02 "))
}

#[test]
fn a_connect_that_is_held_fails_when_it_is_not_allowed_any_more() {
    let Some(host) = errors::host() else { return };
    host.configure("limits", "[limits]\nconnect = \"50s\"\n");
    let _agent = host.agent();
    let program = "import errno, select, socket\n\
                   made = socket.socket()\n\
                   made.setblocking(False)\n\
                   assert made.connect_ex(('198.51.100.9', 80)) == errno.EINPROGRESS\n\
                   print('begun', flush=True)\n\
                   assert select.select([], [made], [], 45)[1], 'nothing for so long'\n\
                   print(errno.errorcode[made.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)])\n";
    let connects = ["held", "held"].map(|tenant| host.python(tenant, program).start());
    for connect in &connects {
        connect.expect("begun\n");
    }
    eventually("its upstream is dialled", || {
        is_dialling(&host).then_some(())
    });
    let policies = fs::read_to_string(host.path("conf.d/policies.toml")).unwrap();
    let denied = policies.replacen("deny = [", "deny = [\"198.51.100.9\", ", 1);
    assert_ne!(denied, policies);
    host.configure("policies", &denied);
    reload(&host);
    for connect in &connects {
        connect.expect("ECONNREFUSED\n");
    }
    let line = host.expect_log(&[("tenant", "held"), ("reason", "policy_changed")]);
    assert_eq!(line["outcome"], "denied", "{line}");
    eventually("nobody dials any more", || {
        (!is_dialling(&host)).then_some(())
    });
}

/// Says back what it hears.
const ECHO: &str = "
import socket, threading
listener = socket.create_server(('203.0.113.10', 7000))
print('listening', flush=True)
def serve(stream):
    while data := stream.recv(99): stream.sendall(data)
while True:
    threading.Thread(target=serve, args=listener.accept()[:1], daemon=True).start()
";

/// Looks names up, and has a tunnel to what they lead to; says what comes back for each line.
const TUNNEL: &str = "
import socket, sys
for name in ('one.test', 'two.test'): socket.getaddrinfo(name, 7000, socket.AF_INET)
stream = socket.create_connection(('203.0.113.10', 7000), timeout=50)
for line in sys.stdin:
    try:
        stream.sendall(b'\\0' + line.strip().encode())
        print('heard', stream.recv(99)[1:].decode() or 'the end', flush=True)
    except OSError: print('heard the end', flush=True)
";

#[track_caller]
fn bounce(tunnel: &Running, word: &str, heard: &str) {
    tunnel.say(word);
    tunnel.expect(&format!("heard {heard}\n"));
}

#[test]
fn a_tunnel_goes_on_under_each_name_that_its_tenant_was_told_of_its_address() {
    let Some(host) = host() else { return };
    let echo = host.program("python3", &["-uc", ECHO]).start();
    echo.expect("listening\n");
    let names = ["one.test", "two.test", "untold.test"];
    let hosts = names.map(|name| format!("{name:?} = [{ORIGIN_V4:?}]\n"));
    host.configure("resolver", &format!("[resolver.hosts]\n{}", hosts.concat()));
    host.write("hosts.txt", "listed.test\n");
    let allow = |names: &[&str]| {
        let targets: Vec<_> = names
            .iter()
            .map(|name| format!("tcp://{name}:7000"))
            .collect();
        rule(&host, &format!("allow = {targets:?}"));
        reload(&host);
    };
    rule(
        &host,
        "allow = [\"tcp://one.test:7000\", \"tcp://two.test:7000\"]",
    );
    let _agent = host.agent();
    let tunnel = host.python("acme", TUNNEL).start();
    bounce(&tunnel, "before", "before");
    // Whichever name it was judged by, in one of the two it is the other that holds.
    for name in ["one.test", "two.test"] {
        allow(&[name]);
        bounce(&tunnel, name, name);
    }
    // It leads there as well, but nobody has told the tenant.
    allow(&["untold.test"]);
    bounce(&tunnel, "after", "the end");
    host.expect_log(&[("tenant", "acme"), ("reason", "policy_changed")]);
}

#[test]
fn the_service_manager_hears_of_each_reload_when_it_begins_and_ends() {
    let Some(host) = host() else { return };
    let path = host.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_nonblocking(true).unwrap();
    let told = |what: &str| {
        eventually(what, || {
            let mut buffer = [0; 4096];
            let length = manager.recv(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            text.contains(what).then_some(text)
        })
    };
    let _agent = host.agent_of(host.start_agent().env("NOTIFY_SOCKET", &path));
    told("READY=1");
    reload(&host);
    let began = told("RELOADING=1");
    // sd_notify(3): without it systemd takes the reload for one that has ended already.
    let since = began
        .lines()
        .find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
    assert!(
        since.is_some_and(|since| since.parse::<u64>().is_ok()),
        "{began}"
    );
    let ended = told("READY=1");
    assert!(ended.contains("STATUS=configuration reloaded"), "{ended}");
    rule(&host, "allow = 7");
    assert_eq!(host.outbound(&["reload"]).end().code, 1);
    told("RELOADING=1");
    let ended = told("READY=1");
    assert!(ended.contains("the last good one holds"), "{ended}");
}

/// What becomes of a connection that a process in a cgroup wants.
fn connects(host: &Host, cgroup: &str) -> String {
    let program = format!(
        "import socket\n\
         try:\n\
         \x20   socket.create_connection(({ORIGIN_V4:?}, 80), timeout=15)\n\
         \x20   print('connected')\n\
         except PermissionError: print('refused')\n"
    );
    let process = host.program("python3", &["-c", &program]);
    process.in_cgroup(&host.cgroup(cgroup)).output()
}

#[test]
fn a_parent_that_is_watched_from_a_reload_on_fences_what_is_below_it() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    assert_eq!(connects(&host, "late/web"), "connected\n");
    let parent = host.cgroup_name("late");
    host.configure("watch", &format!("[agent]\nwatch = [{parent:?}]\n"));
    reload(&host);
    assert_eq!(connects(&host, "late/web"), "refused\n");
    assert_eq!(connects(&host, "late/new"), "refused\n");
    assert_eq!(connects(&host, "beside"), "connected\n");
    // Whether what is below is free then, only a start decides.
    fs::remove_file(host.path("conf.d/watch.toml")).unwrap();
    let refused = host.outbound(&["reload"]).end();
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("agent.watch: "), "{refused:?}");
    assert_eq!(connects(&host, "late/web"), "refused\n");
}

#[test]
fn a_tenant_that_is_removed_below_a_watched_parent_has_no_egress_until_it_is_back() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let parent = host.cgroup_name("tenants");
    host.configure("watch", &format!("[agent]\nwatch = [{parent:?}]\n"));
    let agent = host.agent();
    let prober = Prober::start(&host, "acme");
    assert_eq!(prober.ask("/before"), "200");
    let tenant = fs::read_to_string(host.path("conf.d/tenant-acme.toml")).unwrap();
    fs::remove_file(host.path("conf.d/tenant-acme.toml")).unwrap();
    reload(&host);
    let gone = prober.ask("/gone");
    assert!(["EPERM", "ECONNREFUSED"].contains(&&*gone), "{gone}");
    // Nor may an operator set it free: what is below that parent has an owner or no egress.
    let cgroup = host.tenant_cgroup("acme").display().to_string();
    host.outbound(&["unassign", &cgroup]).end();
    assert_ne!(prober.ask("/still-gone"), "200");
    // A restarted agent knows no more of it than the last one.
    agent.stop();
    let _agent = host.agent();
    assert_ne!(prober.ask("/gone-after-restart"), "200");
    assert_eq!(origin.requests().len(), 1);
    host.configure("tenant-acme", &tenant);
    reload(&host);
    assert_eq!(prober.ask("/back"), "200");
}
