//! A stream that gives an input in pieces, and takes whatever is written.

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::{Builder, Runtime};

use crate::hash;

/// Runs something that waits, on this thread alone, so that it is the same every time.
pub(crate) fn wait<T>(task: impl Future<Output = T>) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
        let mut runtime = Builder::new_current_thread();
        runtime.enable_time().build().unwrap()
    });
    RUNTIME.block_on(task)
}

/// An input, and how it is cut.
pub(crate) struct Stream {
    left: Vec<u8>,
    read: usize,
    /// At most so many octets at once, now more, now less.
    most: usize,
}

impl Stream {
    /// As it comes.
    pub(crate) fn whole(input: &[u8]) -> Self {
        Self::cut(input, usize::MAX)
    }

    /// In pieces that depend on the input alone.
    pub(crate) fn in_pieces(input: &[u8]) -> Self {
        Self::cut(input, 1 + usize::try_from(hash(input) % 64).unwrap())
    }

    fn cut(input: &[u8], most: usize) -> Self {
        Self {
            left: input.to_vec(),
            read: 0,
            most,
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let left = &self.left[self.read..];
        let most = match self.most {
            usize::MAX => usize::MAX,
            most => 1 + (self.read * 7 + most) % most,
        };
        let length = left.len().min(buffer.remaining()).min(most);
        buffer.put_slice(&left[..length]);
        self.read += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
