//! What agent and worker process say to each other. Bodies stay on the side that has them and go
//! by number; their pieces cross when the other side asks for one.

mod octets;

use std::io;

use http::HeaderMap;
use outbound_javascript::{self as javascript, Level, WorkerError};
use serde::{Deserialize, Serialize};

pub(super) use self::octets::Octets;
use crate::model::reason::Reason;

/// From the agent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// The module that calls are for from now on.
    Load(Load),
    /// What calls may be from.
    Introduce(Introduction),
    /// No call is from that any more.
    Retire(u64),
    /// Answer a request.
    Call(Call),
    /// Decide about a tunnel.
    Tunnel(Tunnel),
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
    Loaded(Result<Handlers, String>),
    /// A call is answered, or why not; where nothing of it is left, what it used.
    Answer {
        call: u64,
        result: Result<Answer, (Fault, String)>,
        over: Option<Usage>,
    },
    /// Nothing of a call is left that was answered before.
    Over { call: u64, usage: Usage },
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
    /// How many isolates there are now.
    Isolates(u64),
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
    pub(super) caches: Vec<String>,
    pub(super) cpu_ms: u64,
    pub(super) wall_ms: u64,
    pub(super) memory_bytes: u64,
    /// How many isolates there may be.
    pub(super) isolates: u64,
}

/// What a module does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Handlers {
    /// Whether something that it exports decides about tunnels.
    pub(super) has_connect: bool,
}

/// From what many calls are: said once.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Introduction {
    pub(super) number: u64,
    /// Whose isolate; empty for the one of all.
    pub(super) isolate: String,
    /// Which export; empty for the default one.
    pub(super) entrypoint: String,
    /// JSON.
    pub(super) env: String,
    /// Whether `env.url` is the URL of the request.
    pub(super) has_own_url: bool,
}

/// A request to answer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) number: u64,
    /// The number of an introduction.
    pub(super) from: u64,
    pub(super) head: RequestHead,
    pub(super) content: Content,
}

/// A tunnel to decide about.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tunnel {
    pub(super) number: u64,
    /// The number of an introduction.
    pub(super) from: u64,
    pub(super) host: String,
    pub(super) port: u16,
    /// What the workload sends.
    pub(super) content: Content,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestHead {
    pub(super) method: String,
    pub(super) url: String,
    pub(super) fields: Fields,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ResponseHead {
    pub(super) status: u16,
    pub(super) fields: Fields,
}

/// Header fields.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Fields {
    /// A line for each name and for each value, and the agent's number of them.
    Numbered(u64, Octets),
    /// Lines alone: the worker's own.
    Lines(Octets),
    /// Exactly those that the agent has under this number, which is used once.
    Kept(u64),
}

/// What a module made of a call.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Response(ResponseHead, Content),
    /// Whatever this request is answered.
    Fetch(RequestHead, Content),
    /// Whatever the call's own request is answered, as it came.
    Pass,
    /// The tunnel is refused.
    Refuse(String),
    /// It goes on to this host and port.
    Forward(String, u16),
    /// The worker is its other end.
    Tunnel(Content),
}

/// What a call came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Usage {
    pub(super) cpu_us: u64,
    /// Tasks and bodies that were cut before their end.
    pub(super) cut: u32,
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
    NoHandler,
    Crowded,
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
            | WorkerError::Engine { .. } => Self::Exception,
            WorkerError::NoHandler { .. } => Self::NoHandler,
            WorkerError::Crowded => Self::Crowded,
            WorkerError::Poisoned(_) => Self::Poisoned,
        }
    }

    pub(super) const fn reason(self) -> Reason {
        match self {
            Self::Load => Reason::WorkerUnavailable,
            Self::Cpu => Reason::WorkerCpu,
            Self::Timeout => Reason::WorkerTimeout,
            Self::Memory => Reason::WorkerMemory,
            Self::Exception | Self::NoHandler => Reason::WorkerException,
            Self::Poisoned => Reason::WorkerDied,
            Self::Crowded => Reason::WorkerLimit,
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

impl Fields {
    /// The agent's, which it keeps under this number.
    pub(super) fn numbered(number: u64, headers: &HeaderMap) -> Self {
        let fields = javascript::Fields::from(headers);
        Self::Numbered(number, Octets(fields.lines().clone()))
    }
}

impl From<javascript::RequestHead> for RequestHead {
    fn from(head: javascript::RequestHead) -> Self {
        Self {
            method: head.method.as_str().to_owned(),
            url: head.url,
            fields: (&head.headers).into(),
        }
    }
}

/// As the worker hands them on.
impl From<&javascript::Fields> for Fields {
    fn from(fields: &javascript::Fields) -> Self {
        match fields.handle {
            Some(number) => Self::Kept(number),
            None => Self::Lines(Octets(fields.lines().clone())),
        }
    }
}

/// As the worker is given them.
impl From<Fields> for javascript::Fields {
    fn from(fields: Fields) -> Self {
        match fields {
            Fields::Numbered(number, Octets(lines)) => Self::with_handle(lines, number),
            Fields::Lines(Octets(lines)) => Self::from_lines(lines),
            // The agent says what it has.
            Fields::Kept(_) => Self::default(),
        }
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
    use bytes::Bytes;

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
