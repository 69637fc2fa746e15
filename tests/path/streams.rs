//! Nothing is added, reordered or waited for that either side did not ask for.

use std::sync::Arc;

use harness::agent::{Agent, Reply};
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

/// Reads a head, and answers with these bytes.
async fn answering(reply: &'static str) -> Origin {
    Origin::raw(move |mut stream| async move {
        read_until(&mut stream, "\r\n\r\n").await;
        drop(stream.write_all(reply.as_bytes()).await);
    })
    .await
}

fn host(origin: &Origin) -> String {
    format!("api.test:{}", origin.address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_arrives_field_by_field_as_it_was_written() {
    for head in [
        "HTTP/1.1 200 Fine\r\nServer: x\r\nX-UPPER: 1\r\nx-lower: 2\r\nETag: \"e\"\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\nVary: *\r\n\r\nok",
        "HTTP/1.1 304 Not Modified\r\nETag: \"e\"\r\nX-Last: 1\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        let origin = answering(head).await;
        let agent = Agent::start(OPEN);
        let reply = agent.get("acme", origin.address, &host(&origin), "/").await;
        let whole = format!("{}\r\n\r\n{}", reply.head, reply.body);
        // `get` asks for the connection to be closed.
        assert_eq!(whole.replacen("\r\nconnection: close", "", 1), head);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_arrives_before_the_next_one_is_made() {
    let read = Arc::new(Notify::new());
    let was_read = Arc::clone(&read);
    let origin = Origin::raw(move |mut stream| {
        let read = Arc::clone(&was_read);
        async move {
            read_until(&mut stream, "\r\n\r\n").await;
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n").await);
            for number in 0..3 {
                read.notified().await;
                let event = format!("data: {number}\n\n");
                drop(stream.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await);
            }
            drop(stream.write_all(b"0\r\n\r\n").await);
        }
    })
    .await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", host(&origin));
    stream.write_all(request.as_bytes()).await.unwrap();
    // The head comes before there is any event at all.
    read_until(&mut stream, "\r\n\r\n").await;
    for number in 0..3 {
        read.notify_one();
        let event = read_until(&mut stream, "\n\n").await;
        assert!(event.ends_with(&format!("data: {number}\n\n")), "{event}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_need_not_wait_for_the_requests_end() {
    let origin = answering("HTTP/1.1 413 Content Too Large\r\ncontent-length: 2\r\n\r\nno").await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: 1000000\r\n\r\nsome",
        host(&origin)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "no").await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trailers_pass_both_ways() {
    let origin = Origin::raw(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(head.contains("te: trailers\r\n") && head.contains("trailer: x-sum\r\n"), "{head}");
        let body = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
        assert!(body.ends_with("0\r\nx-sum: 1\r\n\r\n"), "{body}");
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ntrailer: x-sum\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 2\r\n\r\n").await);
    })
    .await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\nte: trailers\r\ntrailer: x-sum\r\nconnection: te, close\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-sum: 1\r\n\r\n",
        host(&origin)
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert!(reply.body.ends_with("0\r\nx-sum: 2\r\n\r\n"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_ends_with_its_connection_is_framed_for_the_workload() {
    let origin = answering("HTTP/1.0 200 OK\r\n\r\nwhatever comes").await;
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", host(&origin));
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "0\r\n\r\n").await;
    assert!(
        answer.contains("transfer-encoding: chunked\r\n"),
        "{answer}"
    );
    assert!(answer.contains("whatever comes"), "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_two_lengths_is_not_passed_on() {
    for head in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 5\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ] {
        let origin = answering(head).await;
        let agent = Agent::start(OPEN);
        let reply = agent.get("acme", origin.address, &host(&origin), "/").await;
        assert_eq!(reply.status, 502, "{reply:?}");
        assert_eq!(reply.json()["reason"], "upstream_malformed");
    }
}
