//! Stage 3, `detect`: HTTP, TLS or something else, by the first bytes.
//!
//! Takes the workload's stream, gives [`Detected`] with every byte still to be read. Reads a
//! bounded amount for a bounded time. Its bias: what is not clearly HTTP/1 or TLS is `Opaque`,
//! and opaque bytes go nowhere without a rule that says `tcp://`.

use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::{Instant, timeout_at};

use super::replay::Replay;
use crate::model::host::Host;
use crate::model::reason::Reason;

/// What a connection speaks, with all its bytes.
#[derive(Debug)]
pub enum Detected<S> {
    /// HTTP/1.x.
    Http(Replay<S>),
    /// HTTP/2 with prior knowledge (RFC 9113 section 3.3).
    Http2(Replay<S>),
    /// TLS, with what its ClientHello says.
    Tls(Hello, Replay<S>),
    /// Anything else.
    Opaque(Replay<S>),
    /// Nothing yet: a peer that waits for the server to speak first, or a slow one.
    Silent(Replay<S>),
}

/// What a ClientHello says; all of it is the workload's claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// SNI (RFC 6066 section 3), `None` where there is none.
    pub server_name: Option<Host>,
    /// ALPN protocols (RFC 7301), as offered.
    pub alpn: Vec<Box<[u8]>>,
}

/// How long and how much to look at.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the first byte.
    pub first_byte: Duration,
    /// For the rest of a ClientHello or of a request's first word.
    pub rest: Duration,
}

/// Looks at the first bytes of `stream`. Fails with [`Reason::Malformed`],
/// [`Reason::ClientHelloTimeout`] or [`Reason::DownstreamAborted`].
pub async fn detect<S: AsyncRead + Unpin>(
    mut stream: S,
    limits: Limits,
) -> Result<Detected<S>, (S, Reason)> {
    let mut seen = BytesMut::with_capacity(FIRST_READ);
    match timeout_at(
        Instant::now() + limits.first_byte,
        stream.read_buf(&mut seen),
    )
    .await
    {
        Err(_silent) => return Ok(Detected::Silent(Replay::new(Bytes::new(), stream))),
        Ok(Ok(1..)) => {}
        Ok(Ok(0) | Err(_)) => return Err((stream, Reason::DownstreamAborted)),
    }
    let deadline = Instant::now() + limits.rest;
    let mut reader = Reader::default();
    loop {
        match Guess::of(&seen) {
            Guess::Http => return Ok(Detected::Http(Replay::new(seen.freeze(), stream))),
            Guess::Http2 => return Ok(Detected::Http2(Replay::new(seen.freeze(), stream))),
            Guess::Opaque => return Ok(Detected::Opaque(Replay::new(seen.freeze(), stream))),
            Guess::Tls => match reader.read_on(&seen) {
                ClientHello::Whole(hello) => {
                    return Ok(Detected::Tls(hello, Replay::new(seen.freeze(), stream)));
                }
                ClientHello::Broken => return Err((stream, Reason::Malformed)),
                ClientHello::Part => {}
            },
            Guess::Part => {}
        }
        match more(&mut stream, &mut seen, deadline).await {
            Ok(()) => {}
            Err(reason) => return Err((stream, reason)),
        }
    }
}

/// Reads on until the deadline; the buffer never grows past [`MAX_SEEN`].
async fn more<S: AsyncRead + Unpin>(
    stream: &mut S,
    seen: &mut BytesMut,
    deadline: Instant,
) -> Result<(), Reason> {
    if seen.len() >= MAX_SEEN {
        return Err(Reason::Malformed);
    }
    seen.reserve(FIRST_READ);
    match timeout_at(deadline, stream.read_buf(seen)).await {
        Err(_elapsed) => Err(Reason::ClientHelloTimeout),
        Ok(Ok(1..)) => Ok(()),
        Ok(Ok(0) | Err(_)) => Err(Reason::DownstreamAborted),
    }
}

/// What the bytes so far look like.
#[derive(Debug, PartialEq, Eq)]
enum Guess {
    Http,
    Http2,
    Tls,
    Opaque,
    Part,
}

impl Guess {
    /// HTTP/1 starts with a method, in practice upper-case letters and `-`, and a space. A
    /// record of type handshake (22) and major version 3 is TLS (RFC 8446 section 5.1).
    fn of(seen: &[u8]) -> Self {
        match seen {
            [] | [22] => return Self::Part,
            [22, 3, ..] => return Self::Tls,
            _ => {}
        }
        if seen.starts_with(HTTP2_PREFACE) {
            return Self::Http2;
        }
        let method = seen
            .iter()
            .take_while(|byte| byte.is_ascii_uppercase() || **byte == b'-')
            .count();
        match seen.get(method) {
            _ if method > MAX_METHOD => Self::Opaque,
            None => Self::Part,
            Some(b' ') if method > 0 => match seen.get(method + 1) {
                None => Self::Part,
                // The preface, of which not all is here yet, is the one method with this target.
                Some(b'*') if HTTP2_PREFACE.starts_with(seen) => Self::Part,
                Some(_) => Self::Http,
            },
            Some(_) => Self::Opaque,
        }
    }
}

/// How much of a ClientHello is there.
enum ClientHello {
    Whole(Hello),
    Part,
    Broken,
}

/// Reads a ClientHello as it comes, each of its bytes once: they may come one by one.
#[derive(Default)]
struct Reader {
    acceptor: Acceptor,
    read: usize,
}

impl Reader {
    /// Reads what is new of all that was seen. rustls puts records together and checks every
    /// length.
    fn read_on(&mut self, seen: &[u8]) -> ClientHello {
        let mut new = &seen[self.read..];
        while !new.is_empty() {
            match self.acceptor.read_tls(&mut new as &mut dyn io::Read) {
                Ok(1..) => self.read = seen.len() - new.len(),
                Ok(0) | Err(_) => return ClientHello::Broken,
            }
            match self.acceptor.accept() {
                Ok(None) => {}
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    let server_name = match hello.server_name().map(str::parse) {
                        None => None,
                        Some(Ok(host)) => Some(host),
                        Some(Err(_invalid)) => return ClientHello::Broken,
                    };
                    let alpn = hello.alpn().into_iter().flatten().map(Box::from).collect();
                    return ClientHello::Whole(Hello { server_name, alpn });
                }
                Err(_broken) => return ClientHello::Broken,
            }
        }
        ClientHello::Part
    }
}

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const MAX_METHOD: usize = 32;
const FIRST_READ: usize = 4096;
/// A ClientHello may fill 2^16 bytes (RFC 8446 section 4 gives a 24-bit length; rustls takes
/// 0xffff), in records of their own.
const MAX_SEEN: usize = 72 * 1024;

#[cfg(test)]
mod tests;
