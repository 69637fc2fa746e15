use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Command;

use harness::host::{Host, Invocation, Running, Site, Visit, clients};
use harness::sandbox::eventually;
use serde_json::{Value, json};

use super::listed;

pub(super) const NAMES: [&str; 3] = ["api.example.com", "logs.example.com", "other.example.com"];
const WORKER: &str = include_str!("../../../outbound-agent/docs/examples/worker.js");

/// What the tenant's program is: it asks for both, and for a third that it may not.
const PROGRAM: [&str; 11] = [
    "curl",
    "-sS",
    "--max-time",
    "50",
    "--resolve",
    "*:443:203.0.113.10",
    "-X",
    "PUT",
    "--data",
    "hello",
    "https://api.example.com/a",
];

pub(super) fn example(name: &str) -> String {
    let examples = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../outbound-agent/docs/examples"
    );
    format!("{examples}/{name}")
}

/// A host whose namespace has the documents' worker. `parameters` is what it declares.
fn host(parameters: &str) -> Option<(Host, Site)> {
    let host = Host::new()?;
    host.resolve(&NAMES);
    host.write("signing.key", &"k".repeat(32));
    let key = host.path("signing.key").display().to_string();
    host.configure(
        "dispatch",
        &format!(
            r#"
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = {{ service = "egress", parameters = [{parameters}] }}
[services.egress]
main = "egress/worker.js"
vars = {{ LOG_URL = "https://logs.example.com/log" }}
secrets = {{ SIGNING_KEY = "file:{key}" }}
limits = {{ cpu = "5s" }}
[policies.p]
allow = ["api.example.com", "other.example.com"]
"#
        ),
    );
    std::fs::create_dir_all(host.path("conf.d/egress")).unwrap();
    host.write("conf.d/egress/worker.js", WORKER);
    // The name by which the example's text would sign every request.
    for tenant in ["acme", "api"] {
        host.tenant_with(tenant, "p", "namespace = \"production\"");
    }
    let site = host.site(&NAMES);
    Some((host, site))
}

/// The documents' dispatcher, that runs a program for each request.
fn dispatcher(host: &Host, program: &[&str]) -> Running {
    let tenants = host.tenant_cgroup("acme");
    let tenants = tenants.parent().unwrap().display().to_string();
    let program_of_ours = example("dispatcher.py");
    let words = [&[&program_of_ours, PORT, &tenants][..], program].concat();
    let dispatcher = of_the_agent(host, host.program("python3", &words));
    let dispatcher = dispatcher.start();
    eventually("the dispatcher listens", || {
        host.connect(&format!("127.0.0.1:{PORT}")).ok()
    });
    dispatcher
}

const PORT: &str = "8080";

/// With what tells a program of the agent's.
fn of_the_agent(host: &Host, program: Invocation) -> Invocation {
    program
        .env("OUTBOUND_SOCKET", host.path("admin.sock"))
        .env("CURL_CA_BUNDLE", host.path("state/trust/ca-bundle.pem"))
}

/// A request for the dispatcher: status and body.
#[track_caller]
fn ask(host: &Host, name: &str, path: &str) -> (u16, String) {
    let mut stream = host.connect(&format!("127.0.0.1:{PORT}")).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nhost: {name}\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (
        head.split(' ').nth(1).unwrap().parse().unwrap(),
        body.to_owned(),
    )
}

/// The claims of a token, once it holds.
const VERIFY: &str = r#"
import json, jwt, sys
key, token = sys.argv[1:]
print(json.dumps(jwt.decode(token, key, algorithms=["HS256"], options={"require": ["exp", "iat"]})))
try:
    jwt.decode(token, key[::-1] + "x", algorithms=["HS256"])
    raise SystemExit("a forged token holds")
except jwt.InvalidSignatureError:
    pass
"#;

fn interpreter() -> PathBuf {
    clients().join("python/bin/python")
}

/// Who a request is for, by the token that the worker has given it, as PyJWT reads it.
#[track_caller]
fn subject(visit: &Visit) -> String {
    let token = visit.header("authorization").expect("a token");
    let token = token.strip_prefix("Bearer ").expect("a bearer's");
    let mut verify = Command::new(interpreter());
    let verified = verify
        .args(["-c", VERIFY, &"k".repeat(32), token])
        .output()
        .unwrap();
    assert!(verified.status.success(), "{verified:?}");
    let claims: Value = serde_json::from_slice(&verified.stdout).unwrap();
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        300
    );
    claims["sub"].as_str().unwrap().to_owned()
}

/// Waits for as many log entries of the worker.
#[track_caller]
pub(super) fn told(site: &Site, number: usize) -> Vec<Value> {
    let mut told = eventually("the worker has logged", || {
        let visits = site.visits().into_iter();
        let logged =
            visits.filter(|visit| visit.host() == "logs.example.com" && !visit.body.is_empty());
        let logged: Vec<Value> = logged
            .map(|visit| {
                assert_eq!(
                    (visit.method.as_str(), visit.target.path()),
                    ("POST", "/log")
                );
                assert!(visit.is_secure);
                serde_json::from_slice(&visit.body).unwrap()
            })
            .collect();
        (logged.len() == number).then_some(logged)
    });
    told.sort_by_key(|entry| entry["original_url"].to_string());
    told
}

#[test]
fn the_documents_dispatcher_and_worker_do_what_they_say() {
    // Declared and not given, `url` is that of each request.
    let Some((host, site)) = host(r#""params_object", "url""#) else {
        return;
    };
    let _agent = host.agent();
    let program = [&PROGRAM[..], &["https://other.example.com/b?c=d"]].concat();
    let _dispatcher = dispatcher(&host, &program);
    let (status, body) = ask(&host, "acme.customers.test", "/");
    let greetings = "hello from api.example.com/a\nhello from other.example.com/b\n";
    assert_eq!((status, &*body), (200, greetings));
    let api = site.visit("/a");
    assert_eq!(
        (api.host(), subject(&api)),
        ("api.example.com", "acme".to_owned())
    );
    let other = site.visit("/b");
    // All of it as the tenant sent it, nothing of the agent's.
    assert_eq!(
        (other.host(), other.target.query()),
        ("other.example.com", Some("c=d"))
    );
    assert_eq!(
        (other.method.as_str(), &*other.body),
        ("PUT", &b"hello"[..])
    );
    assert_eq!(
        (&*api.body, api.header("authorization").is_some()),
        (&b"hello"[..], true)
    );
    let ours = |name: &str| name.starts_with("outbound-") || name == "authorization";
    assert!(
        !other.headers.keys().any(|name| ours(name.as_str())),
        "{:?}",
        other.headers
    );
    let entry = |url: &str| json!({ "customer_name": "acme", "original_url": url });
    let expected = [
        "https://api.example.com/a",
        "https://other.example.com/b?c=d",
    ]
    .map(entry);
    assert_eq!(told(&site, 2), expected);
    for path in ["/a", "/b"] {
        let line = host.expect_log(&[("url.path", path), ("worker.outcome", "responded")]);
        assert_eq!(
            (&line["tenant"], &line["url.scheme"]),
            (&json!("acme"), &json!("https"))
        );
        assert!(line["dispatch.id"].is_string(), "{line}");
    }
    // A tenant that there is not.
    assert_eq!(ask(&host, "nobody.customers.test", "/").0, 404);
    assert_eq!(listed(&host), Vec::<Value>::new());
    assert_eq!(site.visits().len(), 4);
}

#[test]
fn what_the_dispatcher_passes_is_what_the_worker_finds() {
    // As the documentation of the example has it: one object, with the dispatcher's own URL.
    let Some((host, site)) = host(r#""params_object""#) else {
        return;
    };
    let _agent = host.agent();
    let _dispatcher = dispatcher(&host, &PROGRAM);
    assert_eq!(ask(&host, "acme.customers.test", "/home").0, 200);
    assert_eq!(site.visit("/a").header("authorization"), None);
    assert_eq!(ask(&host, "api.example.com", "/home").0, 200);
    let entries = told(&site, 2);
    let entry = |name: &str, url: &str| json!({ "customer_name": name, "original_url": url });
    assert_eq!(
        entries,
        [
            entry("acme", "http://acme.customers.test/home"),
            entry("api", "http://api.example.com/home"),
        ]
    );
    let visits = site.visits();
    let signed = visits
        .iter()
        .find(|visit| visit.header("authorization").is_some());
    assert_eq!(subject(signed.expect("a signed request")), "api");
}

#[test]
fn the_documents_other_dispatchers_dispatch() {
    let Some((host, _site)) = host(r#""params_object""#) else {
        return;
    };
    let _agent = host.agent();
    let cgroup = host.cgroup("beside").display().to_string();
    let outbound = json!({ "params_object": { "customer_name": "acme" } });
    let given = outbound.to_string();

    let shell = |worker: &str| {
        let program = example("dispatch.sh");
        let words = [&program, worker, &cgroup, &given];
        of_the_agent(&host, host.program("sh", &words)).end()
    };
    let ended = shell("acme");
    assert_eq!(ended.code, 0, "{ended:?}");
    let [dispatch] = &listed(&host)[..] else {
        panic!("{ended:?}")
    };
    let printed: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(printed["id"], dispatch["id"]);
    assert_eq!(
        (&dispatch["outbound"], &dispatch["worker"]),
        (&outbound, &json!("acme"))
    );
    let missing = shell("nobody");
    assert_eq!(missing.code, 22, "{missing:?}");
    assert!(missing.stdout.contains("Worker not found"), "{missing:?}");

    let node = |worker: &str| {
        let program = example("dispatcher.mjs");
        let words = [&program, worker, &cgroup, &given];
        of_the_agent(&host, host.program("node", &words)).start()
    };
    let running = node("acme");
    let [one] = &eventually("Node has dispatched", || {
        let listed = listed(&host);
        (listed[0]["id"] != dispatch["id"]).then_some(listed)
    })[..] else {
        panic!("{:?}", listed(&host))
    };
    running.expect(one["id"].as_str().unwrap());
    assert_eq!(running.end().code, 0);
    assert_eq!(listed(&host), Vec::<Value>::new());
    let missing = node("nobody").end();
    assert_eq!(missing.code, 4, "{missing:?}");
    assert!(
        missing.stderr.starts_with("Worker not found"),
        "{missing:?}"
    );
}
