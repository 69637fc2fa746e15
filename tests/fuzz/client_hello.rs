//! The first bytes of a connection: what they are taken for does not depend on how they are cut,
//! and none of them is lost.

use std::time::Duration;

use outbound_agent::path::detect::{Detected, Hello, Limits, detect};
use outbound_agent::path::replay::Replay;
use tokio::io::AsyncReadExt as _;

use crate::stream::{Stream, wait};
use crate::{Target, hash};

pub(crate) const TARGET: Target = Target {
    name: "client_hello",
    dictionary: &[
        b"\x16\x03\x01",
        b"\x00\x00\x00\x0d\x00\x0b\x00\x00\x08api.test",
        b"\x00\x10\x00\x05\x00\x03\x02h2",
        b"\xfe\x0d",
        b"\x00\x15",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n",
    ],
    run,
};

fn run(input: &[u8]) -> u64 {
    let whole = wait(look(Stream::whole(input), input));
    let pieces = wait(look(Stream::in_pieces(input), input));
    assert_eq!(whole, pieces, "it depends on how the bytes come");
    if let Some(Hello {
        server_name: Some(name),
        ..
    }) = &whole.1
    {
        let again = name.to_string().parse();
        assert_eq!(again.as_ref(), Ok(name), "a name of two forms");
    }
    let hello = whole
        .1
        .map(|hello| (hello.server_name.is_some(), hello.alpn.len()));
    hash((whole.0, hello))
}

async fn look(stream: Stream, input: &[u8]) -> (String, Option<Hello>) {
    let forever = Duration::from_secs(3600);
    let limits = Limits {
        first_byte: forever,
        rest: forever,
    };
    match detect(stream, limits).await {
        Ok(Detected::Http(replay)) => ("http".into(), all(replay, input).await),
        Ok(Detected::Http2(replay)) => ("http2".into(), all(replay, input).await),
        Ok(Detected::Opaque(replay)) => ("opaque".into(), all(replay, input).await),
        Ok(Detected::Silent(_nothing)) => ("silent".into(), None),
        Ok(Detected::Tls(hello, replay)) => {
            all(replay, input).await;
            ("tls".into(), Some(hello))
        }
        Err((_stream, reason)) => (format!("{reason:?}"), None),
    }
}

/// Every byte is still to be read.
async fn all(mut replay: Replay<Stream>, input: &[u8]) -> Option<Hello> {
    let mut bytes = Vec::new();
    replay.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, input, "bytes were lost");
    None
}
