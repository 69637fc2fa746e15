//! Workloads that take the agent for their proxy, by the same rules as everybody.

use std::net::SocketAddr;

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use harness::tls::{self, Identity};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::OPEN;
use super::tunnel::client_hello;

/// Where a workload believes its proxy to be.
const PROXY: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    3128,
);

fn host(origin: &Origin) -> String {
    format!("api.test:{}", origin.address.port())
}

/// Asks the proxy for `target`, and gives the connection with the head of the answer.
async fn connect(agent: &Agent, target: &str) -> (TcpStream, String) {
    let mut stream = agent.connect("acme", PROXY).await;
    let request = format!(
        "CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Connection: keep-alive\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = String::new();
    let mut byte = [0];
    while !head.ends_with("\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
        head.push(char::from(byte[0]));
    }
    (stream, head)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_said_inside_connect_is_judged_as_if_it_had_connected() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let (mut stream, head) = connect(&agent, &host(&origin)).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let inside = format!(
        "GET /x HTTP/1.1\r\nhost: {}\r\n\r\nGET / HTTP/1.1\r\nhost: 127.0.0.1:{}\r\nconnection: close\r\n\r\n",
        host(&origin),
        origin.address.port()
    );
    stream.write_all(inside.as_bytes()).await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("HTTP/1.1 421 "), "{reply:?}");
    assert_eq!(origin.seen().len(), 1);
    agent.expect_log(&[
        ("http.request.method", "CONNECT"),
        ("server.address", "api.test"),
        ("original_dst", &PROXY.to_string()),
        ("outcome", "completed"),
    ]);
    agent.expect_log(&[
        ("http.request.method", "GET"),
        ("server.address", "api.test"),
        ("original_dst", &origin.address.to_string()),
        ("url.path", "/x"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_inside_connect_ends_at_the_agent_where_it_would_outside() {
    let identity = Identity::new(&["api.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let agent = Agent::start(&format!(
        "{}\n[tls]\nroots = [{:?}]",
        OPEN.replace("[policies.p]", "[policies.p]\ntls = \"terminate\""),
        identity.path()
    ));
    let (stream, head) = connect(&agent, &host(&origin)).await;
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    let mut stream = tls::connect(stream, "api.test", &agent.authority(), &[])
        .await
        .unwrap();
    let request = format!(
        "GET /inside HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
        host(&origin)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.body, "hello");
    agent.expect_log(&[
        ("url.scheme", "https"),
        ("url.path", "/inside"),
        ("outcome", "completed"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_inside_connect_is_for_the_host_that_was_asked_for() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let (mut stream, _head) = connect(&agent, &host(&origin)).await;
    stream
        .write_all(&client_hello("unknown.test"))
        .await
        .unwrap();
    assert_eq!(Reply::read(&mut stream).await.head, "");
    agent.expect_log(&[
        ("kind", "security_event"),
        ("reason", "destination_mismatch"),
        ("server.address", "unknown.test"),
    ]);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_to_what_is_not_allowed_is_answered_403() {
    let agent = Agent::start(OPEN);
    for (target, status, reason) in [
        ("evil.test:443", 403, "no_rule"),
        ("10.0.0.1:443", 403, "private_address"),
        ("unknown.test:443", 502, "upstream_unresolved"),
        ("api.test", 400, "no_host"),
    ] {
        let (mut stream, head) = connect(&agent, target).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{head}");
        assert!(
            head.contains(&format!("outbound-reason: {reason}\r\n")),
            "{head}"
        );
        drop(stream.shutdown().await);
        agent.expect_log(&[("http.request.method", "CONNECT"), ("reason", reason)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_bytes_inside_connect_need_a_tcp_rule_for_the_host() {
    let origin = Origin::raw(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await;
    let agent = Agent::start(&OPEN.replace(
        "\"unknown.test:*\"",
        &format!(
            "\"tcp://api.test:{}\", \"tcp://127.0.0.1:*\"",
            origin.address.port()
        ),
    ));
    let (mut stream, _head) = connect(&agent, &host(&origin)).await;
    stream.write_all(b"\0hello").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"\0hello");
    drop(stream);
    agent.expect_log(&[
        ("kind", "tcp"),
        ("server.address", "api.test"),
        ("bytes.received", "6"),
    ]);

    let agent = Agent::start(OPEN);
    let (mut stream, _head) = connect(&agent, &host(&origin)).await;
    stream.write_all(b"\0hello").await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.head, "");
    agent.expect_log(&[("kind", "tcp"), ("reason", "no_rule")]);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absolute_target_says_where_it_goes() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", PROXY).await;
    let literal = format!("127.0.0.1:{}", origin.address.port());
    for (host, connection) in [(host(&origin), "keep-alive"), (literal, "close")] {
        let request = format!(
            "GET http://{host}/x?y HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic eDp5\r\nX-Last: 1\r\nConnection: {connection}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
    }
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("HTTP/1.1 200 "), "{reply:?}");
    let seen = origin.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].target, "/x?y");
    assert_eq!(
        seen[0]
            .headers
            .keys()
            .map(|name| name.as_str())
            .collect::<Vec<_>>(),
        ["host", "x-last"]
    );
    let line = agent.expect_log(&[
        ("server.address", "api.test"),
        ("original_dst", &PROXY.to_string()),
    ]);
    assert_eq!(line["server.port"], origin.address.port());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxys_address_never_agrees() {
    let origin = Origin::http().await;
    let agent =
        Agent::start(&OPEN.replace("[policies.p]", "[policies.p]\ndestination = \"verify\""));
    let (_stream, head) = connect(&agent, &host(&origin)).await;
    assert!(head.starts_with("HTTP/1.1 421 "), "{head}");
    let request = format!(
        "GET http://{0}/ HTTP/1.1\r\nhost: {0}\r\nconnection: close\r\n\r\n",
        host(&origin)
    );
    assert_eq!(agent.ask("acme", PROXY, &request).await.status, 421);
    assert_eq!(origin.connections(), 0);
}
