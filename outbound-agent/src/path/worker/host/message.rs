//! What agent and worker process say to each other. Bodies stay on the side that has them and go
//! by number; their pieces cross when the other side asks for one.

use std::io;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use outbound_javascript::{Level, WorkerError};
use serde::{Deserialize, Serialize};

use crate::model::reason::Reason;

/// From the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// The module that calls are for from now on.
    Load(Load),
    /// Answer a request.
    Call(Call),
    /// Nobody waits for a call any more.
    Abandon { call: u64 },
    /// A request was answered, or was not.
    Fetched {
        errand: u64,
        result: Result<(ResponseHead, Content), String>,
    },
    /// A piece of the agent's body; none after its end.
    Chunk {
        errand: u64,
        result: Result<Option<Octets>, String>,
    },
    /// A token, and for how many milliseconds it may be used again.
    Signed {
        errand: u64,
        result: Result<(String, u64), String>,
    },
    /// The next piece of the worker's body is wanted.
    Pull { stream: u64 },
    /// The rest of it is not.
    Unwanted { stream: u64 },
    /// Are you there?
    Ping(u64),
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToAgent {
    /// The module loads, or why not.
    Loaded(Result<(), String>),
    /// A call is answered, or why not.
    Answer {
        call: u64,
        result: Result<(ResponseHead, Content), (Fault, String)>,
    },
    /// Nothing of a call is left; this many of its tasks were cut.
    Over { call: u64, cut: u32 },
    /// Send a request.
    Fetch {
        errand: u64,
        call: u64,
        head: RequestHead,
        content: Content,
    },
    /// The next piece of the agent's body is wanted.
    Read { errand: u64, handle: u64 },
    /// The rest of it is not.
    Cancel { handle: u64 },
    /// Sign these claims (JSON) with a secret.
    Sign {
        errand: u64,
        secret: String,
        claims: String,
        expires_in_ms: Option<u64>,
    },
    /// Nobody waits for an errand any more.
    Forget { errand: u64 },
    /// A line of `console`.
    Console { call: u64, level: u8, text: String },
    /// A piece of the worker's body.
    Piece { stream: u64, piece: Piece },
    /// I am here.
    Pong(u64),
}

/// A module, and what its isolates may use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Load {
    /// Path and source of each file.
    pub(super) files: Vec<(String, String)>,
    pub(super) main: String,
    pub(super) secrets: Vec<String>,
    pub(super) cpu_ms: u64,
    pub(super) wall_ms: u64,
    pub(super) memory_bytes: u64,
}

/// A request to answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) number: u64,
    /// Whose isolate; empty for the one of all.
    pub(super) isolate: String,
    /// Which export; empty for the default one.
    pub(super) entrypoint: String,
    pub(super) head: RequestHead,
    pub(super) content: Content,
    /// JSON.
    pub(super) env: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestHead {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) headers: Fields,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) headers: Fields,
}

/// A body, or where it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Content {
    Empty,
    Whole(Octets),
    /// The agent's.
    Handle(u64),
    /// The worker's.
    Stream(u64),
}

/// A part of the worker's body.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Piece {
    Data(Octets),
    End,
    Failed(String),
}

/// What kind of failure a [`WorkerError`] is.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Fault {
    Load,
    Cpu,
    Timeout,
    Memory,
    Exception,
    Poisoned,
}

impl Fault {
    pub(super) const fn of(error: &WorkerError) -> Self {
        match error {
            WorkerError::Load { .. } => Self::Load,
            WorkerError::Cpu => Self::Cpu,
            WorkerError::Timeout => Self::Timeout,
            WorkerError::Memory => Self::Memory,
            WorkerError::Exception { .. }
            | WorkerError::NotAResponse { .. }
            | WorkerError::NeverSettled
            | WorkerError::NoHandler { .. }
            | WorkerError::Engine { .. } => Self::Exception,
            WorkerError::Poisoned(_) => Self::Poisoned,
        }
    }

    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Load => Reason::WorkerUnavailable,
            Self::Cpu => Reason::WorkerCpu,
            Self::Timeout => Reason::WorkerTimeout,
            Self::Memory => Reason::WorkerMemory,
            Self::Exception => Reason::WorkerException,
            Self::Poisoned => Reason::WorkerDied,
        }
    }
}

/// A number for a level of `console`.
pub(super) const fn level_number(level: Level) -> u8 {
    match level {
        Level::Debug => 0,
        Level::Info => 1,
        Level::Warn => 2,
        Level::Error => 3,
    }
}

/// Header fields in their order.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Fields(Vec<(String, Octets)>);

impl From<&HeaderMap> for Fields {
    fn from(headers: &HeaderMap) -> Self {
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            let value = Bytes::copy_from_slice(value.as_bytes());
            (name.as_str().to_owned(), Octets(value))
        };
        Self(headers.iter().map(field).collect())
    }
}

impl Fields {
    /// As a map; nothing where a name or a value is none.
    pub(super) fn into_map(self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::with_capacity(self.0.len());
        for (name, value) in self.0 {
            let name: HeaderName = name.parse().ok()?;
            headers.append(name, HeaderValue::from_maybe_shared(value.0).ok()?);
        }
        Some(headers)
    }
}

/// Octets, written as such.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Octets(pub(super) Bytes);

impl Serialize for Octets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Octets;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("octets")
            }

            fn visit_bytes<E>(self, octets: &[u8]) -> Result<Octets, E> {
                Ok(Octets(Bytes::copy_from_slice(octets)))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Longer frames are no frames.
const MOST_FRAME_BYTES: usize = 64 << 20;
const LENGTH_BYTES: usize = 4;

/// Appends a message: its length in four octets, and itself.
pub(super) fn encode(message: &impl Serialize, into: &mut Vec<u8>) -> io::Result<()> {
    let at = into.len();
    into.extend([0; LENGTH_BYTES]);
    let rest = postcard::to_extend(message, std::mem::take(into)).map_err(io::Error::other)?;
    *into = rest;
    let length = into.len() - at - LENGTH_BYTES;
    let length = u32::try_from(length).map_err(io::Error::other)?;
    into[at..at + LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Takes the first message, once all of it is there.
pub(super) fn decode<T: serde::de::DeserializeOwned>(
    from: &mut bytes::BytesMut,
) -> io::Result<Option<T>> {
    let Some(length) = from.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if length > MOST_FRAME_BYTES {
        return Err(io::Error::other("a frame is longer than any can be"));
    }
    if from.len() < LENGTH_BYTES + length {
        from.reserve(LENGTH_BYTES + length - from.len());
        return Ok(None);
    }
    let frame = from.split_to(LENGTH_BYTES + length);
    let message = postcard::from_bytes(&frame[LENGTH_BYTES..]).map_err(io::Error::other)?;
    Ok(Some(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_however_it_is_cut() {
        let mut written = Vec::new();
        let octets = Octets(Bytes::from_static(b"\0\xff"));
        encode(&ToWorker::Ping(7), &mut written).unwrap();
        let chunk = ToWorker::Chunk {
            errand: 8,
            result: Ok(Some(octets)),
        };
        encode(&chunk, &mut written).unwrap();
        let mut buffer = bytes::BytesMut::new();
        let mut read = Vec::new();
        for octet in written {
            buffer.extend_from_slice(&[octet]);
            while let Some(message) = decode::<ToWorker>(&mut buffer).unwrap() {
                read.push(format!("{message:?}"));
            }
        }
        assert_eq!(read, ["Ping(7)".to_owned(), format!("{chunk:?}")]);
    }

    #[test]
    fn a_frame_that_is_too_long_is_none() {
        let mut buffer = bytes::BytesMut::from(&[0xff; 8][..]);
        assert!(decode::<ToAgent>(&mut buffer).is_err());
    }
}
