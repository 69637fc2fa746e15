//! Where one request ends and the next begins, by the strictest reading of RFC 9112.
//!
//! A pure machine over bytes: what it says depends on the bytes alone, not on how they were cut
//! into reads.

use http::Method;

use super::chunks::{Chunks, Progress};
use super::head::{self, Body, Head};
use crate::model::reason::Reason;

/// How much a request's head may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Its size.
    pub header_bytes: usize,
    /// Its number of fields.
    pub headers: usize,
}

/// Reads requests one after the other.
#[derive(Debug)]
pub(super) struct Framing {
    limits: Limits,
    state: State,
    requests: u64,
    refusal: Option<Refusal>,
}

/// Why a request is refused, and its method and target if they are sound.
pub(super) type Refusal = (Reason, Option<(Method, Box<str>)>);

#[derive(Debug)]
enum State {
    /// A head begins or goes on; so much of it was looked at.
    Head { seen: usize },
    /// So many bytes of a body are left.
    Length { left: u64, then_switch: bool },
    /// A chunked body goes on.
    Chunked {
        chunks: Box<Chunks>,
        then_switch: bool,
    },
    /// The request before may have changed the protocol.
    Switch,
    /// What follows is not HTTP/1.
    Raw,
    /// Nothing more is read: a request is refused.
    Refused,
    /// Nothing more is read: a body has broken off.
    Broken(Reason),
}

impl Framing {
    pub(super) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            state: State::Head { seen: 0 },
            requests: 0,
            refusal: None,
        }
    }

    /// How many requests' heads were passed.
    pub(super) const fn requests(&self) -> u64 {
        self.requests
    }

    /// Why a body has broken off.
    pub(super) const fn broken(&self) -> Option<Reason> {
        match self.state {
            State::Broken(reason) => Some(reason),
            _ => None,
        }
    }

    pub(super) const fn is_refused(&self) -> bool {
        matches!(self.state, State::Refused)
    }

    pub(super) const fn may_switch(&self) -> bool {
        matches!(self.state, State::Switch)
    }

    /// Whether it goes on with more bytes.
    pub(super) const fn wants_more(&self) -> bool {
        self.broken().is_none() && !self.is_refused() && !self.may_switch()
    }

    /// The answer to a request that may change the protocol is known.
    pub(super) fn switch(&mut self, has_switched: bool) {
        self.state = if has_switched {
            State::Raw
        } else {
            State::Head { seen: 0 }
        };
    }

    /// Once, after a request was refused: why, with its method and target if they are sound.
    pub(super) fn take_refusal(&mut self) -> Option<Refusal> {
        self.refusal.take()
    }

    /// Reads `bytes`, which begin where the last call's result ended. Gives how many of them may
    /// be passed on; what is behind them has to come again, with more behind it.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        // Where the request begins whose body is being read, if in these bytes.
        let mut begun = None;
        loop {
            let rest = &bytes[at..];
            match &mut self.state {
                State::Head { seen } => match head::next(rest, *seen, self.limits) {
                    Ok(Some((head, end))) => {
                        begun = Some(at);
                        self.requests += 1;
                        at += end;
                        self.state = State::after(&head);
                    }
                    Ok(None) => {
                        *seen = rest.len();
                        return at;
                    }
                    Err(reason) => return self.refuse(reason, bytes, at),
                },
                State::Length { left, then_switch } => {
                    let taken =
                        usize::try_from(*left).map_or(rest.len(), |left| left.min(rest.len()));
                    at += taken;
                    *left -= taken as u64;
                    if *left > 0 {
                        return at;
                    }
                    self.state = State::behind(*then_switch);
                }
                State::Chunked {
                    chunks,
                    then_switch,
                } => match chunks.advance(rest) {
                    Ok(Progress::More) => return bytes.len(),
                    Ok(Progress::Whole(end)) => {
                        at += end;
                        self.state = State::behind(*then_switch);
                    }
                    Err(reason) => match begun {
                        // None of it was passed on: it can still be answered as a whole.
                        Some(begun) => {
                            self.requests -= 1;
                            return self.refuse(reason, bytes, begun);
                        }
                        None => {
                            self.state = State::Broken(reason);
                            return at;
                        }
                    },
                },
                State::Raw => return bytes.len(),
                State::Switch | State::Refused | State::Broken(_) => return at,
            }
        }
    }

    fn refuse(&mut self, reason: Reason, bytes: &[u8], at: usize) -> usize {
        self.state = State::Refused;
        self.refusal = Some((reason, head::line(&bytes[at..])));
        at
    }
}

impl State {
    fn after(head: &Head) -> Self {
        let then_switch = head.may_switch;
        match head.body {
            Body::Length(0) => Self::behind(then_switch),
            Body::Length(left) => Self::Length { left, then_switch },
            Body::Chunked => Self::Chunked {
                chunks: Box::default(),
                then_switch,
            },
        }
    }

    const fn behind(then_switch: bool) -> Self {
        if then_switch {
            Self::Switch
        } else {
            Self::Head { seen: 0 }
        }
    }
}
