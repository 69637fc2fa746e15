//! What one invocation has under way: all of it ends with it.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::{Decision, Given, Rest, Usage};
use crate::error::WorkerError;
use crate::fields::Fields;
use crate::host::Host;
use crate::message::{Body, BodyWriter, Chunks, RequestHead};

/// An invocation and what it opened.
pub(crate) struct Invocation {
    /// The caller's number of it.
    pub(crate) call: u64,
    /// Where its answer goes, until it has one.
    pub(crate) reply: Option<oneshot::Sender<Result<(Answer, Rest), WorkerError>>>,
    /// Told when all of it is over.
    pub(crate) finished: Option<oneshot::Sender<Usage>>,
    pub(crate) started: Instant,
    pub(crate) cpu: Duration,
    pub(crate) subrequests: u32,
    /// What keeps it alive after its answer, besides bodies that it still writes.
    pub(crate) holds: u32,
    /// Tasks and bodies that were cut.
    pub(crate) cut: u32,
    /// When what is held is cut, once it has its answer.
    pub(crate) until: Option<Instant>,
    /// What the module waits for; nothing runs yet where it is a request that was not sent.
    pub(crate) operations: BTreeMap<u32, Option<AbortHandle>>,
    /// Requests to send when the engine has been left.
    pub(crate) unsent: Vec<Unsent>,
    /// The operation of that one of them whose response is the answer.
    pub(crate) unseen: Option<u32>,
    /// Requests and responses that the module was given and has not looked into.
    pub(crate) requests: BTreeMap<u32, Asked>,
    pub(crate) responses: BTreeMap<u32, Received>,
    pub(crate) heads: BTreeMap<u32, Fields>,
    pub(crate) bodies: BTreeMap<u32, Source>,
    pub(crate) writers: BTreeMap<u32, BodyWriter>,
}

/// A request as the module was given it; its fields and its body by number, 0 is no body.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) head: u32,
    pub(crate) body: u32,
}

/// A request that the module has made.
pub(crate) struct Unsent {
    pub(crate) operation: u32,
    pub(crate) head: RequestHead,
    /// None for no body at all.
    pub(crate) body: Option<Source>,
    /// Whether it is the invocation's own, as it came.
    pub(crate) is_own: bool,
}

/// A response as the module was given it.
pub(crate) struct Received {
    pub(crate) status: StatusCode,
    pub(crate) status_text: Option<String>,
    /// Of the request.
    pub(crate) url: String,
    pub(crate) head: u32,
    pub(crate) body: u32,
}

impl Invocation {
    pub(crate) fn new(call: u64) -> Self {
        Self {
            call,
            reply: None,
            finished: None,
            started: Instant::now(),
            cpu: Duration::ZERO,
            subrequests: 0,
            holds: 0,
            cut: 0,
            until: None,
            operations: BTreeMap::new(),
            unsent: Vec::new(),
            unseen: None,
            requests: BTreeMap::new(),
            responses: BTreeMap::new(),
            heads: BTreeMap::new(),
            bodies: BTreeMap::new(),
            writers: BTreeMap::new(),
        }
    }

    /// Takes a body to hand it on, which may be none at all; `None` where it is gone.
    pub(crate) fn take_body(&mut self, number: u32) -> Option<Option<Source>> {
        match number {
            0 => Some(None),
            number => self.bodies.remove(&number).map(Some),
        }
    }

    /// Fields to hand on. Their number is good for one time: who has it may then forget them.
    pub(crate) fn use_head(&mut self, number: u32) -> Option<Fields> {
        let head = self.heads.get_mut(&number)?;
        let used = head.clone();
        head.handle = None;
        Some(used)
    }

    /// Whether a body has been handed on or read.
    pub(crate) fn is_used(&self, body: u32) -> bool {
        body != 0 && !self.bodies.contains_key(&body)
    }

    /// Whether nothing of it is needed any longer.
    pub(crate) fn is_over(&self) -> bool {
        self.reply.is_none() && self.holds == 0 && self.writers.is_empty()
    }

    /// Stops all that it has under way; gives how many tasks and bodies were cut.
    pub(crate) fn end(mut self) -> u32 {
        let written = u32::try_from(self.writers.len()).unwrap_or(u32::MAX);
        let cut = self.cut.saturating_add(self.holds).saturating_add(written);
        for operation in self.operations.values().flatten() {
            operation.abort();
        }
        let usage = Usage {
            cpu: self.cpu,
            wall: self.started.elapsed(),
            cut,
        };
        if let Some(finished) = self.finished.take() {
            // Whoever called may not care.
            finished.send(usage).ok();
        }
        cut
    }
}

/// What a handler gave.
pub(crate) enum Answer {
    /// Of `fetch`.
    Given(Given),
    /// Of `connect`.
    Tunnel(Decision),
}

/// A body that the module may read.
pub(crate) enum Source {
    /// The host's.
    Handle(Handle),
    /// All here.
    Bytes(Bytes),
    /// Being written by somebody else.
    Stream(Chunks),
}

impl Source {
    /// Gives `None` for no body at all.
    pub(crate) fn new(body: Body, host: &Rc<dyn Host>) -> Option<Self> {
        match body {
            Body::Empty => None,
            Body::Bytes(bytes) => Some(Self::Bytes(bytes)),
            Body::Handle(number) => Some(Self::Handle(Handle {
                host: host.clone(),
                number: Some(number),
            })),
            Body::Stream(chunks) => Some(Self::Stream(chunks)),
        }
    }

    /// Hands it on, unread as it is.
    pub(crate) fn into_body(self) -> Body {
        match self {
            Self::Handle(mut handle) => handle.number.take().map_or(Body::Empty, Body::Handle),
            Self::Bytes(bytes) => Body::Bytes(bytes),
            Self::Stream(chunks) => Body::Stream(chunks),
        }
    }

    /// The next chunk, and the rest where there is one; no chunk is the end.
    pub(crate) async fn read(self) -> Result<(Option<Bytes>, Option<Self>), String> {
        match self {
            Self::Bytes(bytes) if bytes.is_empty() => Ok((None, None)),
            Self::Bytes(bytes) => Ok((Some(bytes), Some(Self::Bytes(Bytes::new())))),
            Self::Stream(mut chunks) => match chunks.next().await {
                None => Ok((None, None)),
                Some(Ok(chunk)) => Ok((Some(chunk), Some(Self::Stream(chunks)))),
                Some(Err(error)) => Err(error.to_string()),
            },
            Self::Handle(mut handle) => {
                let Some(number) = handle.number else {
                    return Ok((None, None));
                };
                match handle.host.read(number).await {
                    Ok(Some(chunk)) => Ok((Some(chunk), Some(Self::Handle(handle)))),
                    Ok(None) => {
                        handle.number = None;
                        Ok((None, None))
                    }
                    Err(error) => {
                        handle.number = None;
                        Err(error.message)
                    }
                }
            }
        }
    }
}

/// A body of the host that is given up when nobody has it any longer.
pub(crate) struct Handle {
    host: Rc<dyn Host>,
    number: Option<u64>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Some(number) = self.number.take() {
            self.host.cancel(number);
        }
    }
}
