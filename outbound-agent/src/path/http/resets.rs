//! What HTTP/2 was refused without a request: the frames say so on their way out.
//!
//! A malformed request (RFC 9113 section 8.1.1: pseudo-fields that are doubled, out of order or
//! behind others, connection-specific fields, characters that no field has, a body that is not
//! as long as it says), and a stream too many, is reset by h2 itself, and nobody is told. So the
//! frames that do it are looked for; nothing is changed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::model::reason::Reason;

/// A connection whose resets are told of.
#[derive(Debug)]
pub(super) struct Resets<S, R> {
    inner: S,
    frames: Frames,
    refused: R,
}

impl<S, R> Resets<S, R> {
    /// Tells `refused` of each request, and of the connection, that breaks the protocol.
    pub(super) const fn new(inner: S, refused: R) -> Self {
        Self {
            inner,
            frames: Frames::new(),
            refused,
        }
    }
}

/// Where a stream of frames (RFC 9113 section 4.1) stands.
#[derive(Debug)]
struct Frames {
    /// The frame's header and the first bytes of its payload.
    front: [u8; FRONT],
    /// How much of the frame has passed.
    passed: usize,
}

impl Frames {
    const fn new() -> Self {
        Self {
            front: [0; FRONT],
            passed: 0,
        }
    }

    /// Reads on, and calls `refused` for each frame that says so.
    fn advance(&mut self, mut bytes: &[u8], refused: impl Fn(Reason)) {
        while !bytes.is_empty() {
            let whole = self.length().unwrap_or(HEADER);
            let taken = bytes.len().min(whole.saturating_sub(self.passed));
            let (now, later) = bytes.split_at(taken);
            let kept = self.front.len().saturating_sub(self.passed).min(taken);
            if kept > 0 {
                self.front[self.passed..self.passed + kept].copy_from_slice(&now[..kept]);
            }
            self.passed += taken;
            bytes = later;
            if self.length() == Some(self.passed) {
                if let Some(reason) = self.refusal() {
                    refused(reason);
                }
                self.passed = 0;
            }
        }
    }

    /// Of header and payload; known once the header has passed.
    fn length(&self) -> Option<usize> {
        let [high, middle, low, ..] = self.front;
        let payload = u32::from_be_bytes([0, high, middle, low]) as usize;
        (self.passed >= HEADER).then_some(HEADER + payload)
    }

    /// Why the frame refuses something, if it does.
    fn refusal(&self) -> Option<Reason> {
        let code_at = match self.front[3] {
            RST_STREAM => HEADER,
            GOAWAY => HEADER + 4,
            _ => return None,
        };
        let code = &self.front[code_at..code_at + 4];
        if code == REFUSED_STREAM.to_be_bytes() {
            return Some(Reason::StreamLimit);
        }
        let is_broken = BROKEN.iter().any(|broken| code == broken.to_be_bytes());
        is_broken.then_some(Reason::Malformed)
    }
}

impl<S: AsyncRead + Unpin, R: Unpin> AsyncRead for Resets<S, R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin, R: Fn(Reason) + Unpin> AsyncWrite for Resets<S, R> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, bytes))?;
        this.frames.advance(&bytes[..written], &this.refused);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let written = ready!(Pin::new(&mut this.inner).poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let taken = left.min(slice.len());
            this.frames.advance(&slice[..taken], &this.refused);
            left -= taken;
        }
        Poll::Ready(Ok(written))
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
/// A GOAWAY's error code ends here.
const FRONT: usize = HEADER + 8;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
/// The stream is one too many.
const REFUSED_STREAM: u32 = 7;
/// `PROTOCOL_ERROR`, `FLOW_CONTROL_ERROR`, `FRAME_SIZE_ERROR`, `COMPRESSION_ERROR`,
/// `ENHANCE_YOUR_CALM` (RFC 9113 section 7).
const BROKEN: [u32; 5] = [1, 3, 6, 9, 11];

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, 0, 0, 0, 0, 1]);
        frame.extend(payload);
        frame
    }

    #[test]
    fn resets_for_broken_protocol_are_found_however_the_bytes_are_cut() {
        let mut bytes = frame(0, &[3; 300]);
        bytes.extend(frame(RST_STREAM, &[0, 0, 0, 1]));
        bytes.extend(frame(RST_STREAM, &[0, 0, 0, 8]));
        bytes.extend(frame(4, &[]));
        bytes.extend(frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 9, b'x']));
        bytes.extend(frame(GOAWAY, &[0, 0, 0, 1, 0, 0, 0, 0]));
        bytes.extend(frame(RST_STREAM, &[0, 0, 0, 7]));
        for cut in 1..bytes.len() {
            let (mut frames, found) = (Frames::new(), RefCell::new(Vec::new()));
            for piece in bytes.chunks(cut) {
                frames.advance(piece, |reason| found.borrow_mut().push(reason));
            }
            let expected = [Reason::Malformed, Reason::Malformed, Reason::StreamLimit];
            assert_eq!(found.into_inner(), expected, "pieces of {cut}");
        }
    }
}
