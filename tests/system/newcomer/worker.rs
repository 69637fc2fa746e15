use harness::host::{Host, Running, Site, Visit};
use harness::sandbox::eventually;
use serde_json::Value;

use super::block_of;

const PART: &str = "Your code in the path";
const NAMES: [&str; 2] = ["api.example.com", "logs.example.com"];

/// What the README says, with this host's paths.
fn here(host: &Host, text: &str) -> String {
    let path = |name: &str| host.path(name).display().to_string();
    text.replace("/etc/outbound/", &path(""))
        .replace("/run/outbound/admin.sock", &path("admin.sock"))
        .replace(
            "/tenants.slice/acme.slice",
            &host.cgroup_name("tenants/acme"),
        )
}

/// A host with the README's configuration and module.
fn host() -> Option<(Host, Site)> {
    let host = Host::new()?;
    host.resolve(&NAMES);
    let told = block_of(PART, "toml").replace("version = 1\n", "");
    host.configure("readme", &here(&host, &told));
    host.write("conf.d/egress.js", block_of(PART, "js"));
    let site = host.site(&NAMES);
    Some((host, site))
}

/// Does what one line says.
fn try_line(host: &Host, line: &str, later: &Running) {
    let line = here(host, line).replace("4711", &later.pid().to_string());
    let Some(command) = line.strip_prefix("outbound ") else {
        let told = host.program("sh", &["-c", &line]).output();
        assert!(!told.contains("error"), "{line}: {told}");
        return;
    };
    let told = host
        .outbound(&command.split(' ').collect::<Vec<_>>())
        .output();
    if command.starts_with("run ") {
        assert_eq!(told, "hello from api.example.com/\n");
    }
}

#[test]
fn what_the_readme_says_of_workers_can_be_done() {
    let Some((host, site)) = host() else { return };
    let asks = "echo there; read line; exec curl -sS http://api.example.com/assigned";
    let later = host.program("sh", &["-c", asks]);
    let later = later.in_cgroup(&host.cgroup("elsewhere")).start();
    later.expect("there\n");
    let mut agent = None;
    for line in block_of(PART, "sh").lines() {
        match line {
            "outbound agent" => agent = Some(host.agent()),
            line => try_line(&host, line, &later),
        }
    }
    later.say("go on");
    let told = later.end().stdout;
    assert!(
        told.contains("hello from api.example.com/assigned"),
        "{told}"
    );
    for path in ["/", "/assigned"] {
        let mut visits = site.visits().into_iter();
        let asked = visits.find(|visit| visit.host() == NAMES[0] && visit.target.path() == path);
        let asked = asked.unwrap();
        let token = asked.header("authorization").unwrap_or_default();
        assert!(token.starts_with("Bearer ey"), "{path}: {token}");
    }
    eventually("both requests are logged", || {
        let visits = site.visits().into_iter();
        let logged = visits.filter(|visit| visit.host() == NAMES[1]);
        (logged.filter(is_entry).count() == 2).then_some(())
    });
    drop(agent);
}

fn is_entry(visit: &Visit) -> bool {
    let entry = serde_json::from_slice::<Value>(&visit.body);
    entry.is_ok_and(|entry| entry["customer"] == "Acme")
}
