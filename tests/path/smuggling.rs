//! Published ways to make two servers read one request in two ways: each is refused with its
//! reason, and nothing of it arrives at the origin.

use std::time::Duration;

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::OPEN;

/// `{host}` stands for the origin's name and port.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nhost: {host}\r\n\r\n";

/// A name for the case, the head behind the request line and what follows it, the reason.
const HTTP1: &[(&str, &str, &str, &str)] = &[
    (
        "CL.TE",
        "host: {host}\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\n\r\n",
        "two_lengths",
    ),
    (
        "TE.CL",
        "host: {host}\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
        "0\r\n\r\n",
        "two_lengths",
    ),
    (
        "two lengths",
        "host: {host}\r\ncontent-length: 0\r\ncontent-length: 44\r\n\r\n",
        "",
        "two_lengths",
    ),
    (
        "two equal lengths",
        "host: {host}\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n",
        "",
        "two_lengths",
    ),
    (
        "list of lengths",
        "host: {host}\r\ncontent-length: 0, 44\r\n\r\n",
        "",
        "two_lengths",
    ),
    (
        "list of equal lengths",
        "host: {host}\r\ncontent-length: 0, 0\r\n\r\n",
        "",
        "two_lengths",
    ),
    (
        "signed length",
        "host: {host}\r\ncontent-length: +0\r\n\r\n",
        "",
        "invalid_length",
    ),
    (
        "negative length",
        "host: {host}\r\ncontent-length: -1\r\n\r\n",
        "",
        "invalid_length",
    ),
    (
        "hexadecimal length",
        "host: {host}\r\ncontent-length: 0x2c\r\n\r\n",
        "",
        "invalid_length",
    ),
    (
        "length of two words",
        "host: {host}\r\ncontent-length: 0 44\r\n\r\n",
        "",
        "invalid_length",
    ),
    (
        "empty length",
        "host: {host}\r\ncontent-length:\r\n\r\n",
        "",
        "invalid_length",
    ),
    (
        "length past 2^64",
        "host: {host}\r\ncontent-length: 18446744073709551616\r\n\r\n",
        "",
        "invalid_length",
    ),
    (
        "length by underscore",
        "host: {host}\r\ncontent_length: 44\r\n\r\n",
        "",
        "invalid_header",
    ),
    (
        "TE.TE other coding",
        "host: {host}\r\ntransfer-encoding: xchunked\r\n\r\n",
        "0\r\n\r\n",
        "transfer_coding",
    ),
    (
        "TE.TE identity",
        "host: {host}\r\ntransfer-encoding: identity\r\n\r\n",
        "",
        "transfer_coding",
    ),
    (
        "TE.TE list",
        "host: {host}\r\ntransfer-encoding: gzip, chunked\r\n\r\n",
        "0\r\n\r\n",
        "transfer_coding",
    ),
    (
        "TE.TE not last",
        "host: {host}\r\ntransfer-encoding: chunked, identity\r\n\r\n",
        "0\r\n\r\n",
        "transfer_coding",
    ),
    (
        "TE.TE twice",
        "host: {host}\r\ntransfer-encoding: chunked\r\ntransfer-encoding: x\r\n\r\n",
        "0\r\n\r\n",
        "transfer_coding",
    ),
    (
        "TE.TE twice the same",
        "host: {host}\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\n\r\n",
        "transfer_coding",
    ),
    (
        "TE.TE quoted",
        "host: {host}\r\ntransfer-encoding: \"chunked\"\r\n\r\n",
        "0\r\n\r\n",
        "transfer_coding",
    ),
    (
        "TE.TE parameter",
        "host: {host}\r\ntransfer-encoding: chunked;q=1\r\n\r\n",
        "0\r\n\r\n",
        "transfer_coding",
    ),
    (
        "TE.TE vertical tab",
        "host: {host}\r\ntransfer-encoding: \x0bchunked\r\n\r\n",
        "0\r\n\r\n",
        "invalid_header",
    ),
    (
        "TE.TE space before the colon",
        "host: {host}\r\ntransfer-encoding : chunked\r\n\r\n",
        "0\r\n\r\n",
        "invalid_header",
    ),
    (
        "TE.TE tab before the colon",
        "host: {host}\r\ntransfer-encoding\t: chunked\r\n\r\n",
        "0\r\n\r\n",
        "invalid_header",
    ),
    (
        "TE.TE folded",
        "host: {host}\r\ntransfer-encoding:\r\n chunked\r\n\r\n",
        "0\r\n\r\n",
        "invalid_header",
    ),
    (
        "TE.TE folded away",
        "host: {host}\r\nx: y\r\n transfer-encoding: chunked\r\n\r\n",
        "0\r\n\r\n",
        "invalid_header",
    ),
    (
        "TE.TE behind a bare LF",
        "host: {host}\r\nx: y\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\n\r\n",
        "bare_line_end",
    ),
    (
        "TE.TE behind a bare CR",
        "host: {host}\r\nx: y\rtransfer-encoding: chunked\r\n\r\n",
        "0\r\n\r\n",
        "bare_line_end",
    ),
    (
        "TE.TE broken over a line",
        "host: {host}\r\ntransfer-encoding\n: chunked\r\n\r\n",
        "0\r\n\r\n",
        "bare_line_end",
    ),
    (
        "TE.TE by underscore",
        "host: {host}\r\ntransfer_encoding: chunked\r\n\r\n",
        "0\r\n\r\n",
        "invalid_header",
    ),
    (
        "NUL in a value",
        "host: {host}\r\nx: a\0b\r\n\r\n",
        "",
        "invalid_header",
    ),
    (
        "NUL in a name",
        "host: {host}\r\nx\0: a\r\n\r\n",
        "",
        "invalid_header",
    ),
    (
        "no colon",
        "host: {host}\r\nx\r\n\r\n",
        "",
        "invalid_header",
    ),
    (
        "no name",
        "host: {host}\r\n: x\r\n\r\n",
        "",
        "invalid_header",
    ),
    (
        "obs-fold in the first field",
        " host: {host}\r\n\r\n",
        "",
        "invalid_header",
    ),
    (
        "LF alone ends the head",
        "host: {host}\n\n",
        "",
        "bare_line_end",
    ),
    (
        "two hosts",
        "host: {host}\r\nhost: other.test\r\n\r\n",
        "",
        "two_hosts",
    ),
    (
        "two equal hosts",
        "host: {host}\r\nhost: {host}\r\n\r\n",
        "",
        "two_hosts",
    ),
    (
        "host by two cases",
        "host: {host}\r\nHOST: other.test\r\n\r\n",
        "",
        "two_hosts",
    ),
    ("no host", "x: y\r\n\r\n", "", "no_host"),
    ("empty host", "host:\r\n\r\n", "", "no_host"),
    ("host with a path", "host: {host}/x\r\n\r\n", "", "no_host"),
    ("host with a user", "host: x@{host}\r\n\r\n", "", "no_host"),
    (
        "list of hosts",
        "host: {host}, other.test\r\n\r\n",
        "",
        "no_host",
    ),
    (
        "chunk size no number",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "x\r\n",
        "invalid_chunk",
    ),
    (
        "chunk size with 0x",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0x0\r\n\r\n",
        "invalid_chunk",
    ),
    (
        "chunk size with a sign",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "-1\r\n\r\n",
        "invalid_chunk",
    ),
    (
        "chunk size past 2^64",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "10000000000000000\r\n",
        "invalid_chunk",
    ),
    (
        "chunk size with a space",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0 \r\n\r\n",
        "invalid_chunk",
    ),
    (
        "TERM.EXT",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "2;\nxx\r\n0\r\n\r\n",
        "bare_line_end",
    ),
    (
        "EXT.TERM",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "2;\rxx\r\n0\r\n\r\n",
        "bare_line_end",
    ),
    (
        "SPILL.TERM",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "5\r\nAAAAAXX2\r\n45\r\n0\r\n\r\n",
        "invalid_chunk",
    ),
    (
        "ONE.TWO",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "5\r\nAAAAA\n0\r\n\r\n",
        "bare_line_end",
    ),
    (
        "chunk ended by LF",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\n\n",
        "bare_line_end",
    ),
    (
        "trailer that frames",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\ncontent-length: 44\r\n\r\n",
        "invalid_chunk",
    ),
    (
        "trailer that routes",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\nhost: other.test\r\n\r\n",
        "invalid_chunk",
    ),
    (
        "trailer that is a request",
        "host: {host}\r\ntransfer-encoding: chunked\r\n\r\n",
        "0\r\nGET / HTTP/1.1\r\n\r\n",
        "invalid_header",
    ),
];

/// Whole request lines.
const LINES: &[(&str, &str, &str)] = &[
    (
        "absolute target of another host",
        "GET http://other.test/ HTTP/1.1",
        "two_hosts",
    ),
    ("space in the target", "GET /a b HTTP/1.1", "malformed"),
    ("two spaces", "GET  / HTTP/1.1", "malformed"),
    ("no version", "GET /", "malformed"),
    ("version 1.2", "GET / HTTP/1.2", "malformed"),
    ("version in lower case", "GET / http/1.1", "malformed"),
    ("space behind the version", "GET / HTTP/1.1 ", "malformed"),
    ("fragment", "GET /a#b HTTP/1.1", "malformed"),
    (
        "authority as the target",
        "GET other.test:80 HTTP/1.1",
        "malformed",
    ),
    ("bare CR in the line", "GET /\r HTTP/1.1", "bare_line_end"),
];

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

/// A frame of HTTP/2 (RFC 9113 section 4.1) on stream 1.
fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, u8::from(kind != 4)]);
    frame.extend(payload);
    frame
}

/// Fields without any compression (RFC 7541 section 6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.extend([0, name.len() as u8]);
        block.extend(name.as_bytes());
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    block
}

/// Sends one request and some of a body, and gives the kinds of the frames that come back on
/// its stream, with a reset's code.
pub(super) async fn ask_http2(
    agent: &Agent,
    origin: &Origin,
    list: &[(&str, &str)],
    body: Option<&str>,
) -> Vec<(u8, u32)> {
    let mut stream = agent.connect("acme", origin.address).await;
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, &[]));
    bytes.extend(frame(1, if body.is_some() { 4 } else { 5 }, &fields(list)));
    if let Some(body) = body {
        bytes.extend(frame(0, 1, body.as_bytes()));
    }
    stream.write_all(&bytes).await.unwrap();
    let mut came = Vec::new();
    let reading = async {
        loop {
            let mut head = [0; 9];
            if stream.read_exact(&mut head).await.is_err() {
                break;
            }
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
            let mut payload = vec![0; length];
            stream.read_exact(&mut payload).await.unwrap();
            let code = match head[3] {
                3 => u32::from_be_bytes(payload[..4].try_into().unwrap()),
                7 => u32::from_be_bytes(payload[4..8].try_into().unwrap()),
                _ => 0,
            };
            if matches!(head[3], 0 | 1 | 3 | 7) {
                came.push((head[3], code));
            }
            // A reset, or the end of the stream.
            if matches!(head[3], 3 | 7) || (head[3] < 2 && head[4] & 1 == 1) {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reading)
        .await
        .expect("an answer in time");
    came
}

const RESET: (u8, u32) = (3, 1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_that_would_be_another_request_in_http1_never_arrives() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let host = format!("api.test:{}", origin.address.port());
    let host = host.as_str();
    let ask = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", host),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&ask[..], more].concat();
    let but = |name: &str, value: &'static str| {
        ask.map(|(known, was)| (known, if known == name { value } else { was }))
            .to_vec()
    };
    let cases: &[(&str, Vec<(&str, &str)>, Option<&str>)] = &[
        (
            "H2.TE",
            with(&[("transfer-encoding", "chunked")]),
            Some("0\r\n\r\n"),
        ),
        (
            "H2.CL short",
            with(&[("content-length", "0")]),
            Some("GET / HTTP/1.1\r\n\r\n"),
        ),
        ("H2.CL long", with(&[("content-length", "99")]), Some("x")),
        ("connection", with(&[("connection", "x")]), None),
        ("keep-alive", with(&[("keep-alive", "1")]), None),
        ("upgrade", with(&[("upgrade", "x")]), None),
        ("te other than trailers", with(&[("te", "gzip")]), None),
        (
            "CRLF in a value",
            with(&[("x", "y\r\ntransfer-encoding: chunked")]),
            None,
        ),
        ("LF in a value", with(&[("x", "y\nz: 1")]), None),
        ("NUL in a value", with(&[("x", "y\0")]), None),
        ("colon in a name", with(&[("x: y\r\nz", "1")]), None),
        (
            "space in a name",
            with(&[("transfer-encoding ", "chunked")]),
            None,
        ),
        ("upper case in a name", with(&[("X", "1")]), None),
        (
            "CRLF in the method",
            but(":method", "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET"),
            None,
        ),
        (
            "CRLF in the path",
            but(":path", "/ HTTP/1.1\r\nhost: x\r\n\r\nGET /"),
            None,
        ),
        ("space in the path", but(":path", "/ HTTP/1.1"), None),
        ("two methods", with(&[(":method", "GET")]), None),
        ("two paths", with(&[(":path", "/b")]), None),
        (
            "two authorities",
            with(&[(":authority", "other.test")]),
            None,
        ),
        ("unknown pseudo-field", with(&[(":x", "1")]), None),
        (
            "pseudo-field behind another",
            [&[("x", "1")][..], &ask].concat(),
            None,
        ),
        ("no path", [&ask[..2], &ask[3..]].concat(), None),
        ("empty path", but(":path", ""), None),
        ("status in a request", with(&[(":status", "200")]), None),
    ];
    for (index, (name, list, body)) in cases.iter().enumerate() {
        let came = ask_http2(&agent, &origin, list, *body).await;
        assert!(
            came.iter().any(|frame| matches!(*frame, RESET | (7, 1))),
            "{name}: {came:?}"
        );
        harness::eventually(name, || {
            let log = agent.log();
            let events = log
                .iter()
                .filter(|line| line["kind"] == "security_event" && line["reason"] == "malformed");
            (events.count() == index + 1).then_some(())
        });
    }
    for (name, list, reason) in [
        (
            ":authority and host",
            with(&[("host", "other.test")]),
            "two_hosts",
        ),
        (
            "two hosts",
            [&ask[..3], &[("host", host), ("host", "other.test")]].concat(),
            "two_hosts",
        ),
        ("no host", ask[..3].to_vec(), "no_host"),
        (
            "user in :authority",
            [&ask[..3], &[(":authority", "x@other.test")]].concat(),
            "no_host",
        ),
        (
            "two lengths",
            with(&[("content-length", "0"), ("content-length", "0")]),
            "two_lengths",
        ),
    ] {
        let came = ask_http2(&agent, &origin, &list, None).await;
        assert_eq!(came.first(), Some(&(1, 0)), "{name}");
        agent.expect_log(&[
            ("kind", "security_event"),
            ("reason", reason),
            ("http.response.status_code", "400"),
        ]);
    }
    let whole = origin.seen();
    assert!(whole.iter().all(|seen| seen.body.is_empty()), "{whole:?}");
}
