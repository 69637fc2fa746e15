//! The access log, as it is written, as a response body that ends with the agent.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::ReusableBoxFuture;

/// One frame per line. Who reads too slowly loses lines and is told how many.
pub(super) struct Events {
    next: ReusableBoxFuture<'static, (Option<Bytes>, Follower)>,
}

struct Follower {
    lines: Receiver<Bytes>,
    draining: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Events {
    pub(super) fn new(
        lines: Receiver<Bytes>,
        draining: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let follower = Follower {
            lines,
            draining: Box::pin(draining),
        };
        Self {
            next: ReusableBoxFuture::new(follower.next()),
        }
    }
}

impl Follower {
    async fn next(mut self) -> (Option<Bytes>, Self) {
        let line = tokio::select! {
            // What was logged before the end is still delivered.
            biased;
            received = self.lines.recv() => match received {
                Ok(line) => Some(line),
                Err(RecvError::Lagged(lost)) => Some(notice(lost)),
                Err(RecvError::Closed) => None,
            },
            () = &mut self.draining => None,
        };
        (line, self)
    }
}

fn notice(lost: u64) -> Bytes {
    format!("{{\"kind\":\"notice\",\"message\":\"lines lost: read too slowly\",\"lost\":{lost}}}\n")
        .into()
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let (line, follower) = ready!(self.next.poll(context));
        self.next.set(follower.next());
        Poll::Ready(line.map(|line| Ok(Frame::data(line))))
    }
}
