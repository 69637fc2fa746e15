//! What is not HTTP goes where a rule says, and nowhere else.

use std::net::SocketAddr;

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::OPEN;

async fn echo() -> Origin {
    Origin::raw(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await
}

fn tcp(rule: &str) -> String {
    format!(
        r#"
        [limits]
        detect = "50ms"
        [resolver]
        hosts = {{ "db.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["{rule}", "tcp://127.0.0.0/8:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#
    )
}

async fn say(stream: &mut TcpStream, words: &[u8]) -> Vec<u8> {
    stream.write_all(words).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_of_a_tcp_rule_that_has_the_address_opens_it() {
    let origin = echo().await;
    let agent = Agent::start(&tcp(&format!("tcp://db.test:{}", origin.address.port())));
    let mut stream = agent.connect("acme", origin.address).await;
    assert_eq!(say(&mut stream, b"\0hello").await, b"\0hello");
    agent.expect_log(&[
        ("kind", "tcp"),
        ("server.address", "db.test"),
        ("outcome", "completed"),
        ("bytes.sent", "6"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opaque_bytes_without_a_rule_are_reset() {
    let origin = echo().await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    assert_eq!(say(&mut stream, b"\0hello").await, b"");
    agent.expect_log(&[
        ("kind", "tcp"),
        ("outcome", "denied"),
        ("reason", "private_address"),
    ]);
    assert_eq!(origin.connections(), 0);
}

/// A rule for a name opens what has the name, not its port everywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn opaque_bytes_to_an_address_that_is_not_the_names_are_reset() {
    let origin = echo().await;
    let agent = Agent::start(&tcp(&format!("tcp://db.test:{}", origin.address.port())));
    let another = SocketAddr::from(([192, 0, 2, 7], origin.address.port()));
    let mut stream = agent.connect("acme", another).await;
    assert_eq!(say(&mut stream, b"\0hello").await, b"");
    agent.expect_log(&[("kind", "tcp"), ("outcome", "denied")]);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_may_speak_first() {
    let origin =
        Origin::raw(|mut stream| async move { drop(stream.write_all(b"220 ready\r\n").await) })
            .await;
    let agent = Agent::start(&tcp(&format!("tcp://127.0.0.1:{}", origin.address.port())));
    let mut stream = agent.connect("acme", origin.address).await;
    let mut greeting = [0; 11];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(&greeting, b"220 ready\r\n");
}

/// A ClientHello for `name`, made by rustls.
pub(super) fn client_hello(name: &str) -> Vec<u8> {
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = rustls::pki_types::ServerName::try_from(name.to_owned()).unwrap();
    let mut connection = rustls::ClientConnection::new(std::sync::Arc::new(config), name).unwrap();
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_is_passed_through_by_its_name() {
    let origin = echo().await;
    let agent = Agent::start(OPEN);
    let hello = client_hello("api.test");
    let mut stream = agent.connect("acme", origin.address).await;
    assert_eq!(say(&mut stream, &hello).await, hello);
    agent.expect_log(&[
        ("kind", "tls"),
        ("server.address", "api.test"),
        ("outcome", "completed"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_for_a_name_that_is_not_allowed_is_reset() {
    let origin = echo().await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    assert_eq!(say(&mut stream, &client_hello("evil.test")).await, b"");
    agent.expect_log(&[
        ("kind", "tls"),
        ("server.address", "evil.test"),
        ("reason", "no_rule"),
    ]);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_without_a_name_needs_a_rule_for_its_address() {
    let origin = echo().await;
    let agent = Agent::start(
        r#"
        [policies.p]
        allow = ["api.test:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
    );
    let elsewhere = SocketAddr::from(([192, 0, 2, 1], 443));
    let mut stream = agent.connect("acme", elsewhere).await;
    assert_eq!(say(&mut stream, &client_hello("192.0.2.1")).await, b"");
    agent.expect_log(&[("kind", "tls"), ("reason", "no_server_name")]);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_tls_is_malformed() {
    let agent = Agent::start(OPEN);
    let mut hello = client_hello("api.test");
    hello[5] = 2;
    let mut stream = agent
        .connect("acme", SocketAddr::from(([192, 0, 2, 1], 443)))
        .await;
    stream.write_all(&hello).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 0);
    agent.expect_log(&[("reason", "malformed"), ("fault", "downstream")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_workload_that_may_not_tunnel_is_waited_for() {
    let origin = Origin::http().await;
    let agent = Agent::start(
        r#"
        [limits]
        detect = "1ms"
        [resolver]
        hosts = { "api.test" = ["127.0.0.1"] }
        [policies.p]
        allow = ["api.test:*", "http://127.0.0.0/8:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
    );
    let host = format!("api.test:{}", origin.address.port());
    let mut slow = agent.connect("acme", origin.address).await;
    // Longer than a millisecond.
    let quick = agent.get("acme", origin.address, &host, "/quick").await;
    assert_eq!(quick.status, 200);
    let request = format!("GET /slow HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    slow.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut slow).await.status, 200);
}
