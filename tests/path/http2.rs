//! HTTP/2 towards workloads, frame by frame.

mod frames;

use std::sync::Arc;

use harness::agent::Agent;
use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Semaphore;

use self::frames::{Came, Connection, GOAWAY, HEADERS, RST_STREAM, field, frame};
use super::OPEN;

// Frames and flags (RFC 9113 section 6).
const DATA: u8 = 0;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const PADDED: u8 = 8;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn host(origin: &Origin) -> String {
    format!("api.test:{}", origin.address.port())
}

fn with_limits(limits: &str) -> Agent {
    Agent::start(&OPEN.replacen("[limits]\n", &format!("[limits]\n{limits}\n"), 1))
}

/// A request's fields.
fn ask(host: &str, path: &str) -> Vec<u8> {
    [
        field(":method", "GET"),
        field(":scheme", "http"),
        field(":path", path),
        field(":authority", host),
    ]
    .concat()
}

fn get(stream: u32, host: &str, path: &str) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &ask(host, path))
}

/// Answers each request, for `/held` once it gets a permit.
async fn held() -> (Origin, Arc<Semaphore>) {
    let permits = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&permits);
    let origin = Origin::raw(move |mut stream| {
        let held = Arc::clone(&held);
        async move {
            let mut head = [0; 4096];
            while stream.read(&mut head).await.unwrap_or(0) > 0 {
                if head.starts_with(b"GET /held ") {
                    held.acquire().await.unwrap().forget();
                }
                let reply = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                drop(stream.write_all(reply.as_bytes()).await);
            }
        }
    })
    .await;
    (origin, permits)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_too_many_at_once_is_refused_and_the_others_are_answered() {
    let (origin, permits) = held().await;
    let agent = with_limits("http2_streams = 2");
    let mut connection = Connection::open(&agent, origin.address).await;
    for stream in [1, 3, 5] {
        connection.send(&get(stream, &host(&origin), "/held")).await;
    }
    let refused = connection.until(|came| came.kind == RST_STREAM).await;
    assert_eq!((refused.stream, refused.code), (5, 7));
    agent.expect_log(&[("reason", "stream_limit"), ("outcome", "refused")]);
    agent.expect_metric(
        r#"outbound_denials_total{reason="stream_limit",tenant="acme"}"#,
        1.0,
    );
    permits.add_permits(2);
    for _ in 0..2 {
        connection.until(Came::ends).await;
    }
    // There is room again.
    connection.send(&get(7, &host(&origin), "/")).await;
    assert_eq!(connection.until(Came::ends).await.stream, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_too_large_is_answered_431_and_told() {
    let origin = Origin::http().await;
    let agent = with_limits("header_bytes = \"4KiB\"");
    let mut connection = Connection::open(&agent, origin.address).await;
    let long = "y".repeat(120);
    for (stream, fields) in [(1, 101), (3, 40), (5, 90)] {
        let mut block = ask(&host(&origin), "/");
        for number in 0..fields {
            let value = if fields > 100 { "" } else { &long };
            block.extend(field(&format!("x-{number}"), value));
        }
        let flags = END_STREAM | END_HEADERS;
        connection
            .send(&frame(HEADERS, flags, stream, &block))
            .await;
        let answer = connection.until(|came| came.stream == stream).await;
        assert_eq!(answer.kind, HEADERS, "{fields} fields");
    }
    harness::eventually("a line for each", || {
        let log = agent.log();
        let told = log
            .iter()
            .filter(|line| line["reason"] == "header_too_large");
        (told.count() == 3).then_some(())
    });
    assert_eq!(origin.connections(), 0);
    connection.send(&get(7, &host(&origin), "/")).await;
    connection
        .until(|came| came.stream == 7 && came.ends())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_asks_nothing_is_told_to_go_and_a_busy_one_is_not() {
    let (origin, permits) = held().await;
    let agent = with_limits("request_header = \"200ms\"");
    let mut busy = Connection::open(&agent, origin.address).await;
    busy.send(&get(1, &host(&origin), "/held")).await;
    for _ in 0..2 {
        let mut idle = Connection::open(&agent, origin.address).await;
        let leave = idle.until(|came| came.kind == GOAWAY).await;
        assert_eq!(leave.code, 0);
        idle.closed().await;
    }
    agent.expect_log(&[
        ("reason", "request_header_timeout"),
        ("outcome", "timed_out"),
    ]);
    permits.add_permits(1);
    let answered = busy.until(|came| came.kind == GOAWAY || came.ends()).await;
    assert_eq!(answered.stream, 1);
    // Then it is idle too, and has completed.
    busy.until(|came| came.kind == GOAWAY).await;
    busy.closed().await;
    agent.expect_metric(
        r#"outbound_exchanges_total{outcome="completed",tenant="acme",verdict="allow"}"#,
        1.0,
    );
}

/// What has to come back.
#[derive(Debug)]
enum Due {
    /// A connection error with one of these codes.
    Leave(&'static [u32]),
    /// An error of the stream, or of the connection, with one of these codes.
    Reset(&'static [u32]),
    /// An answer: it is to be borne.
    Answer,
}

const PROTOCOL: &[u32] = &[1];
// h2 calls some of these by the wider name; what has to end ends either way.
const FLOW: &[u32] = &[3, 1];
const CLOSED: &[u32] = &[5, 1];
const SIZE: &[u32] = &[6, 1];
const COMPRESSION: &[u32] = &[9, 1];

/// Of each section of RFC 9113 what a conformance suite tries: a name, the frames behind the
/// preface, what is due.
#[rustfmt::skip]
fn cases(host: &str) -> Vec<(&'static str, Vec<u8>, Due)> {
    use Due::{Answer, Leave, Reset};
    let all = END_STREAM | END_HEADERS;
    let block = ask(host, "/held");
    let (open_block, fine) = (ask(host, "/"), get(1, host, "/"));
    let post = frame(HEADERS, END_HEADERS, 1, &block);
    let open = |more: Vec<u8>| [post.clone(), more].concat();
    vec![
        ("4.1 a frame of an unknown type", [frame(0x42, 0xff, 0, b"????????"), fine.clone()].concat(), Answer),
        ("4.1 flags that mean nothing", [frame(PING, 0x16, 0, b"12345678"), fine.clone()].concat(), Answer),
        ("4.1 the reserved bit", frame(HEADERS, all, 0x8000_0001, &open_block), Answer),
        ("4.2 DATA larger than a frame may be", open(frame(DATA, END_STREAM, 1, &[0; 16_385])), Reset(SIZE)),
        ("4.2 HEADERS larger than a frame may be", frame(HEADERS, all, 1, &[0; 16_385]), Leave(SIZE)),
        ("4.3 a header block that is none", frame(HEADERS, all, 1, &[0xff; 16]), Leave(COMPRESSION)),
        ("4.3 an index of nothing", frame(HEADERS, all, 1, &[0x80]), Leave(COMPRESSION)),
        ("4.3 an index past the table", frame(HEADERS, all, 1, &[0xfe]), Leave(COMPRESSION)),
        ("4.3 a table larger than allowed", frame(HEADERS, all, 1, &[0x3f, 0xe1, 0xff, 0x7f]), Leave(COMPRESSION)),
        ("4.3 a text without its end", frame(HEADERS, all, 1, &[0, 0x7e, b'x']), Leave(COMPRESSION)),
        ("4.3 Huffman's end within a text", frame(HEADERS, all, 1, &[0, 0x84, 0xff, 0xff, 0xff, 0xff, 1, b'x']), Leave(COMPRESSION)),
        ("4.3 a frame within a header block", [frame(HEADERS, END_STREAM, 1, &block), frame(PING, 0, 0, b"12345678")].concat(), Leave(PROTOCOL)),
        ("4.3 another stream within a header block", [frame(HEADERS, END_STREAM, 1, &block), frame(CONTINUATION, END_HEADERS, 3, &[])].concat(), Leave(PROTOCOL)),
    ]
}

/// As above, on.
#[rustfmt::skip]
fn more_cases(host: &str) -> Vec<(&'static str, Vec<u8>, Due)> {
    use Due::{Answer, Leave, Reset};
    let all = END_STREAM | END_HEADERS;
    let (open_block, fine) = (ask(host, "/"), get(1, host, "/"));
    let (block, get) = (ask(host, "/held"), get(1, host, "/held"));
    let post = frame(HEADERS, END_HEADERS, 1, &block);
    let setting = |id: u16, value: u32| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat();
    let window = |size: u32| size.to_be_bytes();
    let then = |more: Vec<u8>| [get.clone(), more].concat();
    let open = |more: Vec<u8>| [post.clone(), more].concat();
    let padded = |length: u8, rest: &[u8]| [&[length][..], rest].concat();
    vec![
        ("5.1 DATA on an idle stream", frame(DATA, END_STREAM, 1, b"x"), Leave(PROTOCOL)),
        ("5.1 RST_STREAM on an idle stream", frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), Leave(PROTOCOL)),
        ("5.1 WINDOW_UPDATE on an idle stream", frame(WINDOW_UPDATE, 0, 1, &window(1)), Leave(PROTOCOL)),
        ("5.1 CONTINUATION of nothing", frame(CONTINUATION, END_HEADERS, 1, &block), Leave(PROTOCOL)),
        ("5.1 DATA behind the end", then(frame(DATA, END_STREAM, 1, b"x")), Reset(CLOSED)),
        ("5.1 HEADERS behind the end", then(frame(HEADERS, all, 1, &block)), Reset(CLOSED)),
        ("5.1.1 an even stream", frame(HEADERS, all, 2, &block), Leave(PROTOCOL)),
        ("5.1.1 a lower stream than before", [frame(HEADERS, all, 5, &block), frame(HEADERS, all, 3, &block)].concat(), Reset(CLOSED)),
        ("6.1 DATA on stream 0", frame(DATA, END_STREAM, 0, b"x"), Leave(PROTOCOL)),
        ("6.1 DATA of padding alone and more", open(frame(DATA, END_STREAM | PADDED, 1, &padded(9, b"x"))), Leave(PROTOCOL)),
        ("6.1 padding", [frame(HEADERS, END_HEADERS, 1, &open_block), frame(DATA, END_STREAM | PADDED, 1, &padded(3, b"x\0\0\0"))].concat(), Answer),
        ("6.2 HEADERS on stream 0", frame(HEADERS, all, 0, &block), Leave(PROTOCOL)),
        ("6.2 HEADERS of padding alone and more", frame(HEADERS, all | PADDED, 1, &padded(200, &block)), Leave(PROTOCOL)),
        ("6.3 PRIORITY on stream 0", frame(PRIORITY, 0, 0, &[0, 0, 0, 1, 9]), Leave(PROTOCOL)),
        ("6.3 PRIORITY of another length", [frame(PRIORITY, 0, 1, &[0; 4]), get.clone()].concat(), Reset(SIZE)),
        ("6.4 RST_STREAM on stream 0", frame(RST_STREAM, 0, 0, &[0, 0, 0, 8]), Leave(PROTOCOL)),
        ("6.4 RST_STREAM of another length", open(frame(RST_STREAM, 0, 1, &[0; 3])), Leave(SIZE)),
        ("6.5 an acknowledgement that says more", frame(SETTINGS, ACK, 0, &setting(3, 9)), Leave(SIZE)),
        ("6.5 SETTINGS on a stream", frame(SETTINGS, 0, 1, &setting(3, 9)), Leave(PROTOCOL)),
        ("6.5 SETTINGS of another length", frame(SETTINGS, 0, 0, &[0; 3]), Leave(SIZE)),
        ("6.5.2 ENABLE_PUSH of 2", frame(SETTINGS, 0, 0, &setting(2, 2)), Leave(PROTOCOL)),
        ("6.5.2 a window past 2^31", frame(SETTINGS, 0, 0, &setting(4, 0x8000_0000)), Leave(FLOW)),
        ("6.5.2 frames too small", frame(SETTINGS, 0, 0, &setting(5, 16_383)), Leave(PROTOCOL)),
        ("6.5.2 frames too large", frame(SETTINGS, 0, 0, &setting(5, 0x0100_0000)), Leave(PROTOCOL)),
        ("6.5.2 an unknown setting", [frame(SETTINGS, 0, 0, &setting(0xff, 1)), fine.clone()].concat(), Answer),
        ("6.6 PUSH_PROMISE of a client", frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &block].concat()), Leave(PROTOCOL)),
        ("6.7 PING on a stream", frame(PING, 0, 1, b"12345678"), Leave(PROTOCOL)),
        ("6.7 PING of another length", frame(PING, 0, 0, b"1234"), Leave(SIZE)),
        ("6.8 GOAWAY on a stream", frame(GOAWAY, 0, 1, &[0; 8]), Leave(PROTOCOL)),
        ("6.9 WINDOW_UPDATE of 0", frame(WINDOW_UPDATE, 0, 0, &window(0)), Leave(PROTOCOL)),
        ("6.9 WINDOW_UPDATE of 0 on a stream", open(frame(WINDOW_UPDATE, 0, 1, &window(0))), Reset(PROTOCOL)),
        ("6.9 WINDOW_UPDATE of another length", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Leave(SIZE)),
        ("6.9.1 a window past 2^31 by addition", frame(WINDOW_UPDATE, 0, 0, &window(0x7fff_ffff)), Leave(FLOW)),
        ("6.9.1 a stream's window past 2^31", open(frame(WINDOW_UPDATE, 0, 1, &window(0x7fff_ffff))), Reset(FLOW)),
        ("6.10 CONTINUATION behind the end", open(frame(CONTINUATION, END_HEADERS, 1, &[])), Leave(PROTOCOL)),
        ("6.10 CONTINUATION on stream 0", [frame(HEADERS, END_STREAM, 1, &block), frame(CONTINUATION, END_HEADERS, 0, &[])].concat(), Leave(PROTOCOL)),
        ("6.10 a header block in pieces", [frame(HEADERS, END_STREAM, 1, &open_block[..9]), frame(CONTINUATION, 0, 1, &open_block[9..20]), frame(CONTINUATION, END_HEADERS, 1, &open_block[20..])].concat(), Answer),
        ("8.1 HEADERS behind HEADERS without an end", open(frame(HEADERS, END_HEADERS, 1, &field("x", "y"))), Reset(PROTOCOL)),
// h2 leaves it out instead of refusing it: it goes nowhere.
        ("8.1 a pseudo-field among trailers", [frame(HEADERS, END_HEADERS, 1, &open_block), frame(HEADERS, all, 1, &field(":path", "/x"))].concat(), Answer),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_breaks_the_protocol_gets_its_error_and_others_are_served() {
    // What is to break is never answered: what comes is about the frames.
    let (origin, _permits) = held().await;
    let agent = Agent::start(OPEN);
    let host = host(&origin);
    let mut other = Connection::open(&agent, origin.address).await;
    let (mut number, mut wrong) = (1, Vec::new());
    for (name, frames, due) in cases(&host).into_iter().chain(more_cases(&host)) {
        let mut connection = Connection::open(&agent, origin.address).await;
        connection.send(&frames).await;
        let is_error = |came: &Came| matches!(came.kind, GOAWAY | RST_STREAM);
        let is_right = match &due {
            Due::Leave(codes) => {
                let came = connection.seek(|came| came.kind == GOAWAY).await;
                came.map(|came| codes.contains(&came.code))
            }
            Due::Reset(codes) => {
                let came = connection.seek(is_error).await;
                came.map(|came| codes.contains(&came.code))
            }
            Due::Answer => {
                let came = connection.seek(|came| is_error(came) || came.ends()).await;
                came.map(|came| came.ends() && came.stream == 1)
            }
        };
        if !matches!(is_right, Ok(true)) {
            wrong.push((name, due, is_right));
        }
        drop(connection);
        other.send(&get(number, &host, "/")).await;
        let answered = other.until(|came| came.kind == GOAWAY || came.ends()).await;
        assert_eq!(answered.stream, number, "behind {name}: {answered:?}");
        number += 2;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    agent.expect_log(&[("kind", "security_event"), ("reason", "malformed")]);
}

/// Its connection is alive as the kernel sees it: only the other side of a `PING` tells.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_answers_no_ping_is_given_up() {
    let (origin, _permits) = held().await;
    let agent = with_limits("dead_peer = \"400ms\"");
    let mut connection = Connection::open(&agent, origin.address).await;
    connection.send(&get(1, &host(&origin), "/held")).await;
    connection.closed().await;
    agent.expect_metric(
        r#"outbound_failures_total{reason="downstream_dead",tenant="acme"}"#,
        1.0,
    );
    agent.expect_log(&[("url.path", "/held"), ("outcome", "aborted")]);
}
