//! What comes in front of an answer, and in front of a body.

use std::net::SocketAddr;
use std::sync::Arc;

use harness::agent::Agent;
use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::OPEN;

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut text = String::new();
    let mut byte = [0];
    while !text.ends_with(end) && stream.read(&mut byte).await.unwrap() == 1 {
        text.push(char::from(byte[0]));
    }
    text
}

async fn post(agent: &Agent, origin: SocketAddr) -> TcpStream {
    let mut stream = agent.connect("acme", origin).await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: api.test:{}\r\nexpect: 100-continue\r\ncontent-length: 4\r\nconnection: close\r\n\r\n",
        origin.port()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_hints_arrive_before_the_answer_is_made() {
    let hinted = Arc::new(Notify::new());
    let was_hinted = Arc::clone(&hinted);
    let origin = Origin::raw(move |mut stream| {
        let hinted = Arc::clone(&was_hinted);
        async move {
            for _ in 0..2 {
                read_until(&mut stream, "\r\n\r\n").await;
                drop(
                    stream
                        .write_all(b"HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n")
                        .await,
                );
                hinted.notified().await;
                drop(
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                        .await,
                );
            }
        }
    })
    .await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\n\r\n",
        origin.address.port()
    );
    stream
        .write_all(request.repeat(2).as_bytes())
        .await
        .unwrap();
    for _ in 0..2 {
        let hint = read_until(&mut stream, "\r\n\r\n").await;
        assert_eq!(hint, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        hinted.notify_one();
        let answer = read_until(&mut stream, "ok").await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_waits_goes_when_the_upstream_wants_it() {
    let origin = Origin::raw(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.contains("expect: 100-continue\r\n"), "{head}");
        drop(stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await);
        let body = read_until(&mut stream, "body").await;
        let reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        drop(stream.write_all(reply.as_bytes()).await);
    })
    .await;
    // Without the upstream's word it would not go for long.
    let agent = Agent::start(&OPEN.replace("[limits]", "[limits]\nexpect_continue = \"10m\""));
    let mut stream = post(&agent, origin.address).await;
    assert_eq!(
        read_until(&mut stream, "\r\n\r\n").await,
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    stream.write_all(b"body").await.unwrap();
    assert!(
        read_until(&mut stream, "\r\n\r\nbody")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_the_upstream_refuses_is_not_asked_for() {
    let origin = Origin::raw(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        drop(
            stream
                .write_all(b"HTTP/1.1 417 Expectation Failed\r\ncontent-length: 2\r\n\r\nno")
                .await,
        );
        // Nothing of the body comes.
        let mut rest = Vec::new();
        drop(stream.read_to_end(&mut rest).await);
        assert_eq!(rest, b"");
    })
    .await;
    let agent = Agent::start(&OPEN.replace("[limits]", "[limits]\nexpect_continue = \"10m\""));
    let mut stream = post(&agent, origin.address).await;
    let answer = read_until(&mut stream, "no").await;
    assert!(answer.starts_with("HTTP/1.1 417 "), "{answer}");
    agent.expect_log(&[
        ("http.response.status_code", "417"),
        ("outcome", "completed"),
        ("bytes.sent", "0"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_does_not_wait_for_ever() {
    let origin = Origin::http().await;
    let silent = Origin::raw(|mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        let body = read_until(&mut stream, "body").await;
        let reply = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        drop(stream.write_all(reply.as_bytes()).await);
    })
    .await;
    let agent = Agent::start(&OPEN.replace("[limits]", "[limits]\nexpect_continue = \"20ms\""));
    for (origin, end) in [(&origin, "hello"), (&silent, "body")] {
        let mut stream = post(&agent, origin.address).await;
        assert_eq!(
            read_until(&mut stream, "\r\n\r\n").await,
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
        stream.write_all(b"body").await.unwrap();
        assert!(
            read_until(&mut stream, end)
                .await
                .starts_with("HTTP/1.1 200 ")
        );
    }
}
