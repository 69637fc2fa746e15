use std::path::PathBuf;

use harness::host::{Host, Running, Site, clients};
use harness::sandbox::eventually;
use serde_json::json;

use super::example::{NAMES, example, told};

/// The program that npm's package has, without its launcher.
fn workerd() -> PathBuf {
    clients().join("node/node_modules/@cloudflare/workerd-linux-64/bin/workerd")
}

/// A host whose namespace has the worker that runs elsewhere.
fn host() -> Option<(Host, Site)> {
    let host = Host::new()?;
    host.resolve(&NAMES);
    host.write("worker.key", "between us");
    let key = host.path("worker.key").display().to_string();
    let dispatch = r#"
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = { service = "egress", parameters = ["params_object"] }
[services.egress]
url = "http://127.0.0.1:8787"
signing_key = "file:KEY"
[policies.p]
allow = ["api.example.com", "other.example.com"]
"#;
    host.configure("dispatch", &dispatch.replace("KEY", &key));
    host.tenant_with("acme", "p", "namespace = \"production\"");
    let site = host.site(&NAMES);
    Some((host, site))
}

/// The documents' worker.
#[track_caller]
fn worker(host: &Host) -> Running {
    let config = example("workerd.capnp");
    let worker = host.program(&workerd().display().to_string(), &["serve", &config]);
    let worker = worker.env("WORKER_KEY", "between us");
    let worker = worker
        .env("LOG_URL", "https://logs.example.com/log")
        .start();
    eventually("workerd listens", || {
        assert!(worker.is_alive(), "{}", worker.complaints());
        host.connect("127.0.0.1:8787").ok()
    });
    worker
}

#[test]
fn the_worker_in_workerd_answers_every_request() {
    let Some((host, site)) = host() else { return };
    let _agent = host.agent();
    let worker = worker(&host);
    let curl = |more: &[&str]| {
        let parameter = r#"params_object={"customer_name": "Acmé"}"#;
        let run = ["run", "--tenant", "acme", "--param", parameter];
        let curl = ["--", "curl", "-sS", "--max-time", "50"];
        let resolve = ["--resolve", "*:443:203.0.113.10"];
        host.outbound(&[&run[..], &curl, &resolve, more].concat())
            .end()
            .stdout
    };
    let body = curl(&["-X", "PUT", "--data", "hello", "https://api.example.com/a"]);
    assert_eq!(
        body,
        "hello from api.example.com/a\n",
        "{}",
        worker.complaints()
    );
    let visit = site.visit("/a");
    assert_eq!(
        visit.header("authorization"),
        Some("Bearer of-acme"),
        "{:?}",
        visit.headers
    );
    assert_eq!(
        (visit.method.as_str(), &*visit.body),
        ("PUT", &b"hello"[..])
    );
    let ours = |name: &str| name.starts_with("outbound-");
    let names = visit.headers.keys();
    assert!(
        !names.into_iter().any(|name| ours(name.as_str())),
        "{:?}",
        visit.headers
    );
    let body = curl(&["https://other.example.com/bytes/20000000"]);
    assert_eq!(body.len(), 20_000_000, "{}", worker.complaints());
    assert_eq!(site.visit("/bytes/20000000").header("authorization"), None);
    let entry = |url: &str| json!({ "customer_name": "Acmé", "original_url": url });
    let expected = [
        "https://api.example.com/a",
        "https://other.example.com/bytes/20000000",
    ];
    assert_eq!(told(&site, 2), expected.map(entry));
    // Redirects are the tenant's to follow, and its policy's to judge.
    let status = [
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "https://api.example.com/redirect",
    ];
    assert_eq!(curl(&status), "302");
}

#[test]
fn the_worker_in_workerd_answers_nobody_but_the_agent() {
    let Some((host, site)) = host() else { return };
    let _worker = worker(&host);
    let stranger = [
        "-sS",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "http://127.0.0.1:8787/",
    ];
    let forged = [
        "-H",
        "outbound-url: https://api.example.com/",
        "-H",
        "outbound-parameters: {}",
        "-H",
        "outbound-signature: t=1,v1=0000000000000000000000000000000000000000000000000000000000000000",
    ];
    for more in [&[][..], &forged] {
        let told = host.program("curl", &[&stranger[..], more].concat());
        assert_eq!(told.output(), "403");
    }
    assert_eq!(site.visits().len(), 0);
}
