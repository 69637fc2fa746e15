//! Bodies on their way: streamed as they come, counted, timed, and known to have ended or not.

mod broken;
mod timed;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;

use self::timed::Timed;
use super::interim::Expected;
use crate::model::reason::{Ending, Reason};
use crate::model::stop::Waits;
use crate::model::traffic::Traffic;

/// Told once how the body ended, also when it is dropped midway.
pub type OnEnd = Box<dyn FnOnce(Ending) + Send>;

/// Why a body broke off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its sender failed.
    #[error("the body broke off")]
    Broken(#[from] hyper::Error),
    /// Nothing came for too long.
    #[error("nothing of the body came in time")]
    Idle,
    /// A worker made it and did not finish it.
    #[error("the outbound worker did not finish the body")]
    Unfinished,
    /// A limit of the tenant.
    #[error("the body was stopped: {}", .0.label())]
    Stopped(Reason),
    /// It is not what it would have to be to be changed as it passes.
    #[error("the body cannot be read")]
    Filtered,
}

/// A body as it comes, from whoever sends it.
pub enum Source {
    /// The other side of a connection.
    Incoming(Incoming),
    /// All of it is here.
    Whole(Bytes),
    /// A connection's again, that is counted and reports its end.
    Streamed(Box<Streamed>),
    /// Somebody within the agent.
    Made(Pin<Box<dyn http_body::Body<Data = Bytes, Error = Error> + Send>>),
}

/// The body of a response to the workload.
pub enum Body {
    /// The agent's own words.
    Whole(Bytes),
    /// The upstream's, as it comes.
    Streamed(Streamed),
}

/// An upstream's body that reports its end.
pub struct Streamed {
    inner: Timed,
    traffic: Arc<dyn Traffic>,
    on_end: Option<OnEnd>,
}

impl Streamed {
    /// Passes `inner` on, counts it as received and says how it ended. Between two pieces of
    /// it `idle` may pass.
    pub fn new(
        inner: impl Into<Source>,
        traffic: Arc<dyn Traffic>,
        idle: Duration,
        on_end: OnEnd,
    ) -> Self {
        Self {
            inner: Timed::new(inner.into(), idle),
            traffic,
            on_end: Some(on_end),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Self { inner, traffic, .. } = &mut *self;
        let polled = ready!(inner.poll_frame((&**traffic, Waits::Received), cx));
        match &polled {
            None => self.end(Ending::COMPLETED),
            Some(Err(error)) => self.end(Ending::of(error.in_response())),
            Some(Ok(frame)) => {
                let traffic = &self.traffic;
                traffic.count_received(frame.data_ref().map_or(0, Bytes::len));
                if let Err(reason) = self.inner.follow(traffic.pace_received()) {
                    self.end(Ending::of(reason));
                    return Poll::Ready(Some(Err(Error::Stopped(reason))));
                }
            }
        }
        Poll::Ready(polled)
    }

    fn end(&mut self, ending: Ending) {
        if let Some(on_end) = self.on_end.take() {
            on_end(ending);
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // hyper does not poll a body that says that nothing is left of it; a workload that has all
        // that was announced may be gone before the upstream of HTTP/2 says that it was all.
        let reason = || self.traffic.stopped().unwrap_or(Reason::DownstreamAborted);
        let body = &self.inner.body;
        let ending = match body.is_end_stream() || body.size_hint().exact() == Some(0) {
            true => Ending::COMPLETED,
            false => Ending::of(reason()),
        };
        self.end(ending);
    }
}

impl Body {
    /// No body at all.
    pub const fn empty() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Streamed(_) => f.write_str("Streamed"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Whole(bytes) => Poll::Ready(take_whole(bytes)),
            Self::Streamed(streamed) => streamed.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.inner.body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(streamed) => streamed.inner.body.size_hint(),
        }
    }
}

/// The one frame of a body that is all here.
fn take_whole(bytes: &mut Bytes) -> Option<Result<Frame<Bytes>, Error>> {
    (!bytes.is_empty()).then(|| Ok(Frame::data(std::mem::take(bytes))))
}

impl Source {
    /// No body at all.
    pub const fn empty() -> Self {
        Self::Whole(Bytes::new())
    }
}

impl From<Incoming> for Source {
    fn from(incoming: Incoming) -> Self {
        Self::Incoming(incoming)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incoming(_) => "Incoming",
            Self::Whole(_) => "Whole",
            Self::Streamed(_) => "Streamed",
            Self::Made(_) => "Made",
        })
    }
}

impl http_body::Body for Source {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut *self {
            Self::Incoming(incoming) => {
                let frame = ready!(Pin::new(incoming).poll_frame(cx));
                Poll::Ready(frame.map(|frame| frame.map_err(Error::Broken)))
            }
            Self::Whole(bytes) => Poll::Ready(take_whole(bytes)),
            Self::Streamed(streamed) => streamed.poll_frame(cx),
            Self::Made(made) => made.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Incoming(incoming) => incoming.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.inner.body.is_end_stream(),
            Self::Made(made) => made.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Incoming(incoming) => incoming.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(streamed) => streamed.inner.body.size_hint(),
            Self::Made(made) => made.size_hint(),
        }
    }
}

/// The body of a request to the upstream.
pub struct Outgoing {
    inner: Timed,
    traffic: Arc<dyn Traffic>,
    /// Dropped with the body or as soon as nothing is left of it: [`Sent`] waits for that, and is
    /// told before why it broke off, if it did.
    unsent: Option<watch::Sender<Option<Reason>>>,
    /// Until then nothing of it is read.
    expected: Option<Expected>,
}

/// Waits until a request's body has been sent.
#[derive(Clone, Debug)]
pub struct Sent(watch::Receiver<Option<Reason>>);

impl Outgoing {
    /// Passes `inner` on and counts it as sent. Between two pieces of it `idle` may pass.
    pub fn new(
        inner: impl Into<Source>,
        traffic: Arc<dyn Traffic>,
        idle: Duration,
    ) -> (Self, Sent) {
        let inner = inner.into();
        let (unsent, sent) = watch::channel(None);
        let unsent = (!inner.is_end_stream()).then_some(unsent);
        let body = Self {
            inner: Timed::new(inner, idle),
            traffic,
            unsent,
            expected: None,
        };
        (body, Sent(sent))
    }

    /// The same once more, where there is nothing of it to send.
    pub fn again(&self) -> Option<Self> {
        self.inner.body.is_end_stream().then(|| Self {
            inner: Timed::new(Source::empty(), self.inner.idle),
            traffic: Arc::clone(&self.traffic),
            unsent: None,
            expected: None,
        })
    }

    fn break_off(&mut self, error: &Error) {
        if let Some(unsent) = self.unsent.take() {
            unsent.send_replace(Some(error.in_request()));
        }
    }

    /// Lets it wait until the upstream wants it; without `expected` it goes at once.
    pub fn expect(&mut self, expected: Option<Expected>) {
        self.expected = expected;
    }
}

impl Sent {
    /// Returns once the body has been sent or given up.
    pub async fn wait(&mut self) {
        while self.0.changed().await.is_ok() {}
    }

    /// Why it broke off, if it did.
    pub fn broken(&self) -> Option<Reason> {
        *self.0.borrow()
    }

    /// Whether it has.
    pub fn is_done(&self) -> bool {
        self.0.has_changed().is_err()
    }
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outgoing")
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(expected) = &mut self.expected {
            ready!(expected.poll(cx));
            self.expected = None;
        }
        let Self { inner, traffic, .. } = &mut *self;
        let polled = ready!(inner.poll_frame((&**traffic, Waits::Sent), cx));
        if let Some(Ok(frame)) = &polled {
            self.traffic
                .count_sent(frame.data_ref().map_or(0, Bytes::len));
            let pace = self.traffic.pace_sent();
            if let Err(reason) = self.inner.follow(pace) {
                let stopped = Error::Stopped(reason);
                self.break_off(&stopped);
                return Poll::Ready(Some(Err(stopped)));
            }
        }
        match &polled {
            Some(Err(error)) => self.break_off(error),
            None => self.unsent = None,
            Some(Ok(_)) if self.inner.body.is_end_stream() => self.unsent = None,
            Some(Ok(_)) => {}
        }
        Poll::Ready(polled)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
