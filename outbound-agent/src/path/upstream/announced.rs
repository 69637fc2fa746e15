//! What an HTTP/2 upstream announces in its first frame: whether it takes an extended `CONNECT`
//! (RFC 8441 section 3). hyper says whether it does once it has read that, and not when.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// Whether an upstream takes an extended `CONNECT`.
#[derive(Clone, Debug)]
pub struct Announced(watch::Receiver<Option<bool>>);

/// Says so.
#[derive(Debug)]
pub(super) struct Announcing(watch::Sender<Option<bool>>);

/// A connection whose first frame is looked at as it is read.
#[derive(Debug)]
pub(super) struct Looked<S> {
    inner: S,
    first: First,
    read: watch::Sender<Option<bool>>,
}

impl Announced {
    /// Looks at what comes over `inner`.
    pub(super) fn look<S>(
        inner: S,
    ) -> (Looked<S>, Announcing, watch::Receiver<Option<bool>>, Self) {
        let (read, was_read) = watch::channel(None);
        let (announcing, announced) = watch::channel(None);
        let first = First::default();
        let looked = Looked { inner, first, read };
        (looked, Announcing(announcing), was_read, Self(announced))
    }

    /// Waits until it is known.
    pub(super) async fn takes_connect(&mut self) -> bool {
        let known = self.0.wait_for(Option::is_some).await;
        known.is_ok_and(|known| *known == Some(true))
    }
}

impl Announcing {
    /// Drives `connection` to its end, and announces on the way what was read of its first frame
    /// as soon as `has_effect`.
    pub(super) async fn drive<C: Future>(
        self,
        connection: C,
        mut was_read: watch::Receiver<Option<bool>>,
        has_effect: impl Fn(&C) -> bool,
    ) -> C::Output {
        let mut connection = pin!(connection);
        let announce = async {
            let takes = was_read.wait_for(Option::is_some).await;
            takes.is_ok_and(|takes| *takes == Some(true))
        };
        let mut announce = pin!(announce);
        let mut takes = None;
        poll_fn(|cx| {
            let polled = connection.as_mut().poll(cx);
            if self.0.borrow().is_some() {
                return polled;
            }
            if takes.is_none()
                && let Poll::Ready(read) = announce.as_mut().poll(cx)
            {
                takes = Some(read);
            }
            match takes {
                Some(takes) if !takes || has_effect(&connection) => {
                    self.0.send_replace(Some(takes));
                }
                // It is read, and h2 about to take it up: nobody says when it has.
                Some(_) => cx.waker().wake_by_ref(),
                None => {}
            }
            polled
        })
        .await
    }
}

/// The first frame of a connection, which is SETTINGS (RFC 9113 section 3.4).
#[derive(Debug, Default)]
struct First {
    bytes: Vec<u8>,
    is_over: bool,
}

impl First {
    /// Reads on; gives once whether it announces an extended `CONNECT`.
    fn advance(&mut self, bytes: &[u8]) -> Option<bool> {
        if self.is_over {
            return None;
        }
        let room = MOST - self.bytes.len();
        self.bytes
            .extend_from_slice(&bytes[..bytes.len().min(room)]);
        let [high, middle, low, kind, _flags, _, _, _, _, ..] = *self.bytes.as_slice() else {
            return None;
        };
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        let whole = HEADER + length;
        if self.bytes.len() < whole.min(MOST) {
            return None;
        }
        self.is_over = true;
        let payload = self.bytes.get(HEADER..whole).unwrap_or_default();
        let takes = kind == SETTINGS
            && payload
                .chunks_exact(SETTING)
                .any(|setting| *setting == TAKES_CONNECT);
        self.bytes = Vec::new();
        Some(takes)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Looked<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.inner).poll_read(cx, buffer))?;
        if let Some(takes) = this.first.advance(&buffer.filled()[before..]) {
            this.read.send_replace(Some(takes));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Looked<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

const HEADER: usize = 9;
const SETTINGS: u8 = 4;
/// An identifier and its value.
const SETTING: usize = 6;
/// `SETTINGS_ENABLE_CONNECT_PROTOCOL` is 1.
const TAKES_CONNECT: [u8; SETTING] = [0, 8, 0, 0, 0, 1];
/// Of the first frame no more is looked at.
const MOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_frame_says_whether_connect_is_extended_however_it_is_cut() {
        let frame = |kind: u8, payload: &[u8]| {
            let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
            frame.extend([kind, 0, 0, 0, 0, 0]);
            frame.extend(payload);
            frame
        };
        let other = [0, 3, 0, 0, 0, 9];
        let off = [0, 8, 0, 0, 0, 0];
        for (bytes, expected) in [
            (frame(SETTINGS, &[other, TAKES_CONNECT].concat()), true),
            (frame(SETTINGS, &[off, other].concat()), false),
            (frame(SETTINGS, &[]), false),
            (frame(6, &TAKES_CONNECT), false),
            (frame(SETTINGS, &[0; 2 * MOST]), false),
        ] {
            let bytes = [bytes, frame(SETTINGS, &TAKES_CONNECT)].concat();
            for cut in 1..bytes.len() {
                let mut first = First::default();
                let told: Vec<bool> = bytes
                    .chunks(cut)
                    .filter_map(|cut| first.advance(cut))
                    .collect();
                assert_eq!(told, [expected], "pieces of {cut}");
            }
        }
    }
}
