//! What of an HTTP/1 connection may be read at all: a strict reader of its framing stands
//! between the wire and hyper.
//!
//! Two servers that read one request in two ways are how requests are smuggled. hyper repairs
//! some of what is ambiguous and answers the rest without a record; so the guard looks first,
//! and passes on nothing that RFC 9112 lets anybody read in another way. In the place of a
//! request that is refused hyper gets one that says so ([`Refused`], among its extensions) and
//! asks for the connection to be closed: the answer and its record are the story's, in order
//! behind those of the requests before it.

mod chunks;
mod framing;
mod head;

use std::error::Error;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, BytesMut};
use http::{Method, Request, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::framing::Framing;
pub use self::framing::Limits;
use super::interim::Interim;
use crate::model::reason::Reason;

/// A connection of which only well-formed requests are read.
#[derive(Debug)]
pub struct Guard<S> {
    inner: S,
    framing: Framing,
    /// Read, and not passed on yet.
    held: BytesMut,
    /// How much of `held` may be passed on.
    cleared: usize,
    watch: Watch,
    /// Interim responses that are on their way out.
    writing: BytesMut,
}

/// Says what the guard found. Clones say the same.
#[derive(Clone, Debug, Default)]
pub struct Watch(Arc<Mutex<Found>>);

#[derive(Debug, Default)]
struct Found {
    /// How many requests were passed on before the one that is refused, and why it is.
    refused: Option<(u64, Refused)>,
    /// Whether it ended within a request's head.
    ended_midway: bool,
    /// How many requests were answered.
    answered: u64,
    /// Whether the last answer has changed the protocol.
    has_switched: bool,
    /// Waits for an answer.
    waker: Option<Waker>,
    /// Interim responses to the next request that is answered.
    interim: BytesMut,
    /// Waits for interim responses.
    writer: Option<Waker>,
}

/// Why a request is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// Whether method and target are the request's own.
    pub has_line: bool,
}

/// A body that breaks the framing midway.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body's framing is broken")]
pub struct Broken(Reason);

impl Broken {
    /// Why the guard broke off a body, if it is what an error comes from.
    pub fn within(error: &(dyn Error + 'static)) -> Option<Reason> {
        let mut cause = Some(error);
        while let Some(error) = cause {
            let inner = error
                .downcast_ref::<io::Error>()
                .and_then(io::Error::get_ref);
            if let Some(Self(reason)) = inner.and_then(|inner| inner.downcast_ref()) {
                return Some(*reason);
            }
            cause = error.source();
        }
        None
    }
}

impl<S> Guard<S> {
    /// Reads requests from `inner`.
    pub fn new(inner: S, limits: Limits) -> (Self, Watch) {
        let watch = Watch::default();
        let guard = Self {
            inner,
            framing: Framing::new(limits),
            held: BytesMut::new(),
            cleared: 0,
            watch: watch.clone(),
            writing: BytesMut::new(),
        };
        (guard, watch)
    }

    /// Judges what was read: how much of `fresh` may go on. Puts what stands for a refused
    /// request behind it.
    fn judge(framing: &mut Framing, watch: &Watch, fresh: &[u8]) -> (usize, Option<BytesMut>) {
        let passes = framing.advance(fresh);
        let instead = framing.take_refusal().map(|(reason, line)| {
            let has_line = line.is_some();
            let refused = Refused { reason, has_line };
            watch.lock().refused = Some((framing.requests(), refused));
            stand_in(line)
        });
        (passes, instead)
    }
}

/// A request that hyper can read in the place of one that nobody should. The method is the
/// refused one's, so that the answer to `HEAD` has no body.
fn stand_in(line: Option<(Method, Box<str>)>) -> BytesMut {
    let (method, target) = line.unwrap_or((Method::GET, "/".into()));
    let head = format!("{method} {target} HTTP/1.1\r\nconnection: close\r\n\r\n");
    BytesMut::from(head.as_bytes())
}

impl Watch {
    /// Marks the request number `index` (from 0) where it stands for one that is refused.
    pub fn mark<B>(&self, index: u64, request: &mut Request<B>) {
        if request.version() == Version::HTTP_11 {
            let watch = self.clone();
            request.extensions_mut().insert(Interim { watch, index });
        }
        if let Some((refused_at, refused)) = self.lock().refused
            && refused_at == index
        {
            request.extensions_mut().insert(refused);
        }
    }

    /// Writes an interim response (RFC 9110 section 15.2) to request number `index`, unless that
    /// has its answer already, or nobody reads them.
    pub(super) fn interim(&self, index: u64, head: &[u8]) {
        let mut found = self.lock();
        if found.answered > index || found.interim.len() + head.len() > MAX_INTERIM {
            return;
        }
        found.interim.extend_from_slice(head);
        if let Some(writer) = found.writer.take() {
            writer.wake();
        }
    }

    /// The next request was answered: what follows is HTTP, or another protocol.
    pub fn answered(&self, has_switched: bool) {
        let mut found = self.lock();
        found.answered += 1;
        found.interim.clear();
        found.has_switched = has_switched;
        if let Some(waker) = found.waker.take() {
            waker.wake();
        }
    }

    /// Whether the connection ended within a request's head.
    pub fn ended_midway(&self) -> bool {
        self.lock().ended_midway
    }

    fn lock(&self) -> MutexGuard<'_, Found> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + Unpin> Guard<S> {
    /// Judges what is held; `false` where it is not enough to pass anything on.
    fn clear_held(&mut self) -> bool {
        let (passes, instead) = Self::judge(&mut self.framing, &self.watch, &self.held);
        if let Some(instead) = instead {
            self.held.truncate(passes);
            self.held.extend_from_slice(&instead);
            self.cleared = self.held.len();
        } else {
            self.cleared = passes;
        }
        self.cleared > 0
    }

    /// Reads more behind what is held. Gives how much.
    fn poll_hold(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [0; READ];
        let mut buffer = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buffer))?;
        self.held.extend_from_slice(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Reads straight into `buffer`, and takes back what may not be passed on yet. Gives
    /// whether anything may, or the end was reached.
    fn poll_through(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        let fresh = &buffer.filled()[before..];
        if fresh.is_empty() {
            return Poll::Ready(Ok(true));
        }
        let (passes, instead) = Self::judge(&mut self.framing, &self.watch, fresh);
        match instead {
            Some(instead) => {
                self.cleared = instead.len();
                self.held = instead;
            }
            None => self.held.extend_from_slice(&fresh[passes..]),
        }
        buffer.set_filled(before + passes);
        Poll::Ready(Ok(passes > 0))
    }

    /// After a refusal: what still comes is read, so that closing does not destroy the answer.
    fn poll_discard(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            self.held.clear();
            if ready!(self.poll_hold(cx))? == 0 {
                // The answer is still to be written: this is not the end of the connection.
                return Poll::Pending;
            }
        }
    }

    /// Waits for the answer to a request that may change the protocol: only then it is known
    /// what its next bytes are.
    fn poll_switch(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut found = self.watch.lock();
        if found.answered < self.framing.requests() {
            found.waker = Some(cx.waker().clone());
            return Poll::Pending;
        }
        self.framing.switch(found.has_switched);
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let guard = &mut *self;
        loop {
            if guard.cleared > 0 {
                let length = guard.cleared.min(buffer.remaining());
                buffer.put_slice(&guard.held[..length]);
                guard.held.advance(length);
                guard.cleared -= length;
                return Poll::Ready(Ok(()));
            }
            if let Some(reason) = guard.framing.broken() {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    Broken(reason),
                )));
            }
            if guard.framing.is_refused() {
                return guard.poll_discard(cx);
            }
            if guard.framing.may_switch() {
                ready!(guard.poll_switch(cx));
            }
            if guard.held.is_empty() {
                if ready!(guard.poll_through(cx, buffer))? {
                    return Poll::Ready(Ok(()));
                }
            } else if !guard.clear_held()
                && guard.framing.wants_more()
                && ready!(guard.poll_hold(cx))? == 0
            {
                guard.watch.lock().ended_midway = true;
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Guard<S> {
    /// Writes the rest of what has begun to go out.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.writing.is_empty() {
            match ready!(Pin::new(&mut self.inner).poll_write(cx, &self.writing))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                written => self.writing.advance(written),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Takes what is to go out now; where that is nothing, is woken when there is something.
    fn has_interim(&mut self, cx: &Context<'_>) -> bool {
        let mut found = self.watch.lock();
        self.writing = mem::take(&mut found.interim);
        if self.writing.is_empty() {
            match &found.writer {
                Some(writer) if writer.will_wake(cx.waker()) => {}
                Some(_) | None => found.writer = Some(cx.waker().clone()),
            }
        }
        !self.writing.is_empty()
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_interim(cx))?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    /// hyper flushes when all that it has to say is written: in front of an answer, that is
    /// where interim responses belong.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let guard = &mut *self;
        loop {
            ready!(guard.poll_interim(cx))?;
            ready!(Pin::new(&mut guard.inner).poll_flush(cx))?;
            if !guard.has_interim(cx) {
                return Poll::Ready(Ok(()));
            }
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Waits to be written in front of one answer.
const MAX_INTERIM: usize = 64 * 1024;
/// Read at once while a head is put together.
const READ: usize = 4096;

#[cfg(test)]
mod tests;
