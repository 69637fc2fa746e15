//! HTTP/2 that a server behind the agent would read as another request in HTTP/1.

use std::time::Duration;

use harness::agent::Agent;
use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::OPEN;

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
pub(crate) async fn ask_http2(
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

/// A name, the fields, and a body where there is one.
type Case<'a> = (&'static str, Vec<(&'a str, &'a str)>, Option<&'static str>);

/// A sound request's pseudo-fields.
fn ask(host: &str) -> [(&str, &str); 4] {
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", host),
    ]
}

/// What HTTP/2 itself calls malformed (RFC 9113 section 8.1.1).
#[rustfmt::skip]
fn malformed(host: &str) -> Vec<Case<'_>> {
    let ask = ask(host);
    let with = |more: &[(&'static str, &'static str)]| [&ask[..], more].concat();
    let but = |name: &str, value: &'static str| {
        ask.map(|(known, was)| (known, if known == name { value } else { was })).to_vec()
    };
    vec![
        ("H2.TE", with(&[("transfer-encoding", "chunked")]), Some("0\r\n\r\n")),
        ("H2.CL short", with(&[("content-length", "0")]), Some("GET / HTTP/1.1\r\n\r\n")),
        ("H2.CL long", with(&[("content-length", "99")]), Some("x")),
        ("connection", with(&[("connection", "x")]), None),
        ("keep-alive", with(&[("keep-alive", "1")]), None),
        ("upgrade", with(&[("upgrade", "x")]), None),
        ("te other than trailers", with(&[("te", "gzip")]), None),
        ("CRLF in a value", with(&[("x", "y\r\ntransfer-encoding: chunked")]), None),
        ("LF in a value", with(&[("x", "y\nz: 1")]), None),
        ("NUL in a value", with(&[("x", "y\0")]), None),
        ("colon in a name", with(&[("x: y\r\nz", "1")]), None),
        ("space in a name", with(&[("transfer-encoding ", "chunked")]), None),
        ("upper case in a name", with(&[("X", "1")]), None),
        ("CRLF in the method", but(":method", "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET"), None),
        ("CRLF in the path", but(":path", "/ HTTP/1.1\r\nhost: x\r\n\r\nGET /"), None),
        ("space in the path", but(":path", "/ HTTP/1.1"), None),
        ("two methods", with(&[(":method", "GET")]), None),
        ("two paths", with(&[(":path", "/b")]), None),
        ("two authorities", with(&[(":authority", "other.test")]), None),
        ("unknown pseudo-field", with(&[(":x", "1")]), None),
        ("pseudo-field behind another", [&[("x", "1")][..], &ask].concat(), None),
        ("host in percents", but(":authority", "api%2etest"), None),
        ("no method", ask[1..].to_vec(), None),
        ("no path", [&ask[..2], &ask[3..]].concat(), None),
        ("empty path", but(":path", ""), None),
        ("absolute target as the path", but(":path", "http://other.test/"), None),
        ("path without a slash", but(":path", "admin"), None),
        ("authority as the path", but(":path", "other.test:80"), None),
        ("tab in the path", but(":path", "/a\tb"), None),
        ("status in a request", with(&[(":status", "200")]), None),
    ]
}

/// A name, the fields, and the reason.
type Ambiguous<'a> = (&'static str, Vec<(&'a str, &'a str)>, &'static str);

/// What HTTP/2 lets pass, and HTTP/1 would read in another way.
#[rustfmt::skip]
fn ambiguous(host: &str) -> Vec<Ambiguous<'_>> {
    let ask = ask(host);
    let with = |more: &[(&'static str, &'static str)]| [&ask[..], more].concat();
    vec![
        (":authority and host", with(&[("host", "other.test")]), "two_hosts"),
        ("two hosts", [&ask[..3], &[("host", host), ("host", "other.test")]].concat(), "two_hosts"),
        ("no host", ask[..3].to_vec(), "no_host"),
        ("user in :authority", [&ask[..3], &[(":authority", "x@other.test")]].concat(), "no_host"),
        ("two lengths", with(&[("content-length", "0"), ("content-length", "0")]), "two_lengths"),
        ("length by underscore", with(&[("content_length", "44")]), "invalid_header"),
        ("host with a zone", [&ask[..3], &[(":authority", "[fe80::1%25lo]")]].concat(), "no_host"),
        ("coding by underscore", with(&[("transfer_encoding", "chunked")]), "invalid_header"),
    ]
}

const RESET: (u8, u32) = (3, 1);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_that_would_be_another_request_in_http1_never_arrives() {
    let origin = Origin::http().await;
    let agent = Agent::start(OPEN);
    let host = format!("api.test:{}", origin.address.port());
    let host = host.as_str();
    let cases = malformed(host);
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
    for (name, list, reason) in ambiguous(host) {
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
