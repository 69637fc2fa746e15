//! Requests and responses pass as they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use http::{HeaderValue, Response};
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::OPEN;

fn host(address: SocketAddr) -> String {
    format!("api.test:{}", address.port())
}

/// Reads what came until `end` stands in it.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) && stream.read(&mut byte).await.unwrap() == 1 {
        text.push(char::from(byte[0]));
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allowed_request_is_answered_and_logged() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let reply = agent
        .get("acme", origin.address, &host(origin.address), "/hello?q=1")
        .await;
    assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
    assert_eq!(origin.seen()[0].target, "/hello?q=1");
    let line = agent.expect_log(&[
        ("kind", "http"),
        ("tenant", "acme"),
        ("server.address", "api.test"),
        ("http.request.method", "GET"),
        ("url.path", "/hello"),
        ("http.response.status_code", "200"),
        ("outcome", "completed"),
        ("bytes.received", "5"),
        ("process.executable.name", "workload"),
    ]);
    assert_eq!(line["rule"], "allow api.test:*");
    agent.expect_metric(
        r#"outbound_exchanges_total{outcome="completed",tenant="acme",verdict="allow"}"#,
        1.0,
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_connection_is_kept_for_the_same_tenant() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    for _ in 0..3 {
        assert_eq!(
            agent
                .get("acme", origin.address, &host(origin.address), "/")
                .await
                .status,
            200
        );
    }
    assert_eq!(origin.connections(), 1);
    assert_eq!(
        agent
            .get("globex", origin.address, &host(origin.address), "/")
            .await
            .status,
        200
    );
    assert_eq!(origin.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_that_the_upstream_closed_is_replaced() {
    let origin = Origin::raw(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        // Promises to keep the connection, and closes it.
        drop(
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .await,
        );
    })
    .await;
    let agent = Agent::start(OPEN);
    for _ in 0..3 {
        assert_eq!(
            agent
                .get("acme", origin.address, &host(origin.address), "/")
                .await
                .body,
            "ok"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_follow_each_other_on_one_connection() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    for _ in 0..3 {
        let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", host(origin.address));
        stream.write_all(request.as_bytes()).await.unwrap();
        assert!(
            read_until(&mut stream, "hello")
                .await
                .starts_with("HTTP/1.1 200")
        );
    }
    // It does not change its name.
    let other = format!(
        "GET / HTTP/1.1\r\nhost: other.test:{}\r\nconnection: close\r\n\r\n",
        origin.address.port()
    );
    stream.write_all(other.as_bytes()).await.unwrap();
    assert_eq!(Reply::read(&mut stream).await.status, 421);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_arrive_as_they_were_written() {
    let origin = Origin::raw(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        let reply = format!(
            "HTTP/1.1 200 OK\r\nX-Case: Kept\r\ncontent-length: {}\r\n\r\n{head}",
            head.len()
        );
        drop(stream.write_all(reply.as_bytes()).await);
    })
    .await;
    let agent = Agent::start(OPEN);
    let request = format!(
        "GET /a/../b?c#d HTTP/1.1\r\nHost: {}\r\nX-Two: 1\r\nUser-Agent: Test\r\nx-two: 2\r\nConnection: close\r\n\r\n",
        host(origin.address)
    )
    .replace("#d", "");
    let reply = agent.ask("acme", origin.address, &request).await;
    assert!(reply.head.contains("X-Case: Kept"), "{reply:?}");
    let expected = format!(
        "GET /a/../b?c HTTP/1.1\r\nHost: {}\r\nX-Two: 1\r\nx-two: 2\r\nUser-Agent: Test\r\n\r\n",
        host(origin.address)
    );
    assert_eq!(reply.body, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_streams_both_ways_and_is_counted() {
    let origin = Origin::answering(|seen| Response::new(Full::from(seen.body.clone()))).await;
    let agent = Agent::start(OPEN);
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
        host(origin.address)
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.body, "hello world");
    agent.expect_log(&[("bytes.sent", "11"), ("bytes.received", "11")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_and_204_have_no_body_and_complete() {
    let origin = Origin::answering(|seen| {
        let mut response = Response::new(Full::<Bytes>::default());
        if seen.method == http::Method::HEAD {
            response
                .headers_mut()
                .insert("content-length", HeaderValue::from_static("1000"));
        } else {
            *response.status_mut() = http::StatusCode::NO_CONTENT;
        }
        response
    })
    .await;
    let agent = Agent::start(OPEN);
    for (method, status) in [("HEAD", 200), ("DELETE", 204)] {
        let request = format!(
            "{method} / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
            host(origin.address)
        );
        let reply = agent.ask("acme", origin.address, &request).await;
        assert_eq!((reply.status, reply.body.as_str()), (status, ""));
        agent.expect_log(&[("http.request.method", method), ("outcome", "completed")]);
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgraded_connection_carries_bytes_both_ways() {
    let origin = Origin::raw(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(
            head.contains("upgrade: echo") && head.contains("connection: upgrade"),
            "{head}"
        );
        let reply =
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
        stream.write_all(reply.as_bytes()).await.unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).await.unwrap();
        stream.write_all(&word).await.unwrap();
    })
    .await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n",
        host(origin.address)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 101")
    );
    stream.write_all(b"ping").await.unwrap();
    assert_eq!(read_until(&mut stream, "ping").await, "ping");
    drop(stream);
    agent.expect_log(&[
        ("http.response.status_code", "101"),
        ("bytes.sent", "4"),
        ("bytes.received", "4"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_was_not_connected_to_is_misdirected() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let reply = agent.get("acme", origin.address, "api.test:1", "/").await;
    assert_eq!(
        (reply.status, reply.json()["reason"].as_str()),
        (421, Some("destination_mismatch"))
    );
    agent.expect_log(&[("reason", "destination_mismatch"), ("outcome", "refused")]);
    assert_eq!(origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_fails_is_named_as_the_fault() {
    let closed = {
        std::net::TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
    };
    let garbage = Origin::raw(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        drop(stream.write_all(b"220 smtp.test ready\r\n").await);
    })
    .await;
    let silent =
        Origin::raw(|mut stream| async move { drop(read_until(&mut stream, "\r\n\r\n").await) })
            .await;
    let agent = Agent::start(OPEN);
    for (address, reason) in [
        (closed, "upstream_refused"),
        (garbage.address, "upstream_malformed"),
        (silent.address, "upstream_reset"),
    ] {
        let reply = agent.get("acme", address, &host(address), "/").await;
        assert_eq!(
            (reply.status, reply.json()["reason"].as_str()),
            (502, Some(reason))
        );
        agent.expect_log(&[
            ("reason", reason),
            ("outcome", "failed"),
            ("fault", "upstream"),
        ]);
    }
    let reply = agent
        .get(
            "acme",
            closed,
            &format!("unknown.test:{}", closed.port()),
            "/",
        )
        .await;
    assert_eq!(
        (reply.status, reply.json()["reason"].as_str()),
        (502, Some("upstream_unresolved"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_breaks_off_is_not_passed_on_as_whole() {
    let origin = Origin::raw(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        drop(
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .await,
        );
    })
    .await;
    let agent = Agent::start(OPEN);
    let reply = agent
        .get("acme", origin.address, &host(origin.address), "/")
        .await;
    assert!(!reply.body.ends_with("0\r\n\r\n"), "{reply:?}");
    agent.expect_log(&[("reason", "upstream_reset"), ("fault", "upstream")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_may_be_read_twice_is_sent_again() {
    let met = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&met);
    // Answers the first request on a connection, reads the second, and closes.
    let origin = Origin::raw(move |mut stream| {
        let seen = Arc::clone(&seen);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            seen.fetch_add(1, Ordering::SeqCst);
            drop(
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await,
            );
            if !read_until(&mut stream, "\r\n\r\n").await.is_empty() {
                seen.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    let agent = Agent::start(OPEN);
    for (method, status, requests) in [("GET", 200, 3), ("POST", 502, 2), ("PUT", 200, 3)] {
        met.store(0, Ordering::SeqCst);
        let ask = |method: &str| {
            format!(
                "{method} / HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n",
                host(origin.address)
            )
        };
        let first = agent.ask("globex", origin.address, &ask("GET")).await;
        // The last round has left a connection, which this one may have used up.
        assert_eq!(first.status, 200);
        met.store(1, Ordering::SeqCst);
        let reply = agent.ask("globex", origin.address, &ask(method)).await;
        assert_eq!(reply.status, status, "{method}: {reply:?}");
        assert_eq!(met.load(Ordering::SeqCst), requests, "{method}");
    }
}
