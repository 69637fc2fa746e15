//! Requests, responses and bodies as they pass between host and isolate.

use bytes::Bytes;
use http::{Method, StatusCode};
use tokio::sync::mpsc;

use crate::fields::Fields;

/// A request without its body.
#[derive(Debug, Clone)]
pub struct RequestHead {
    /// The method.
    pub method: Method,
    /// The absolute URL, without fragment.
    pub url: String,
    /// The fields, in order within a name.
    pub headers: Fields,
}

/// A response without its body.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, where it is not the status' own.
    pub status_text: Option<String>,
    /// The fields, in order within a name.
    pub headers: Fields,
}

/// A message's content.
#[derive(Debug)]
pub enum Body {
    /// None at all, which is not the same as none of length zero.
    Empty,
    /// All of it.
    Bytes(Bytes),
    /// The host's, by number: read through [`Host::read`](crate::Host::read), ended by
    /// [`Host::cancel`](crate::Host::cancel) or by handing it back.
    Handle(u64),
    /// The module's, as it writes it.
    Stream(Chunks),
}

/// The reading end of a body that is being written.
#[derive(Debug)]
pub struct Chunks {
    pieces: mpsc::Receiver<Piece>,
    ended: bool,
}

/// The writing end.
#[derive(Debug, Clone)]
pub struct BodyWriter {
    pieces: mpsc::Sender<Piece>,
}

/// Why a body ended early.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// Its writer is gone without saying that this was all.
    #[error("the body was cut short")]
    Cut,
    /// Its writer gave up.
    #[error("the body failed: {0}")]
    Failed(String),
    /// Nobody reads it any longer.
    #[error("the body is no longer wanted")]
    Unwanted,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
    Failed(String),
}

impl Body {
    /// A body to write to, and its reading end.
    #[must_use]
    pub fn stream() -> (BodyWriter, Chunks) {
        let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
        let chunks = Chunks {
            pieces: receiver,
            ended: false,
        };
        (BodyWriter { pieces: sender }, chunks)
    }
}

impl Chunks {
    /// The next chunk; `None` after the end that the writer declared. A writer that is gone
    /// without one is an error, never an end.
    pub async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if self.ended {
            return None;
        }
        let piece = self.pieces.recv().await;
        if !matches!(piece, Some(Piece::Data(_))) {
            self.ended = true;
            self.pieces.close();
        }
        match piece {
            Some(Piece::Data(data)) => Some(Ok(data)),
            Some(Piece::End) => None,
            Some(Piece::Failed(text)) => Some(Err(BodyError::Failed(text))),
            None => Some(Err(BodyError::Cut)),
        }
    }
}

impl BodyWriter {
    /// Writes a chunk, when the reader is ready for it.
    ///
    /// # Errors
    ///
    /// When nobody reads any longer.
    pub async fn write(&self, chunk: Bytes) -> Result<(), BodyError> {
        self.send(Piece::Data(chunk)).await
    }

    /// Says that this was all.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn end(self) -> Result<(), BodyError> {
        self.send(Piece::End).await
    }

    /// Says that there will be no more, and why.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub async fn fail(self, reason: String) -> Result<(), BodyError> {
        self.send(Piece::Failed(reason)).await
    }

    async fn send(&self, piece: Piece) -> Result<(), BodyError> {
        let sent = self.pieces.send(piece).await;
        sent.map_err(|_unsent| BodyError::Unwanted)
    }
}

/// Chunks that a writer may be ahead of its reader.
const CHUNKS_AHEAD: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_without_an_end_is_an_error() {
        let (writer, mut chunks) = Body::stream();
        writer.write(Bytes::from_static(b"a")).await.unwrap();
        drop(writer);
        assert_eq!(chunks.next().await, Some(Ok(Bytes::from_static(b"a"))));
        assert_eq!(chunks.next().await, Some(Err(BodyError::Cut)));
        assert_eq!(chunks.next().await, None);
    }

    #[tokio::test]
    async fn an_end_is_an_end() {
        let (writer, mut chunks) = Body::stream();
        writer.end().await.unwrap();
        assert_eq!(chunks.next().await, None);
    }
}
