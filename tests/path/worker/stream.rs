//! Bodies through a worker that is a server, as they come.

use harness::agent::Agent;
use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::server::{config, host};

pub(super) async fn read_until(stream: &mut TcpStream, wanted: &str) -> String {
    let mut text = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&text).contains(wanted) {
            assert_ne!(
                stream.read_buf(&mut text).await.unwrap(),
                0,
                "{wanted}: {text:?}"
            );
        }
    };
    let in_time = tokio::time::timeout(harness::DEADLINE, read).await;
    let text = String::from_utf8(text).unwrap();
    in_time.unwrap_or_else(|_elapsed| panic!("waited for {wanted:?} in vain: {text:?}"));
    text
}

/// A worker that sends on what it is sent, word for word: the agent's words say where to.
pub(super) async fn sends_on(mut stream: TcpStream) {
    let head = read_until(&mut stream, "\r\n\r\n").await;
    let mut lines = head.lines();
    let egress = lines.find_map(|line| line.strip_prefix("outbound-egress: http://"));
    let mut agent = TcpStream::connect(egress.unwrap().trim_end_matches('/'))
        .await
        .unwrap();
    agent.write_all(head.as_bytes()).await.unwrap();
    drop(tokio::io::copy_bidirectional(&mut stream, &mut agent).await);
}

/// Gives back each piece of a chunked body, framed as it came.
pub(super) async fn echo() -> Origin {
    Origin::raw(|mut stream| async move {
        let head = read_until(&mut stream, "\r\n\r\n").await;
        // What came with it is of the body.
        let (_head, early) = head.split_once("\r\n\r\n").unwrap();
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(early.as_bytes()).await.unwrap();
        let (mut from, mut to) = stream.split();
        // Ended by whoever has enough.
        drop(tokio::io::copy(&mut from, &mut to).await);
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_pass_a_worker_in_both_directions_as_they_come() {
    let origin = echo().await;
    let worker = Origin::raw(sends_on).await;
    let agent = Agent::start(&config(worker.address, ""));
    let mut tenant = agent.connect("acme", origin.address).await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        host(&origin)
    );
    tenant.write_all(head.as_bytes()).await.unwrap();
    read_until(&mut tenant, "hello").await;
    tenant.write_all(b"5\r\nworld\r\n0\r\n\r\n").await.unwrap();
    let rest = read_until(&mut tenant, "\r\n0\r\n\r\n").await;
    assert!(rest.contains("world"), "{rest}");
    agent.expect_log(&[("worker.outcome", "responded"), ("outcome", "completed")]);
}
