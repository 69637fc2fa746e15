//! The workload's TLS ends at the agent where requests have to be seen, and nowhere else.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use harness::tls::{self, Identity};
use http::{Request, Response, Version};
use http_body_util::{BodyExt as _, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, HandshakeKind};
use tempfile::NamedTempFile;
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsConnector;

/// A tenant with a credential for `api.test`, an agent that trusts `roots`.
fn config(identity: &Identity, more: &str) -> (String, NamedTempFile) {
    let mut secret = NamedTempFile::new().unwrap();
    secret.write_all(b"s3cr3t").unwrap();
    let config = format!(
        r#"
        [tls]
        roots = ["{}"]
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"], "other.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["api.test:*", "other.test:*", "127.0.0.0/8:*"]
        credentials = ["token"]
        {more}
        [credentials.token]
        type = "header"
        hosts = ["api.test:*"]
        value = "Bearer {{secret}}"
        secret = "file:{}"
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
        identity.path().display(),
        secret.path().display()
    );
    (config, secret)
}

async fn ask(agent: &Agent, origin: SocketAddr, name: &str, host: &str) -> Reply {
    let stream = agent.connect("acme", origin).await;
    let mut stream = tls::connect(stream, name, &agent.authority(), &[])
        .await
        .unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {host}:{}\r\nconnection: close\r\n\r\n",
        origin.port()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    Reply::read(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_goes_into_tls_and_the_tenant_does_not_see_it() {
    let identity = Identity::new(&["api.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let (config, _secret) = config(&identity, "");
    let agent = Agent::start(&config);
    let reply = ask(&agent, origin.address, "api.test", "api.test").await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    assert_eq!(origin.seen()[0].headers["authorization"], "Bearer s3cr3t");
    agent.expect_log(&[
        ("kind", "http"),
        ("url.scheme", "https"),
        ("server.address", "api.test"),
        ("credential", "token"),
        ("outcome", "completed"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_is_spoken_on_both_sides_and_translated_where_one_does_not() {
    let identity = Identity::new(&["api.test"]);
    for (upstream, version) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"][..], Version::HTTP_11),
    ] {
        let origin = Origin::https(&identity, upstream).await;
        let (config, _secret) = config(&identity, "");
        let agent = Agent::start(&config);
        let stream = agent.connect("acme", origin.address).await;
        let stream = tls::connect(stream, "api.test", &agent.authority(), &["h2"])
            .await
            .unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                .await
                .unwrap();
        let connection = harness::spawn(async move { drop(connection.await) });
        let uri = format!("https://api.test:{}/h2", origin.address.port());
        let requests = (0..3).map(|_| Request::get(&uri).body(Empty::<Bytes>::new()).unwrap());
        let mut answers = Vec::new();
        for request in requests {
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.status(), 200);
            answers.push(response.into_body().collect().await.unwrap().to_bytes());
        }
        connection.abort();
        assert_eq!(answers, ["hello"; 3]);
        let seen = origin.seen();
        assert_eq!(seen.len(), 3);
        assert!(seen.iter().all(
            |seen| seen.version == version && seen.headers["authorization"] == "Bearer s3cr3t"
        ));
        assert_eq!(origin.connections(), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_with_prior_knowledge_is_served() {
    let origin = Origin::http().await;
    let agent = Agent::start(super::OPEN);
    let stream = agent.connect("acme", origin.address).await;
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let connection = harness::spawn(async move { drop(connection.await) });
    let uri = format!("http://api.test:{}/", origin.address.port());
    let response = sender
        .send_request(Request::get(uri).body(Empty::<Bytes>::new()).unwrap())
        .await
        .unwrap();
    assert_eq!(
        response.into_body().collect().await.unwrap().to_bytes(),
        "hello"
    );
    connection.abort();
    agent.expect_log(&[("network.protocol.version", "2"), ("outcome", "completed")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_another_name_than_the_tls_is_misdirected() {
    let identity = Identity::new(&["api.test", "other.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let (config, _secret) = config(&identity, "tls = \"terminate\"");
    let agent = Agent::start(&config);
    let reply = ask(&agent, origin.address, "other.test", "api.test").await;
    assert_eq!(
        (reply.status, reply.json()["reason"].as_str()),
        (421, Some("destination_mismatch"))
    );
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_cannot_prove_its_name_gets_nothing() {
    let trusted = Identity::new(&["other.test"]);
    for identity in [&Identity::new(&["api.test"]), &trusted] {
        let origin = Origin::https(identity, &["http/1.1"]).await;
        let (config, _secret) = config(&trusted, "");
        let agent = Agent::start(&config);
        let reply = ask(&agent, origin.address, "api.test", "api.test").await;
        assert_eq!(
            (reply.status, reply.json()["reason"].as_str()),
            (502, Some("upstream_tls_unverified"))
        );
        assert!(origin.seen().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_name_under_terminated_tls_says_why() {
    let identity = Identity::new(&["api.test"]);
    let (config, _secret) = config(&identity, "tls = \"terminate\"");
    let agent = Agent::start(&config);
    let reply = ask(
        &agent,
        SocketAddr::from(([192, 0, 2, 1], 443)),
        "evil.test",
        "evil.test",
    )
    .await;
    assert_eq!(
        (reply.status, reply.json()["reason"].as_str()),
        (403, Some("no_rule"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_need_not_be_seen_is_the_workloads_own() {
    let identity = Identity::new(&["api.test", "other.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let roots = std::fs::read_to_string(identity.path()).unwrap();
    for (more, name) in [
        ("", "other.test"),
        ("passthrough = [\"api.test:*\"]", "api.test"),
        ("tls = \"passthrough\"", "api.test"),
    ] {
        let (config, _secret) = config(&identity, more);
        let agent = Agent::start(&config);
        let stream = agent.connect("acme", origin.address).await;
        // Trusts the origin and not the agent.
        let mut stream = tls::connect(stream, name, &roots, &[]).await.unwrap();
        stream
            .write_all(
                format!("GET / HTTP/1.1\r\nhost: {name}\r\nconnection: close\r\n\r\n").as_bytes(),
            )
            .await
            .unwrap();
        assert_eq!(Reply::read(&mut stream).await.status, 200);
        drop(stream);
        agent.expect_log(&[("kind", "tls"), ("server.address", name)]);
    }
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| !seen.headers.contains_key("authorization"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_does_not_trust_the_agent_is_told_apart() {
    let identity = Identity::new(&["api.test"]);
    let (config, _secret) = config(&identity, "");
    let agent = Agent::start(&config);
    let stream = agent
        .connect("acme", SocketAddr::from(([192, 0, 2, 1], 443)))
        .await;
    let roots = std::fs::read_to_string(identity.path()).unwrap();
    assert!(tls::connect(stream, "api.test", &roots, &[]).await.is_err());
    agent.expect_log(&[("reason", "downstream_tls"), ("fault", "downstream")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_inside_tls_goes_out_by_http1() {
    let identity = Identity::new(&["api.test"]);
    let origin = Origin::https_answering(&identity, &["h2", "http/1.1"], |seen| {
        let mut response = Response::new(Full::<Bytes>::default());
        *response.status_mut() = if seen.version == Version::HTTP_11 {
            http::StatusCode::IM_A_TEAPOT
        } else {
            http::StatusCode::OK
        };
        response
    })
    .await;
    let (config, _secret) = config(&identity, "");
    let agent = Agent::start(&config);
    let stream = agent.connect("acme", origin.address).await;
    let mut stream = tls::connect(stream, "api.test", &agent.authority(), &[])
        .await
        .unwrap();
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\nconnection: upgrade, close\r\nupgrade: x\r\n\r\n",
        origin.address.port()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 418);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_read_before_the_handshake_is_over() {
    let identity = Identity::new(&["api.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let (config, _secret) = config(&identity, "");
    let agent = Agent::start(&config);
    let mut client = tls::client(&agent.authority(), &["http/1.1"]);
    client.enable_early_data = true;
    let client = Arc::new(client);
    let connector = TlsConnector::from(Arc::clone(&client));
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\nconnection: close\r\n\r\n",
        origin.address.port()
    );
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let stream = agent.connect("acme", origin.address).await;
        let name = ServerName::try_from("api.test").unwrap();
        let mut stream = connector.connect(name, stream).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        assert_eq!(Reply::read(&mut stream).await.status, 200);
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(kind));
        // What could be sent again by whoever has seen it (RFC 8446 section 8).
        let name = ServerName::try_from("api.test").unwrap();
        let mut again = ClientConnection::new(Arc::clone(&client), name).unwrap();
        assert!(again.early_data().is_none());
    }
}
