//! Published ways to make two servers read one request in two ways: each is refused with its
//! reason, and nothing of it arrives at the origin.

mod cases;
mod http2;

pub(crate) use self::http2::ask_http2;

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use tokio::io::AsyncWriteExt as _;

use self::cases::{HTTP1, LINES, SMUGGLED};
use super::OPEN;

async fn expect_refused(name: &str, agent: &Agent, origin: &Origin, request: &str, reason: &str) {
    let host = format!("api.test:{}", origin.address.port());
    let request = request.replace("{host}", &host);
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 400, "{name}: {reply:?}");
    assert_eq!(reply.json()["reason"], reason, "{name}");
    // Nothing is read behind it.
    assert_eq!(
        reply.body.matches("HTTP/1.1").count(),
        0,
        "{name}: {reply:?}"
    );
    assert_eq!(origin.connections(), 0, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_servers_could_read_differently_never_arrives() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let heads = HTTP1.iter().map(|(name, head, body, reason)| {
        (
            name,
            format!("POST / HTTP/1.1\r\n{head}{body}{SMUGGLED}"),
            reason,
        )
    });
    let lines = LINES.iter().map(|(name, line, reason)| {
        (
            name,
            format!("{line}\r\nhost: {{host}}\r\n\r\n{SMUGGLED}"),
            reason,
        )
    });
    let mut cases = 0;
    for (name, request, reason) in heads.chain(lines) {
        expect_refused(name, &agent, &origin, &request, reason).await;
        cases += 1;
    }
    // One record each, and each a security event.
    agent.expect_log(&[
        ("kind", "security_event"),
        ("reason", "two_lengths"),
        ("fault", "downstream"),
    ]);
    let events = || {
        agent
            .log()
            .iter()
            .filter(|line| line["kind"] == "security_event")
            .count()
    };
    harness::eventually("a security event per case", || {
        (events() == cases).then_some(())
    });
    assert_eq!(agent.log().len(), cases);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_comes_behind_what_was_answered() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let host = format!("api.test:{}", origin.address.port());
    let request = format!(
        "GET /first HTTP/1.1\r\nhost: {host}\r\n\r\nGET /second HTTP/1.1\r\nhost: {host}\r\nhost: x\r\n\r\n{SMUGGLED}"
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 200);
    let (_first, second) = reply.body.split_once("hello").unwrap();
    assert!(second.starts_with("HTTP/1.1 400"), "{second}");
    assert_eq!(second.matches("HTTP/1.1 ").count(), 1);
    assert_eq!(origin.seen().len(), 1);
    agent.expect_log(&[
        ("reason", "two_hosts"),
        ("url.path", "/second"),
        ("http.response.status_code", "400"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_its_framing_midway_is_never_whole_at_the_origin() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let host = format!("api.test:{}", origin.address.port());
    let mut stream = agent.connect("acme", origin.address).await;
    let head = format!(
        "POST / HTTP/1.1\r\nhost: {host}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    harness::eventually("the head at the origin", || {
        (origin.connections() == 1).then_some(())
    });
    stream.write_all(b"5\r\nhelloX0\r\n\r\n").await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(reply.json()["reason"], "invalid_chunk");
    agent.expect_log(&[("kind", "security_event"), ("reason", "invalid_chunk")]);
    // The harness keeps a request with what came of its body; its connection is gone.
    let again = agent.get("acme", origin.address, &host, "/").await;
    assert_eq!(again.status, 200);
    assert_eq!(origin.connections(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_too_large_is_answered_431() {
    let origin = Origin::http().await;
    let agent = Agent::start(
        &format!("{OPEN}\n[limits]\nheader_bytes = \"8KiB\"").replacen(
            "[limits]\ndetect = \"5s\"\n",
            "",
            1,
        ),
    );
    let host = format!("api.test:{}", origin.address.port());
    for fields in [
        format!("x: {}\r\n", "y".repeat(9000)),
        "x: y\r\n".repeat(101),
    ] {
        let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n{fields}\r\n");
        let reply = agent.ask("acme", origin.address, &request).await;
        assert_eq!(
            (reply.status, reply.json()["reason"].as_str()),
            (431, Some("header_too_large"))
        );
    }
    assert_eq!(origin.connections(), 0);
}
