//! WebSocket over HTTP/2: the upstream sees the upgrade that it knows, or the extended CONNECT that
//! it asks for.

mod upstream;

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use harness::DEADLINE;
use harness::agent::Agent;
use harness::origin::Origin;
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::client::conn::http2::{self, SendRequest};
use hyper::ext::Protocol;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::OPEN;
use super::smuggling::ask_http2;

async fn http2(agent: &Agent, origin: &Origin) -> SendRequest<Empty<Bytes>> {
    extended(agent.connect("acme", origin.address).await).await
}

async fn extended<S>(stream: S) -> SendRequest<Empty<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, mut connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    // The agent says in its settings that it takes an extended CONNECT.
    poll_fn(|cx| {
        assert!(Pin::new(&mut connection).poll(cx).is_pending());
        if connection.is_extended_connect_protocol_enabled() {
            Poll::Ready(())
        } else {
            // Nothing says when they have come into force.
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
    drop(harness::spawn(async move { drop(connection.await) }));
    sender
}

fn ask(origin: &Origin) -> Request<Empty<Bytes>> {
    Request::builder()
        .method(Method::CONNECT)
        .uri(format!(
            "http://api.test:{}/chat?room=1",
            origin.address.port()
        ))
        .header("sec-websocket-version", "13")
        .header("sec-websocket-protocol", "chat")
        .extension(Protocol::from_static("websocket"))
        .body(Empty::new())
        .unwrap()
}

/// Upgrades to an echo where `takes`, and otherwise answers 200.
async fn server(takes: bool) -> Origin {
    Origin::raw(move |mut stream| async move {
        let mut head = String::new();
        let mut byte = [0];
        while !head.ends_with("\r\n\r\n") && stream.read(&mut byte).await.unwrap() == 1 {
            head.push(char::from(byte[0]));
        }
        let head = head.to_lowercase();
        assert!(head.starts_with("get /chat?room=1 http/1.1\r\n"), "{head}");
        for field in ["connection: upgrade\r\n", "upgrade: websocket\r\n", "sec-websocket-version: 13\r\n", "sec-websocket-protocol: chat\r\n", "host: api.test:"] {
            assert!(head.contains(field), "{field} {head}");
        }
        let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
        assert_eq!(key.len(), 24);
        if !takes {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await);
            return;
        }
        let reply = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\nsec-websocket-protocol: chat\r\n\r\n";
        stream.write_all(reply.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_extended_connect_becomes_an_upgrade() {
    let origin = server(true).await;
    let agent = Agent::start(OPEN);
    let mut sender = in_time("settings", http2(&agent, &origin)).await;
    let mut response = in_time("an answer", sender.send_request(ask(&origin)))
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let fields: Vec<_> = response
        .headers()
        .keys()
        .map(|name| name.as_str())
        .collect();
    assert_eq!(fields, ["sec-websocket-protocol"]);
    let upgraded = in_time("an upgrade", hyper::upgrade::on(&mut response))
        .await
        .unwrap();
    let mut socket = TokioIo::new(upgraded);
    let mut word = [0; 4];
    in_time("an echo", async {
        socket.write_all(b"ping").await.unwrap();
        socket.read_exact(&mut word).await.unwrap();
    })
    .await;
    assert_eq!(&word, b"ping");
    in_time("an end", socket.shutdown()).await.unwrap();
    drop(socket);
    agent.expect_log(&[
        ("http.response.status_code", "200"),
        ("url.path", "/chat"),
        ("bytes.sent", "4"),
        ("bytes.received", "4"),
    ]);
}

async fn in_time<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect(what)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_upstream_has_not_opened_is_not_open() {
    let origin = server(false).await;
    let agent = Agent::start(OPEN);
    let host = format!("api.test:{}", origin.address.port());
    for (protocol, status, reason) in [
        ("websocket", "502", "upstream_malformed"),
        ("connect-ip", "501", "unsupported_protocol"),
    ] {
        let list = [
            (":method", "CONNECT"),
            (":protocol", protocol),
            (":scheme", "http"),
            (":path", "/chat?room=1"),
            (":authority", host.as_str()),
            ("sec-websocket-version", "13"),
            ("sec-websocket-protocol", "chat"),
        ];
        let came = ask_http2(&agent, &origin, &list, Some("")).await;
        assert_eq!(came.first(), Some(&(1, 0)), "{protocol}: {came:?}");
        agent.expect_log(&[("http.response.status_code", status), ("reason", reason)]);
    }
    assert_eq!(origin.connections(), 1);
}
