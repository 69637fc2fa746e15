//! Bodies that stay in the agent, for a worker that knows their numbers.

use std::time::Duration;

use http_body::Body as _;
use tokio::time::timeout;

use super::super::is_over_at_once;
use super::body::next_octets;
use super::{Link, State};
use crate::path::http::body::Source;

/// What is read of an answer that nobody wants: less than another connection costs.
const UNWANTED_BYTES: usize = 64 << 10;
/// For how long it is read.
const UNWANTED_FOR: Duration = Duration::from_secs(1);

/// A body; away while a piece of it is read.
pub(super) struct Held {
    source: Option<Source>,
    /// The call whose own request's it is, where it is one's.
    call: Option<u64>,
    is_read: bool,
    is_unwanted: bool,
}

impl Held {
    pub(super) const fn new(source: Source, call: Option<u64>) -> Self {
        Self {
            source: Some(source),
            call,
            is_read: false,
            is_unwanted: false,
        }
    }

    /// Lets a piece be read from it.
    pub(super) fn take_to_read(&mut self) -> Option<Source> {
        self.is_read = true;
        self.source.take()
    }

    /// The body, unless a piece of it is being read.
    pub(super) fn into_source(self) -> Option<Source> {
        self.source
    }

    pub(super) fn give_back(&mut self, source: Source) {
        self.source = Some(source);
    }
}

impl Link {
    pub(super) fn take_body(&self, handle: u64) -> Option<Source> {
        self.state().bodies.remove(&handle)?.into_source()
    }

    /// The worker does not want a body. A call's own is kept until the call is answered: should
    /// that fail, the request may go on with it.
    pub(super) fn cancel(&self, handle: u64) {
        let mut state = self.state();
        let State { calls, bodies, .. } = &mut *state;
        let Some(held) = bodies.get_mut(&handle) else {
            return;
        };
        let call = held.call.and_then(|call| calls.get(&call));
        if call.is_some_and(|call| call.reply.is_some()) {
            held.is_unwanted = true;
            return;
        }
        let gone = bodies.remove(&handle);
        drop(state);
        if let Some(gone) = gone {
            self.give_up(gone);
        }
    }

    /// Reads what is left of an answer, where that is little: its connection then serves again.
    pub(super) fn give_up(&self, held: Held) {
        let Some(mut source) = held.source.filter(|_| held.call.is_none()) else {
            return;
        };
        if source.size_hint().lower() > UNWANTED_BYTES as u64 {
            return;
        }
        let mut reading = Box::pin(async move {
            let mut left = UNWANTED_BYTES;
            while let Ok(Some(octets)) = next_octets(&mut source).await
                && octets.len() <= left
            {
                left -= octets.len();
            }
        });
        // Most often it is here with its head.
        if !is_over_at_once(reading.as_mut()) {
            self.tasks.spawn("worker body", async move {
                // Dropped unread, it closes its connection.
                let _read = timeout(UNWANTED_FOR, reading).await;
            });
        }
    }

    /// What becomes of a call's own body with its answer: given back where the call has failed
    /// and nothing of the body is gone.
    pub(super) fn settle(&self, handle: u64, has_failed: bool) -> Option<Source> {
        let mut state = self.state();
        let held = state.bodies.get(&handle)?;
        if !has_failed && !held.is_unwanted {
            return None;
        }
        let Held {
            source, is_read, ..
        } = state.bodies.remove(&handle)?;
        drop(state);
        source.filter(|_| has_failed && !is_read)
    }
}
