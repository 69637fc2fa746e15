//! Tenants dispatched with parameters, through the agent's API and by the command line.

/// The documents' dispatchers and worker, with real origins and tokens.
mod example;
/// The documents' worker in workerd.
mod workerd;
/// Parameters on the command line.
mod command;
/// Which export of a module is the worker.
mod entrypoint;
/// What becomes of dispatches with another configuration.
mod reload;
/// What parameters decide, and where they stand.
mod conditions;
/// What is refused.
mod refused;
/// What the diagnostics say of a module.
mod told;

use std::path::{Path, PathBuf};

use harness::host::{Host, ORIGIN_V4, Running, Server};
use harness::sandbox::eventually;
use serde_json::{Value, json};

const PATH: &str = "/v1/namespaces/production/dispatch";

/// Says what its parameters are.
const TELLS: &str = "export default { fetch(request, env) {
    return new Response(JSON.stringify({ plan: env.plan, of: env.params_object }));
} }";

/// A host whose namespace declares `plan` and `params_object`, with `acme` in it and `free` in none.
fn host() -> Option<Host> {
    let host = Host::new()?;
    host.resolve(&["api.example.com", "logs.example.com", "other.example.com"]);
    host.configure(
        "dispatch",
        r#"
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = { service = "egress", parameters = ["plan", "params_object"] }
[services.egress]
main = "egress/worker.js"
limits = { cpu = "5s" }
[policies.p]
allow = ["api.example.com", "other.example.com"]
"#,
    );
    std::fs::create_dir_all(host.path("conf.d/egress")).unwrap();
    host.write("conf.d/egress/worker.js", TELLS);
    host.tenant_with("acme", "p", "namespace = \"production\"");
    host.tenant("free", "p");
    Some(host)
}

/// Asks on one connection whenever it is told to, and says what came back.
const ASKER: &str = "
import http.client, sys
def ask(kept):
    try:
        kept.request('GET', '/', headers={'host': 'api.example.com'})
        reply = kept.getresponse()
        return f'{reply.status} {reply.read().decode()}'
    except (OSError, http.client.HTTPException) as error:
        kept.close()
        return type(error).__name__
kept = http.client.HTTPConnection('203.0.113.10', timeout=20)
print('there', flush=True)
for number, _line in enumerate(sys.stdin):
    print(f'<{number}> {ask(kept)}', flush=True)
";

/// A process that asks.
struct Asker {
    running: Running,
    asked: std::cell::Cell<usize>,
}

impl Asker {
    /// In a cgroup that is made for it.
    fn start(host: &Host, cgroup: &Path) -> Self {
        std::fs::create_dir_all(cgroup).unwrap();
        let running = host.program("python3", &["-uc", ASKER]);
        let running = running.in_cgroup(cgroup).start();
        running.expect("there\n");
        Self {
            running,
            asked: std::cell::Cell::new(0),
        }
    }

    /// Status and body.
    #[track_caller]
    fn ask(&self) -> String {
        let number = self.asked.replace(self.asked.get() + 1);
        self.running.say("");
        let start = format!("<{number}> ");
        eventually("the asker says what came back", || {
            let output = self.running.output();
            let (_before, answer) = output.split_once(&start)?;
            Some(answer.split_once('\n')?.0.to_owned())
        })
    }

    /// What its parameters are.
    #[track_caller]
    fn plan(&self) -> Value {
        let told = self.ask();
        assert!(told.starts_with("200 "), "{told}");
        let body = &told[4..];
        serde_json::from_str::<Value>(body).unwrap()["plan"].clone()
    }
}

#[track_caller]
fn dispatch(host: &Host, cgroup: &Path, plan: &str) -> String {
    let outbound = json!({ "plan": plan, "params_object": {} });
    let question = json!({ "worker": "acme", "cgroup": cgroup, "outbound": outbound });
    let (status, answer) = host.ask_admin("POST", PATH, &question);
    assert_eq!(status, 201, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn end(host: &Host, id: &str) {
    let (status, answer) = host.ask_admin("DELETE", &format!("{PATH}/{id}"), &Value::Null);
    assert_eq!((status, &answer["id"]), (200, &json!(id)), "{answer}");
}

fn listed(host: &Host) -> Vec<Value> {
    let (status, text) = host.admin(PATH);
    assert_eq!(status, 200, "{text}");
    let list: Value = serde_json::from_str(&text).unwrap();
    list["dispatches"].as_array().unwrap().clone()
}

fn origin(host: &Host) -> Server {
    host.server(&format!("{ORIGIN_V4}:80"))
}

/// The tenant's own cgroup, one within it, and one beside it, with a process in each.
struct Three {
    own: PathBuf,
    nested: PathBuf,
    beside: PathBuf,
    within: Asker,
    inner: Asker,
    outer: Asker,
}

impl Three {
    fn start(host: &Host) -> Self {
        let own = host.tenant_cgroup("acme");
        let (nested, beside) = (own.join("nested"), host.cgroup("beside"));
        Self {
            within: Asker::start(host, &own),
            inner: Asker::start(host, &nested),
            outer: Asker::start(host, &beside),
            own,
            nested,
            beside,
        }
    }
}

impl Asker {
    /// Nobody has dispatched it.
    #[track_caller]
    fn has_no_egress(&self) {
        let told = self.ask();
        assert!(
            told.starts_with("503 ") && told.contains("not_dispatched"),
            "{told}"
        );
    }

    /// The connection that it has is not there any more.
    #[track_caller]
    fn is_cut(&self) {
        let told = self.ask();
        assert!(
            !told.starts_with(|first: char| first.is_ascii_digit()),
            "{told}"
        );
    }
}

#[test]
fn dispatches_of_one_tenant_have_their_own_parameters() {
    let Some(host) = host() else { return };
    let origin = origin(&host);
    let _agent = host.agent();
    let three = Three::start(&host);
    let Three {
        within,
        inner,
        outer,
        ..
    } = &three;
    within.has_no_egress();
    inner.has_no_egress();
    let first = dispatch(&host, &three.nested, "inner");
    let second = dispatch(&host, &three.beside, "outer");
    inner.is_cut();
    assert_eq!(
        (inner.plan(), outer.plan()),
        (json!("inner"), json!("outer"))
    );
    within.has_no_egress();
    let line = host.expect_log(&[("dispatch.id", &first)]);
    assert_eq!(
        (&line["tenant"], &line["worker.name"]),
        (&json!("acme"), &json!("egress"))
    );
    let tenant: Value = serde_json::from_str(&host.admin("/v1/tenants/acme").1).unwrap();
    assert_eq!(tenant["namespace"], "production");
    assert_eq!(tenant["dispatches"].as_array().unwrap().len(), 2);
    let status = host.outbound(&["status"]).output();
    assert!(status.contains("\ndispatches  2\n"), "{status}");
    let tenants = host.outbound(&["tenants"]).output();
    for id in [&first, &second] {
        assert!(tenants.contains(&format!("\n  {id}  /")), "{tenants}");
    }

    // The next request on the same connection has what the next dispatch says.
    let third = dispatch(&host, &three.beside, "newer");
    assert_ne!(third, second);
    assert_eq!(outer.plan(), "newer");
    let (status, answer) = host.ask_admin("DELETE", &format!("{PATH}/{second}"), &Value::Null);
    assert_eq!(status, 404, "{answer}");
    // The worker answered all of it.
    assert_eq!(origin.connections(), 0);
}

#[test]
fn a_dispatch_survives_the_agent_and_sets_nobody_free_when_it_ends() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let three = Three::start(&host);
    let Three {
        within,
        inner,
        outer,
        ..
    } = &three;
    let [first, second, whole] = [
        (&three.nested, "inner"),
        (&three.beside, "outer"),
        (&three.own, "whole"),
    ]
    .map(|(cgroup, plan)| dispatch(&host, cgroup, plan));
    let plans = || [within, inner, outer].map(|asker| asker.plan());
    assert_eq!(plans(), ["whole", "inner", "outer"]);

    agent.kill();
    let agent = host.agent();
    assert_eq!(listed(&host).len(), 3);
    for asker in [within, inner, outer] {
        // With the agent.
        asker.is_cut();
    }
    assert_eq!(plans(), ["whole", "inner", "outer"]);

    // Inside its tenant's cgroup it is the tenant's as before; elsewhere it is not set free.
    end(&host, &first);
    inner.is_cut();
    assert_eq!(inner.plan(), "whole");
    end(&host, &second);
    outer.has_no_egress();
    end(&host, &whole);
    within.has_no_egress();
    assert_eq!(listed(&host), Vec::<Value>::new());
    // Also not by the next agent.
    agent.kill();
    let _agent = host.agent();
    outer.is_cut();
    outer.has_no_egress();
}

#[test]
fn a_dispatch_ends_with_its_cgroup_and_is_nobody_elses() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let agent = host.agent();
    let cgroup = host.cgroup("beside");
    let asker = Asker::start(&host, &cgroup);
    dispatch(&host, &cgroup, "first");
    assert_eq!(asker.plan(), "first");
    drop(asker);
    eventually("the cgroup can be removed", || {
        std::fs::remove_dir(&cgroup).ok()
    });
    eventually("the dispatch has ended", || {
        listed(&host).is_empty().then_some(())
    });
    // Another cgroup of that name is not it.
    let asker = Asker::start(&host, &cgroup);
    assert!(
        asker.ask().starts_with("200 hello"),
        "{}",
        asker.running.output()
    );
    assert_eq!(agent.stop().code, 0);
    let _agent = host.agent();
    assert_eq!(listed(&host), Vec::<Value>::new());
}
