//! Bodies on their way: streamed as they come, counted, and known to have ended or not.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::model::reason::{Ending, Reason};
use crate::model::traffic::Traffic;

/// Told once how the body ended, also when it is dropped midway.
pub type OnEnd = Box<dyn FnOnce(Ending) + Send>;

/// The body of a response to the workload.
pub enum Body {
    /// The agent's own words.
    Whole(Bytes),
    /// The upstream's, as it comes.
    Streamed(Streamed),
}

/// An upstream's body that reports its end.
pub struct Streamed {
    inner: Incoming,
    traffic: Arc<Traffic>,
    on_end: Option<OnEnd>,
}

impl Streamed {
    /// Passes `inner` on, counts it as received and says how it ended.
    pub const fn new(inner: Incoming, traffic: Arc<Traffic>, on_end: OnEnd) -> Self {
        Self {
            inner,
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
        let ending = if self.inner.is_end_stream() {
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
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let streamed = match &mut *self {
            Self::Whole(bytes) if bytes.is_empty() => return Poll::Ready(None),
            Self::Whole(bytes) => return Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Streamed(streamed) => streamed,
        };
        let polled = Pin::new(&mut streamed.inner).poll_frame(cx);
        match &polled {
            Poll::Ready(None) => streamed.end(Ending::COMPLETED),
            Poll::Ready(Some(Err(_broken))) => streamed.end(Ending::of(Reason::UpstreamReset)),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    streamed.traffic.count_received(data.len());
                }
            }
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Streamed(streamed) => streamed.inner.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Streamed(streamed) => streamed.inner.size_hint(),
        }
    }
}

/// The body of a request to the upstream.
#[derive(Debug)]
pub struct Outgoing {
    inner: Incoming,
    traffic: Arc<Traffic>,
    /// Dropped with the body or as soon as nothing is left of it: [`Sent`] waits for that.
    unsent: Option<watch::Sender<()>>,
}

/// Waits until a request's body has been sent.
#[derive(Clone, Debug)]
pub struct Sent(watch::Receiver<()>);

impl Outgoing {
    /// Passes `inner` on and counts it as sent.
    pub fn new(inner: Incoming, traffic: Arc<Traffic>) -> (Self, Sent) {
        let (unsent, sent) = watch::channel(());
        let unsent = (!inner.is_end_stream()).then_some(unsent);
        (
            Self {
                inner,
                traffic,
                unsent,
            },
            Sent(sent),
        )
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

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            self.traffic.count_sent(data.len());
        }
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) || self.inner.is_end_stream() {
            self.unsent = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
