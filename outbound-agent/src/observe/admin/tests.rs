mod two;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use self::two::Two;
use super::*;
use crate::observe::access_log::Claim;

mod openapi;
mod socket;

const LONG: Duration = Duration::from_secs(30);

struct Bench {
    directory: TempDir,
    admin: Admin,
}

fn bench() -> Bench {
    let (log, _lines) = AccessLog::memory().unwrap();
    let metrics = Metrics::new("1.2.3", None);
    let subject = Arc::new(Two);
    let admin = Admin::new(metrics, Readiness::new(), log, subject, Tasks::new());
    let directory = tempfile::tempdir().unwrap();
    Bench { directory, admin }
}

impl Bench {
    fn socket(&self) -> PathBuf {
        self.directory.path().join("run/admin.sock")
    }

    fn serving() -> Self {
        let bench = bench();
        let socket = AdminSocket::bind(&bench.socket(), "no-such-group").unwrap();
        bench.admin.serve_socket(socket);
        bench
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).await
    }

    async fn ask(&self, method: &str, path: &str) -> Answer {
        self.send(method, path, "").await
    }

    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let stream = UnixStream::connect(self.socket()).await.unwrap();
        send(stream, method, path, body).await
    }
}

struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    #[track_caller]
    fn json(&self) -> Value {
        assert!(
            self.head.contains("content-type: application/json"),
            "{}",
            self.head
        );
        serde_json::from_str(&self.body).unwrap()
    }
}

async fn ask(stream: impl Stream, method: &str, path: &str) -> Answer {
    send(stream, method, path, "").await
}

async fn send(mut stream: impl Stream, method: &str, path: &str, body: &str) -> Answer {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    timeout(LONG, stream.read_to_string(&mut text))
        .await
        .unwrap()
        .unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Reads until `wanted` has arrived.
async fn expect(stream: &mut UnixStream, wanted: &str) -> String {
    let mut text = Vec::new();
    let arrived = async {
        while !String::from_utf8_lossy(&text).contains(wanted) {
            assert_ne!(
                stream.read_buf(&mut text).await.unwrap(),
                0,
                "ended without {wanted}"
            );
        }
    };
    timeout(LONG, arrived).await.unwrap();
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn the_socket_answers_what_the_agent_is() {
    let bench = Bench::serving();
    let status = bench.get("/v1/status").await;
    assert_eq!(status.status, 200);
    assert_eq!(status.json()["version"], "1.2.3");
    let tenants = bench.get("/v1/tenants").await.json();
    assert_eq!(tenants["tenants"][0]["name"], "acme");
    assert_eq!(tenants["tenants"][1]["name"], "globex");
    let tenant = bench.get("/v1/tenants/acme").await.json();
    assert_eq!(tenant["credentials"], json!(["api-key"]));
    assert!(
        bench
            .get("/metrics")
            .await
            .body
            .contains("outbound_build_info")
    );
    assert_eq!(
        bench.get("/healthz").await.json(),
        json!({ "status": "ok" })
    );
}

#[tokio::test]
async fn an_unknown_path_is_404() {
    let bench = Bench::serving();
    for path in [
        "/",
        "/v2/status",
        "/v1/tenants/",
        "/v1/tenants/nobody",
        "/v1/tenants/acme/x",
    ] {
        let answer = bench.get(path).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(answer.json()["error"].is_string());
    }
}

#[tokio::test]
async fn a_wrong_method_is_405_and_says_which_is_right() {
    let bench = Bench::serving();
    for path in ["/metrics", "/v1/status", "/v1/tenants/acme"] {
        let answer = bench.ask("POST", path).await;
        assert_eq!(answer.status, 405, "{path}");
        assert!(answer.head.contains("allow: GET"), "{}", answer.head);
    }
}

#[tokio::test]
async fn an_assignment_is_done_or_refused_with_the_reason() {
    let bench = Bench::serving();
    let path = "/v1/assignments";
    let cgroup = r#"{"tenant": "acme", "cgroup": "/web.slice"}"#;
    let done = bench.send("PUT", path, cgroup).await;
    assert_eq!(done.status, 200, "{}", done.body);
    assert_eq!(done.json()["cgroup"], "/web.slice");
    assert_eq!(done.json()["cut"], 3);
    let unit = r#"{"tenant": "acme", "unit": "web"}"#;
    for (method, body) in [("PUT", unit), ("DELETE", r#"{"pid": 7}"#)] {
        let refused = bench.send(method, path, body).await;
        assert_eq!(refused.status, 409);
        assert_eq!(refused.json()["error"], "as things stand");
    }
    for (method, body) in [
        ("PUT", "{"),
        ("PUT", "{}"),
        ("PUT", r#"{"tenant": "acme"}"#),
        ("DELETE", r#"{"pid": 7, "unit": "web"}"#),
    ] {
        assert_eq!(bench.send(method, path, body).await.status, 400, "{body}");
    }
    let listed = bench.get(path).await.json();
    assert_eq!(listed, json!({ "assignments": [] }));
}

#[tokio::test]
async fn a_reload_that_is_rejected_says_what_is_wrong_and_where() {
    let bench = Bench::serving();
    let answer = bench.ask("POST", "/v1/reload").await;
    assert_eq!(answer.status, 422);
    let body = answer.json();
    assert_eq!(body["error"], "the configuration is wrong");
    let problem = &body["problems"][0];
    assert_eq!(problem["key"], "policies.p.mode");
    assert_eq!(
        (&problem["line"], &problem["column"]),
        (&7.into(), &1.into())
    );
    assert_eq!(bench.ask("GET", "/v1/reload").await.status, 405);
}

#[tokio::test]
async fn a_question_is_answered_and_what_is_wrong_with_one_is_named_with_its_key() {
    let bench = Bench::serving();
    let path = "/v1/policy:check";
    let asked = r#"{"tenant": "acme", "method": "GET", "url": "http://a.test/"}"#;
    let judged = bench.send("POST", path, asked).await;
    assert_eq!(judged.status, 200, "{}", judged.body);
    let judged = judged.json();
    assert_eq!(
        (&judged["tenant"], &judged["verdict"]),
        (&json!("acme"), &json!("allow"))
    );
    for (body, words) in [
        (
            r#"{"tenant": "acme", "method": "GET"}"#,
            ["missing field", "`url`"],
        ),
        (
            r#"{"method": "GET", "url": "", "hosts": 7}"#,
            ["hosts: ", "expected one of `tenant`"],
        ),
        (
            r#"{"method": 7, "url": ""}"#,
            ["method: ", "integer `7`, expected a string"],
        ),
        (
            r#"{"method": "", "url": "", "headers": {"x-a": 7}}"#,
            ["headers.x-a: ", "a list of texts"],
        ),
        (
            r#"{"method": "", "url": "", "params": [1]}"#,
            ["params: ", "expected a map"],
        ),
        (
            r#"{"method": "", "url": ""} x"#,
            ["trailing characters", "line 1"],
        ),
    ] {
        let refused = bench.send("POST", path, body).await;
        assert_eq!(refused.status, 400, "{body}");
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}

#[tokio::test]
async fn a_dispatch_is_made_shown_and_ended() {
    let bench = Bench::serving();
    let path = "/v1/namespaces/production/dispatch";
    let body = r#"{"worker": "acme", "pid": 7, "outbound": {"plan": "free"}}"#;
    let made = bench.send("POST", path, body).await;
    assert_eq!(made.status, 201, "{}", made.body);
    assert_eq!(made.json()["id"], "production Pid(7)");
    assert_eq!(made.json()["outbound"], json!({ "plan": "free" }));
    for body in [
        r#"{"worker": "acme", "pid": 7, "outbund": {}}"#,
        r#"{"worker": "acme", "pid": 7, "outbound": 7}"#,
        r#"{"pid": 7}"#,
        r#"{"worker": "acme", "pid": "seven"}"#,
        "[]",
    ] {
        assert_eq!(bench.send("POST", path, body).await.status, 400, "{body}");
    }
    let twice = r#"{"worker": "acme", "pid": 7, "cgroup": "/a"}"#;
    for body in [twice, r#"{"worker": "acme"}"#] {
        assert_eq!(bench.send("POST", path, body).await.status, 409, "{body}");
    }
    assert_eq!(bench.get(path).await.json()["dispatches"][0]["id"], "1");
    let other = bench.get("/v1/namespaces/other/dispatch").await;
    assert_eq!(other.status, 409);
    let one = format!("{path}/0199");
    assert_eq!(bench.get(&one).await.json()["id"], "0199");
    assert_eq!(bench.ask("DELETE", &one).await.status, 409);
    for path in [
        "/v1/namespaces//dispatch",
        "/v1/namespaces/production",
        &format!("{one}/x"),
    ] {
        assert_eq!(bench.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_namespace_is_for_a_tenant_that_there_is() {
    let bench = Bench::serving();
    let body = r#"{"pid": 1, "fd": 3}"#;
    let listens = bench.send("POST", "/v1/tenants/acme/namespaces", body);
    assert_eq!(listens.await.json(), json!({ "port": 7 }));
    let refused = bench.send("POST", "/v1/tenants/nobody/namespaces", body);
    assert_eq!(refused.await.status, 409);
    let asked = bench.get("/v1/tenants/acme/namespaces").await;
    assert_eq!(asked.status, 405);
    assert!(asked.head.contains("allow: POST"), "{}", asked.head);
}

#[tokio::test]
async fn readiness_names_what_it_waits_for() {
    let bench = Bench::serving();
    let guard = bench.admin.readiness.wait_for("hooks");
    let answer = bench.get("/readyz").await;
    assert_eq!(answer.status, 503);
    assert_eq!(
        answer.json(),
        json!({ "ready": false, "waiting_for": ["hooks"] })
    );
    drop(guard);
    assert_eq!(bench.get("/readyz").await.status, 200);
}

#[tokio::test]
async fn the_metrics_address_shows_no_tenants_settings() {
    let bench = bench();
    let listener = bind_metrics("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    bench.admin.serve_metrics(listener);
    for (path, status) in [
        ("/metrics", 200),
        ("/healthz", 200),
        ("/readyz", 200),
        ("/v1/status", 404),
        ("/v1/tenants", 404),
        ("/v1/tenants/acme", 404),
        ("/v1/events?follow=1", 404),
    ] {
        let stream = TcpStream::connect(address).await.unwrap();
        assert_eq!(ask(stream, "GET", path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn events_arrive_as_they_are_logged_and_end_with_the_agent() {
    let bench = Bench::serving();
    assert_eq!(bench.get("/v1/events").await.status, 400);
    let mut stream = UnixStream::connect(bench.socket()).await.unwrap();
    let request = "GET /v1/events?follow=1 HTTP/1.1\r\nhost: agent\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    expect(&mut stream, "application/x-ndjson").await;
    bench
        .admin
        .log
        .write(b"{\"kind\":\"http\"}\n".to_vec(), Claim::Carried)
        .unwrap();
    expect(&mut stream, "{\"kind\":\"http\"}\n").await;
    let drained = bench.admin.tasks.drain(LONG).await;
    assert!(drained.forced.is_empty(), "{drained:?}");
    expect(&mut stream, "0\r\n\r\n").await;
}

#[tokio::test]
async fn a_drain_removes_the_socket_and_waits_for_no_idle_client() {
    let bench = Bench::serving();
    let idle = UnixStream::connect(bench.socket()).await.unwrap();
    bench.get("/healthz").await;
    let drained = bench.admin.tasks.drain(LONG).await;
    assert!(drained.forced.is_empty(), "{drained:?}");
    assert!(!bench.socket().exists());
    drop(idle);
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_its_group() {
    let bench = bench();
    let socket = AdminSocket::bind(&bench.socket(), "no-such-group").unwrap();
    let mode = fs::metadata(socket.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}
