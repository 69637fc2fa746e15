//! Bodies on their way between agent and worker.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame};
use tokio::sync::mpsc::UnboundedReceiver;

use super::super::message::{Octets, Piece, ToWorker};
use super::Link;
use crate::path::http::body::{Error, Source};

/// The next octets of a body; trailers are left out.
pub(super) async fn next_octets(source: &mut Source) -> Result<Option<Bytes>, Error> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *source).poll_frame(cx)).await;
        match frame.transpose()?.map(Frame::into_data) {
            None => return Ok(None),
            Some(Ok(octets)) if !octets.is_empty() => return Ok(Some(octets)),
            Some(Ok(_) | Err(_)) => {}
        }
    }
}

/// A body that the worker writes, a piece for each that is asked for.
pub(super) struct Written {
    link: Arc<Link>,
    stream: u64,
    reader: UnboundedReceiver<Piece>,
    is_asked: bool,
    is_over: bool,
}

impl Written {
    /// The stream of this number; `reader` has its pieces.
    pub(super) const fn new(
        link: Arc<Link>,
        stream: u64,
        reader: UnboundedReceiver<Piece>,
    ) -> Self {
        Self {
            link,
            stream,
            reader,
            is_asked: false,
            is_over: false,
        }
    }
}

impl http_body::Body for Written {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if !self.is_asked {
            self.is_asked = true;
            let stream = self.stream;
            self.link.say(ToWorker::Pull { stream });
        }
        let piece = ready!(self.reader.poll_recv(cx));
        self.is_asked = false;
        let frame = match piece {
            Some(Piece::Data(Octets(octets))) => return Poll::Ready(Some(Ok(Frame::data(octets)))),
            Some(Piece::End) => None,
            Some(Piece::Failed(text)) => {
                tracing::warn!(
                    service = &*self.link.service,
                    text,
                    "outbound worker's body failed"
                );
                Some(Err(Error::Unfinished))
            }
            None => Some(Err(Error::Unfinished)),
        };
        self.is_over = true;
        Poll::Ready(frame)
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let stream = self.stream;
        drop(self.link.state().streams.remove(&stream));
        if !self.is_over {
            self.link.say(ToWorker::Unwanted { stream });
        }
    }
}

/// A body that is not there any more.
pub(super) struct Unfinished;

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Poll::Ready(Some(Err(Error::Unfinished)))
    }
}
