//! Bodies on their way: streamed as they come, counted, timed, and known to have ended or not.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;
use tokio::time::{Instant, Sleep, sleep_until};

use super::interim::Expected;
use crate::model::reason::{Ending, Reason};
use crate::model::traffic::{Pace, Traffic};

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
    /// A limit of the tenant.
    #[error("the body was stopped: {}", .0.label())]
    Stopped(Reason),
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
    pub fn new(inner: Incoming, traffic: Arc<dyn Traffic>, idle: Duration, on_end: OnEnd) -> Self {
        Self {
            inner: Timed::new(inner, idle),
            traffic,
            on_end: Some(on_end),
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(on_end) = self.on_end.take() {
            on_end(ending);
        }
    }
}

impl Drop for Streamed {
    fn drop(&mut self) {
        // hyper does not poll a body that says that nothing is left of it.
        let ending = if self.inner.body.is_end_stream() {
            Ending::COMPLETED
        } else {
            Ending::of(Reason::DownstreamAborted)
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
        let streamed = match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Streamed(streamed) => streamed,
        };
        let polled = ready!(streamed.inner.poll_frame(cx));
        match &polled {
            None => streamed.end(Ending::COMPLETED),
            Some(Err(Error::Broken(_))) => streamed.end(Ending::of(Reason::UpstreamReset)),
            Some(Err(Error::Idle)) => streamed.end(Ending::of(Reason::UpstreamTimeout)),
            Some(Err(Error::Stopped(reason))) => streamed.end(Ending::of(*reason)),
            Some(Ok(frame)) => {
                let traffic = &streamed.traffic;
                traffic.count_received(frame.data_ref().map_or(0, Bytes::len));
                if let Err(reason) = streamed.inner.follow(traffic.pace_received()) {
                    streamed.end(Ending::of(reason));
                    return Poll::Ready(Some(Err(Error::Stopped(reason))));
                }
            }
        }
        Poll::Ready(polled)
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

/// The body of a request to the upstream.
pub struct Outgoing {
    inner: Timed,
    traffic: Arc<dyn Traffic>,
    /// Dropped with the body or as soon as nothing is left of it: [`Sent`] waits for that.
    unsent: Option<watch::Sender<()>>,
    /// Until then nothing of it is read.
    expected: Option<Expected>,
}

/// Waits until a request's body has been sent.
#[derive(Clone, Debug)]
pub struct Sent(watch::Receiver<()>);

impl Outgoing {
    /// Passes `inner` on and counts it as sent. Between two pieces of it `idle` may pass.
    pub fn new(inner: Incoming, traffic: Arc<dyn Traffic>, idle: Duration) -> (Self, Sent) {
        let (unsent, sent) = watch::channel(());
        let unsent = (!inner.is_end_stream()).then_some(unsent);
        (
            Self {
                inner: Timed::new(inner, idle),
                traffic,
                unsent,
                expected: None,
            },
            Sent(sent),
        )
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
        let polled = ready!(self.inner.poll_frame(cx));
        if let Some(Ok(frame)) = &polled {
            self.traffic
                .count_sent(frame.data_ref().map_or(0, Bytes::len));
            let pace = self.traffic.pace_sent();
            if let Err(reason) = self.inner.follow(pace) {
                self.unsent = None;
                return Poll::Ready(Some(Err(Error::Stopped(reason))));
            }
        }
        if matches!(polled, None | Some(Err(_))) || self.inner.body.is_end_stream() {
            self.unsent = None;
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

/// A body that must not stand still while somebody waits for it.
struct Timed {
    body: Incoming,
    idle: Duration,
    /// Made when a body first has to be waited for: most never have to.
    deadline: Option<Pin<Box<Sleep>>>,
    is_waiting: bool,
    /// Nothing more passes before.
    held: Option<Pin<Box<Sleep>>>,
}

impl Timed {
    const fn new(body: Incoming, idle: Duration) -> Self {
        Self {
            body,
            idle,
            deadline: None,
            is_waiting: false,
            held: None,
        }
    }

    /// Does to the next piece what the pace says.
    fn follow(&mut self, pace: Pace) -> Result<(), Reason> {
        match pace {
            Pace::Go => Ok(()),
            Pace::Wait(wait) => {
                self.held = Some(Box::pin(sleep_until(Instant::now() + wait)));
                Ok(())
            }
            Pace::Stop(reason) => Err(reason),
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(held) = &mut self.held {
            ready!(held.as_mut().poll(cx));
            self.held = None;
        }
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            self.is_waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::Broken)));
        }
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + self.idle)));
        if !self.is_waiting {
            self.is_waiting = true;
            deadline.as_mut().reset(Instant::now() + self.idle);
        }
        deadline.as_mut().poll(cx).map(|()| Some(Err(Error::Idle)))
    }
}
