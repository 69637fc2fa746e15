//! The admin API against its own document, judged by libraries that know neither; and what it says
//! of requests, against what becomes of them.

use std::cell::RefCell;
use std::fs;

use harness::host::{Host, ORIGIN_V4};
use harness::sandbox::eventually;
use serde_json::{Value, json};

use crate::clients;
use crate::scene::{self, SECRET, curl, origin};

const JUDGE: &str = include_str!("api.py");

/// Asks with curl, and keeps what is answered.
struct Client<'a> {
    host: &'a Host,
    answers: RefCell<Vec<Value>>,
}

impl<'a> Client<'a> {
    fn of(host: &'a Host) -> Self {
        Self {
            host,
            answers: RefCell::default(),
        }
    }

    /// Asks, gets this status, and gives the body.
    #[track_caller]
    fn ask(&self, method: &str, path: &str, question: &str, status: u16) -> String {
        let socket = self.host.path("admin.sock").display().to_string();
        let url = format!("http://agent{path}");
        let mut words = vec!["-sS", "--unix-socket", &socket, "-X", method];
        words.extend(["-w", "\n%{http_code} %{content_type}"]);
        if !question.is_empty() {
            words.extend(["-d", question]);
        }
        words.push(&url);
        let told = self.host.program("curl", &words).output();
        let (body, end) = told.rsplit_once('\n').unwrap();
        let (code, kind) = end.split_once(' ').unwrap();
        assert_eq!(code, status.to_string(), "{method} {path}: {body}");
        self.keep(method, path, question, status, kind, body);
        body.to_owned()
    }

    fn keep(&self, method: &str, path: &str, question: &str, status: u16, kind: &str, body: &str) {
        self.answers.borrow_mut().push(json!({
            "method": method, "path": path, "question": question,
            "status": status, "kind": kind, "body": body,
        }));
    }

    /// The access log as it is written, up to what is said to be in it.
    fn follow(&self, mark: &str, cause: impl Fn()) {
        let socket = self.host.path("admin.sock").display().to_string();
        let path = "/v1/events?follow=1";
        let url = format!("http://agent{path}");
        let words = ["-sSNi", "--unix-socket", &socket, &url];
        let following = self.host.program("curl", &words).start();
        let told = eventually("it is told", || {
            cause();
            Some(following.output()).filter(|told| told.contains(mark))
        });
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("application/x-ndjson"), "{head}");
        self.keep("GET", path, "", 200, "application/x-ndjson", body);
    }

    /// Has an independent reader of OpenAPI and of JSON Schema judge all of it.
    #[track_caller]
    fn judge(&self) {
        let answers = self.answers.borrow();
        let lines: Vec<String> = answers.iter().map(ToString::to_string).collect();
        self.host.write("answers.jsonl", &lines.join("\n"));
        self.host
            .write("openapi.json", &self.host.admin("/v1/openapi.json").1);
        let files = ["openapi.json", "answers.jsonl"];
        let [document, told] = files.map(|name| self.host.path(name).display().to_string());
        let words = ["-c", JUDGE, &document, &told];
        let judged = self.host.program(&clients::interpreter(), &words).end();
        assert_eq!(
            judged.stdout.trim(),
            answers.len().to_string(),
            "{judged:?}"
        );
    }
}

/// Two tenants of a namespace that declares `plan`, with a worker, a credential and limits.
fn host() -> Option<Host> {
    let host = Host::new()?;
    host.write("token", SECRET);
    let token = host.path("token").display().to_string();
    host.configure(
        "policies",
        &format!(
            r#"
[resolver.hosts]
"api.test" = [{ORIGIN_V4:?}]
[[dispatch_namespaces]]
binding = "dispatcher"
namespace = "production"
outbound = {{ service = "egress", parameters = ["plan"] }}
[services.egress]
main = "egress.js"
[policies.p]
allow = ["api.test"]
credentials = ["token"]
limits = {{ requests_per_second = 100 }}
[[policies.p.rules]]
name = "not-for-free"
host = "paid.test"
parameters = {{ plan = "pro" }}
action = "allow"
rate = "10/s"
timeout = "5s"
[credentials.token]
type = "bearer"
hosts = ["api.test", "paid.test"]
secret = "file:{token}"
allow_plaintext = true
"#
        ),
    );
    let worker = "export default { fetch(request) { return fetch(request); } }";
    host.write("conf.d/egress.js", worker);
    host.tenant_with("acme", "p", "namespace = \"production\"");
    host.tenant_with("globex", "p", "namespace = \"production\"");
    Some(host)
}

#[test]
fn every_answer_is_what_the_document_says() {
    let Some(host) = host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let client = Client::of(&host);
    let get = |path: &str, status| client.ask("GET", path, "", status);
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/v1/openapi.json",
        "/v1/status",
    ] {
        get(path, 200);
    }
    get("/v1/events", 400);
    assignments(&client);
    dispatches(&client);
    checks(&client);
    get("/v1/tenants", 200);
    get("/v1/tenants/acme", 200);
    get("/v1/tenants/nobody", 404);
    client.ask("POST", "/v1/reload", "", 200);
    host.configure("wrong", "[limits]\nheader = 7\n");
    client.ask("POST", "/v1/reload", "", 422);
    get("/v1/status", 200);
    client.follow("/followed", || {
        drop(curl(&host, "acme", "http://api.test/followed").end());
    });
    client.judge();
}

fn assignments(client: &Client<'_>) {
    let path = "/v1/assignments";
    let cgroup = client.host.cgroup("web");
    let web = json!({ "tenant": "acme", "cgroup": cgroup });
    client.ask("PUT", path, &web.to_string(), 200);
    client.ask("GET", path, "", 200);
    client.ask(
        "PUT",
        path,
        r#"{"tenant": "nobody", "cgroup": "/web"}"#,
        404,
    );
    client.ask("PUT", path, r#"{"tenant": 7, "cgroup": "/web"}"#, 400);
    let own = json!({ "tenant": "globex", "cgroup": client.host.tenant_cgroup("acme") });
    client.ask("PUT", path, &own.to_string(), 409);
    client.ask(
        "DELETE",
        path,
        &json!({ "cgroup": cgroup }).to_string(),
        200,
    );
    client.ask(
        "DELETE",
        path,
        &json!({ "cgroup": cgroup }).to_string(),
        404,
    );
    client.ask("DELETE", path, r#"{"cgroup": "/a", "pid": 1}"#, 400);
    // Whoever starts a workload holds the namespace for it.
    let path = "/v1/tenants/acme/namespaces";
    let program = "import sys; held = open('/proc/self/ns/net'); \
                   print('fd', held.fileno(), flush=True); sys.stdin.read()";
    let holder = client
        .host
        .program("unshare", &["-n", "python3", "-c", program]);
    let holder = holder.start();
    holder.expect("fd ");
    let fd: u32 = holder.output().trim()[3..].parse().unwrap();
    let held = json!({ "pid": holder.pid(), "fd": fd });
    client.ask("POST", path, &held.to_string(), 200);
    client.ask(
        "POST",
        path,
        &json!({ "pid": holder.pid(), "fd": 999 }).to_string(),
        409,
    );
    client.ask("POST", path, r#"{"pid": 1}"#, 400);
    client.ask(
        "POST",
        "/v1/tenants/nobody/namespaces",
        &held.to_string(),
        404,
    );
}

fn dispatches(client: &Client<'_>) {
    let path = "/v1/namespaces/production/dispatch";
    let cgroup = client.host.tenant_cgroup("acme");
    let pro = json!({ "worker": "acme", "cgroup": cgroup, "outbound": { "plan": "pro" } });
    let made = client.ask("POST", path, &pro.to_string(), 201);
    client.ask(
        "POST",
        path,
        &json!({ "worker": "nobody", "pid": 1 }).to_string(),
        404,
    );
    for wrong in [
        json!({ "worker": "acme" }),
        json!({ "worker": "acme", "cgroup": cgroup }),
    ] {
        client.ask("POST", path, &wrong.to_string(), 400);
    }
    client.ask("GET", path, "", 200);
    client.ask("GET", "/v1/namespaces/other/dispatch", "", 404);
    let made: Value = serde_json::from_str(&made).unwrap();
    let one = format!("{path}/{}", made["id"].as_str().unwrap());
    client.ask("GET", &one, "", 200);
    client.ask("GET", "/v1/tenants/acme", "", 200);
    let inside = json!({ "cgroup": cgroup, "method": "GET", "url": "https://paid.test/" });
    let judged = client.ask("POST", "/v1/policy:check", &inside.to_string(), 200);
    let judged: Value = serde_json::from_str(&judged).unwrap();
    assert_eq!(judged["dispatch"], made["id"], "{judged}");
    assert_eq!(judged["rule"], "not-for-free", "{judged}");
    assert_eq!(judged["credentials"], json!(["token"]), "{judged}");
    // Of two cgroups that are the tenant's the inner one counts.
    let inner = cgroup.join("inner");
    fs::create_dir(&inner).unwrap();
    let free = json!({ "worker": "acme", "cgroup": inner, "outbound": { "plan": "free" } });
    client.ask("POST", path, &free.to_string(), 201);
    let inside = json!({ "cgroup": inner, "method": "GET", "url": "https://paid.test/" });
    let judged = client.ask("POST", "/v1/policy:check", &inside.to_string(), 200);
    assert!(judged.contains(r#""verdict":"deny""#), "{judged}");
    client.ask("DELETE", &one, "", 200);
    client.ask("DELETE", &one, "", 404);
    client.ask("GET", &one, "", 404);
}

fn checks(client: &Client<'_>) {
    let path = "/v1/policy:check";
    for (question, status) in [
        (
            json!({ "tenant": "acme", "method": "GET", "url": "http://other.test/" }),
            200,
        ),
        (
            json!({
                "tenant": "acme", "method": "GET", "url": "https://paid.test/", "address": "192.0.2.7",
                "params": { "plan": "pro" }, "headers": { "x-a": ["1", "2"], "x-b": "3" },
                "executable": "curl",
            }),
            200,
        ),
        (
            json!({ "tenant": "nobody", "method": "GET", "url": "http://a.test/" }),
            404,
        ),
        (
            json!({ "cgroup": "/", "method": "GET", "url": "http://a.test/" }),
            400,
        ),
        (
            json!({ "pid": 4_000_000_000_u32, "method": "GET", "url": "http://a.test/" }),
            404,
        ),
        (json!({ "method": "GET", "url": "http://a.test/" }), 400),
        (
            json!({ "tenant": "acme", "pid": 1, "method": "GET", "url": "http://a.test/" }),
            400,
        ),
        (
            json!({ "tenant": "acme", "method": "GET", "url": "ftp://a.test/" }),
            400,
        ),
        (
            json!({ "tenant": "acme", "method": "GET", "url": "http://a.test/", "hots": 1 }),
            400,
        ),
    ] {
        client.ask("POST", path, &question.to_string(), status);
    }
}

/// What the running agent says of a request is what becomes of it, whatever stands in the file.
#[test]
fn the_running_agent_says_what_it_does_and_the_file_what_it_would() {
    let Some(host) = scene::host() else { return };
    let _origin = origin(&host);
    let _agent = host.agent();
    let live = |words: &[&str]| {
        let all = [&["check", "--live", "--json"], words].concat();
        let ended = host.outbound(&all).end();
        let judged: Value =
            serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"));
        (ended.code, judged)
    };
    let (code, judged) = live(&["--tenant", "acme", "GET", "http://evil.test/it"]);
    curl(&host, "acme", "http://evil.test/it").output();
    let line = host.expect_log(&[("url.path", "/it"), ("outcome", "denied")]);
    assert_eq!((code, &judged["verdict"]), (1, &json!("deny")));
    for member in ["rule", "reason"] {
        assert_eq!(judged[member], line[member], "{member}");
    }
    let place = judged["place"].as_str().unwrap();
    assert!(place.contains("/conf.d/policies.toml:"), "{place}");

    let program = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()";
    let workload = host.python("acme", program).start();
    workload.expect("\n");
    let pid = workload.output();
    let pid = pid.trim();
    let (code, judged) = live(&["--pid", pid, "GET", "http://api.test/"]);
    assert_eq!((code, &judged["tenant"]), (0, &json!("acme")), "{judged}");
    assert_eq!(judged["credentials"], json!(["token"]));
    assert!(!judged.to_string().contains(SECRET), "{judged}");

    // Wrong in the file, and not in force.
    host.configure(
        "policies",
        "[policies.acme]\nallow = 7\n[policies.globex]\n",
    );
    let file = host
        .outbound(&["check", "--tenant", "acme", "GET", "http://api.test/"])
        .end();
    assert_eq!(file.code, 1, "{file:?}");
    assert!(file.stderr.contains("policies.acme.allow"), "{file:?}");
    let (code, _judged) = live(&["--tenant", "acme", "GET", "http://api.test/"]);
    assert_eq!(code, 0);
    let refused = host.outbound(&[
        "check",
        "--live",
        "--tenant",
        "acme",
        "GET",
        "ftp://a.test/",
    ]);
    let refused = refused.end();
    assert!(
        refused.stderr.contains("url: \"ftp://a.test/\""),
        "{refused:?}"
    );
}
