//! A stopping agent takes nothing more and lets what it has finish.

use std::time::Duration;

use harness::agent::Agent;
use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use super::OPEN;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_under_way_is_answered_before_the_agent_ends() {
    let (asked, answer) = (
        std::sync::Arc::new(Notify::new()),
        std::sync::Arc::new(Notify::new()),
    );
    let origin = {
        let (asked, answer) = (asked.clone(), answer.clone());
        Origin::raw(move |mut stream| {
            let (asked, answer) = (asked.clone(), answer.clone());
            async move {
                let mut head = [0; 16];
                stream.read_exact(&mut head).await.unwrap();
                asked.notify_one();
                answer.notified().await;
                drop(
                    stream
                        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate")
                        .await,
                );
            }
        })
        .await
    };
    let agent = Agent::start(OPEN);
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{}\r\n\r\n",
        origin.address.port()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    asked.notified().await;
    let stopping = agent.stop(Duration::from_secs(10));
    let finishing = async {
        answer.notify_one();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.unwrap();
        reply
    };
    let (drained, reply) = tokio::join!(stopping, finishing);
    assert!(reply.ends_with("late"), "{reply}");
    assert!(drained.forced.is_empty(), "{drained:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_does_not_end_is_ended_at_the_deadline() {
    let origin = Origin::raw(|mut stream| async move {
        let mut bytes = Vec::new();
        drop(stream.read_to_end(&mut bytes).await);
    })
    .await;
    let agent = Agent::start(
        r#"
        [policies.p]
        default = "allow"
        allow = ["tcp://127.0.0.0/8:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
    );
    let mut stream = agent.connect("acme", origin.address).await;
    stream.write_all(b"\0opaque").await.unwrap();
    harness::eventually("the tunnel is open", || {
        (origin.connections() == 1).then_some(())
    });
    let drained = agent.stop(Duration::from_millis(50)).await;
    assert!(!drained.forced.is_empty());
    let mut rest = Vec::new();
    assert!(
        stream
            .read_to_end(&mut rest)
            .await
            .map_or(true, |read| read == 0)
    );
}
