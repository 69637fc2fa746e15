//! What a workload says about its own connection leads nowhere that policy has not looked at, and
//! no answer gives back what the agent has added.

use std::sync::Arc;

use bytes::Bytes;
use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use http::{Request, Version};
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::OPEN;

fn host(origin: &Origin) -> String {
    format!("api.test:{}", origin.address.port())
}

/// A tenant whose requests to `api.test` get a credential, also over plain HTTP.
fn agent() -> (Agent, NamedTempFile) {
    agent_with("\"api.test:*\", ", "")
}

/// As [`agent`], with this in the front of its list, and these rules.
fn agent_with(allow: &str, rules: &str) -> (Agent, NamedTempFile) {
    let secret = NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), SECRET).unwrap();
    let agent = Agent::start(&format!(
        r#"
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"], "other.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = [{allow}"127.0.0.0/8:*", "other.test:*"]
        credentials = ["c"]
        {rules}
        [credentials.c]
        type = "bearer"
        hosts = ["api.test:*"]
        secret = "file:{}"
        allow_plaintext = true
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
        secret.path().display()
    ));
    (agent, secret)
}

const SECRET: &str = "s3cr3t-and-long";

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) && stream.read(&mut byte).await.unwrap() == 1 {
        text.push(char::from(byte[0]));
    }
    text
}

/// Answers every request with its own head.
async fn mirror() -> Origin {
    Origin::raw(|mut stream| async move {
        loop {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            if head.is_empty() {
                return;
            }
            let reply = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            );
            drop(stream.write_all(reply.as_bytes()).await);
        }
    })
    .await
}

async fn http2(agent: &Agent, origin: &Origin) -> SendRequest<Empty<Bytes>> {
    let stream = agent.connect("acme", origin.address).await;
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    drop(harness::spawn(async move { drop(connection.await) }));
    sender
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_field_that_a_rule_sets_is_not_the_workloads_to_take_out() {
    let origin = Origin::http().await;
    let (agent, _secret) = agent_with(
        "",
        r#"
        [[policies.p.rules]]
        name = "mark"
        action = "allow"
        host = "api.test"
        port = "*"
        paths = "/"
        request_headers = { set = { x-tenant = "acme" }, append = { forwarded = "for=acme" } }
        [[policies.p.rules]]
        name = "staff"
        action = "allow"
        host = "api.test"
        port = "*"
        paths = "/staff"
        headers = { x-staff = "yes" }
        "#,
    );
    for named in [
        "x-tenant, forwarded",
        "close, X-TENANT",
        "authorization, x-tenant",
    ] {
        let request = format!(
            "GET / HTTP/1.1\r\nhost: {}\r\nconnection: {named}\r\nx-tenant: globex\r\n\r\n",
            host(&origin)
        );
        let mut stream = agent.connect("acme", origin.address).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "hello").await;
        assert!(head.starts_with("HTTP/1.1 200 "), "{named}: {head}");
        let seen = origin.seen().pop().unwrap();
        assert_eq!(seen.headers["x-tenant"], "acme", "{named}");
        assert_eq!(seen.headers["forwarded"], "for=acme", "{named}");
        assert_eq!(seen.headers["authorization"], format!("Bearer {SECRET}"));
    }
    // What does not arrive is not what it is judged by either.
    for (named, status) in [("close, x-staff", 403), ("close", 200)] {
        let request = format!(
            "GET /staff HTTP/1.1\r\nhost: {}\r\nconnection: {named}\r\nx-staff: yes\r\n\r\n",
            host(&origin)
        );
        let reply = agent.ask("acme", origin.address, &request).await;
        assert_eq!(reply.status, status, "{named}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_upgrade_opens_a_way_past_the_policy() {
    let origin = mirror().await;
    let agent = Agent::start(OPEN);
    for (protocol, version) in [
        ("h2c", "1.1"),
        ("TLS/1.0", "1.1"),
        ("HTTP/2.0, h2c", "1.1"),
        // HTTP/1.0 knows none (RFC 9110 section 7.8).
        ("websocket", "1.0"),
    ] {
        let request = format!(
            "GET / HTTP/{version}\r\nhost: {}\r\nconnection: Upgrade, HTTP2-Settings, close\r\nupgrade: {protocol}\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
            host(&origin)
        );
        let reply = agent.ask("acme", origin.address, &request).await;
        assert_eq!(reply.status, 200, "{protocol}: {reply:?}");
        let arrived = reply.body.to_ascii_lowercase();
        assert!(!arrived.contains("upgrade"), "{arrived}");
        assert!(!arrived.contains("http2-settings"), "{arrived}");
    }
    // An origin that changes its protocol all the same is not followed.
    let eager = Origin::raw(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let reply =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
        drop(stream.write_all(reply.as_bytes()).await);
    })
    .await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nconnection: upgrade, close\r\nupgrade: h2c\r\n\r\n",
        host(&eager)
    );
    let reply = agent.ask("acme", eager.address, &request).await;
    assert_eq!(
        (reply.status, &reply.json()["reason"]),
        (502, &"upstream_malformed".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interim_response_gives_no_credential_back() {
    let hinted = Arc::new(Notify::new());
    let was_hinted = Arc::clone(&hinted);
    let origin = Origin::raw(move |mut stream| {
        let hinted = Arc::clone(&was_hinted);
        async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            let field = "authorization: Bearer ";
            let start = head.find(field).expect("the credential arrives") + field.len();
            let token = head[start..].lines().next().unwrap();
            let hint =
                format!("HTTP/1.1 103 Early Hints\r\nlink: </{token}>\r\nx-echo: {token}\r\n\r\n");
            drop(stream.write_all(hint.as_bytes()).await);
            hinted.notified().await;
            let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
            drop(stream.write_all(answer.as_bytes()).await);
        }
    })
    .await;
    let (agent, _secret) = agent();
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        host(&origin)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let hint = read_until(&mut stream, "\r\n\r\n").await;
    assert!(hint.starts_with("HTTP/1.1 103 "), "{hint}");
    let stars = "*".repeat(SECRET.len());
    assert!(hint.contains(&format!("x-echo: {stars}\r\n")), "{hint}");
    assert!(!hint.contains(SECRET), "{hint}");
    hinted.notify_one();
    assert!(Reply::read(&mut stream).await.body.ends_with("ok"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_method_that_is_answered_with_the_request_carries_no_credential() {
    let origin = mirror().await;
    let (agent, _secret) = agent();
    for (method, has_it) in [("TRACE", false), ("OPTIONS", true)] {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            host(&origin)
        );
        let reply = agent.ask("acme", origin.address, &request).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        assert_eq!(reply.body.contains(SECRET), has_it, "{reply:?}");
    }
    agent.expect_metric(
        r#"outbound_credentials_total{credential="c",use="skipped"}"#,
        1.0,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_http2_connection_serves_one_name() {
    let origin = Origin::http().await;
    let (agent, _secret) = agent();
    let mut sender = http2(&agent, &origin).await;
    let port = origin.address.port();
    for (authority, status) in [
        (format!("other.test:{port}"), 200),
        (format!("OTHER.test.:{port}"), 200),
        (format!("api.test:{port}"), 421),
        (format!("127.0.0.1:{port}"), 421),
        ("other.test".to_owned(), 200),
        ("other.test:1".to_owned(), 421),
    ] {
        let request = Request::get(format!("http://{authority}/"))
            .body(Empty::new())
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), status, "{authority}");
        drop(response.into_body().collect().await);
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 3);
    assert!(
        seen.iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
    agent.expect_log(&[
        ("kind", "security_event"),
        ("reason", "destination_mismatch"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn crumbs_of_a_cookie_are_one_field_to_http1() {
    let origin = mirror().await;
    let agent = Agent::start(OPEN);
    let mut sender = http2(&agent, &origin).await;
    let request = Request::get(format!("http://{}/", host(&origin)))
        .version(Version::HTTP_2)
        .header("x-first", "1")
        .header("cookie", "a=1")
        .header("x-between", "2")
        .header("cookie", "b=2; c=3")
        .body(Empty::new())
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let arrived = String::from_utf8(body.to_vec()).unwrap();
    assert!(arrived.contains("cookie: a=1; b=2; c=3\r\n"), "{arrived}");
    assert_eq!(arrived.matches("cookie").count(), 1, "{arrived}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_spelling_of_a_host_is_another_host() {
    let origin = Origin::http().await;
    let (agent, _secret) = agent();
    let port = origin.address.port();
    for (spelled, status) in [
        ("api.test", 200),
        ("API.TEST.", 200),
        ("api%2etest", 400),
        ("%61pi.test", 400),
        ("api.test%00.other.test", 400),
        ("api.test@other.test", 400),
        ("api.test%2f@other.test", 400),
        ("api.test..", 400),
        (".api.test", 400),
        ("api..test", 400),
        ("[::1%25lo]", 400),
        ("[::1%lo]", 400),
        ("0x7f.1", 400),
        ("2130706433", 400),
        ("api.test\t", 400),
        ("api.test\\.other.test", 400),
        ("api_test", 403),
    ] {
        let request =
            format!("GET / HTTP/1.1\r\nhost: {spelled}:{port}\r\nconnection: close\r\n\r\n");
        let reply = agent.ask("acme", origin.address, &request).await;
        assert_eq!(reply.status, status, "{spelled}: {reply:?}");
    }
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    // What the workload wrote arrives as it wrote it.
    assert_eq!(seen[1].headers["host"], format!("API.TEST.:{port}"));
}
