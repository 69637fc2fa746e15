//! Bodies that are changed as they pass.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::body::Error;

/// Changes a body piece by piece.
pub trait Filter: Send + Sync {
    /// Takes a piece, gives what may go on; `None` where the body is not what it has to be.
    fn push(&mut self, data: Bytes) -> Option<Bytes>;

    /// Gives what is left when nothing follows.
    fn end(&mut self) -> Option<Bytes>;

    /// Looks at what follows the body.
    fn trailers(&mut self, trailers: &mut HeaderMap);

    /// How many bytes it has taken and not yet given; `None` where it changes the length.
    fn held(&self) -> Option<usize>;
}

/// A body behind a filter.
pub struct Filtered<B> {
    inner: B,
    filter: Box<dyn Filter>,
    trailers: Option<HeaderMap>,
    is_over: bool,
}

impl<B> Filtered<B> {
    /// Puts `filter` behind `inner`.
    pub const fn new(inner: B, filter: Box<dyn Filter>) -> Self {
        Self {
            inner,
            filter,
            trailers: None,
            is_over: false,
        }
    }
}

impl<B> fmt::Debug for Filtered<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filtered").finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes, Error = Error> + Unpin> Body for Filtered<B> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = &mut *self;
        while !this.is_over {
            let passed = match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    this.is_over = true;
                    this.filter.end()
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.filter.push(data),
                    Err(frame) => {
                        this.is_over = true;
                        this.trailers = frame.into_trailers().ok();
                        this.filter.end()
                    }
                },
            };
            match passed {
                None => return Poll::Ready(Some(Err(Error::Filtered))),
                Some(data) if data.is_empty() => {}
                Some(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            }
        }
        Poll::Ready(this.trailers.take().map(|mut trailers| {
            this.filter.trailers(&mut trailers);
            Ok(Frame::trailers(trailers))
        }))
    }

    fn is_end_stream(&self) -> bool {
        let is_over = self.is_over || self.inner.is_end_stream();
        is_over && self.trailers.is_none() && self.filter.held() == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        let Some(held) = self.filter.held() else {
            return SizeHint::default();
        };
        let (inner, held) = (self.inner.size_hint(), held as u64);
        let mut hint = SizeHint::default();
        hint.set_lower(inner.lower() + held);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + held);
        }
        hint
    }
}
