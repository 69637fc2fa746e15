//! Bodies in chunks that are signed one by one (`aws-chunked`): each is signed anew, and is as long
//! as before, so that nothing else of the message changes.
//!
//! `SIZE;chunk-signature=SIGNATURE\r\n`, so many bytes, `\r\n`; the last chunk is empty. Trailers
//! may follow it, and `x-amz-trailer-signature:SIGNATURE` after them.

use bytes::Bytes;
use http::header::HeaderMap;

use super::{Signature, hash, hex};
use crate::path::http::filter::Filter;

/// Signs chunks as they pass.
pub(in crate::path::credentials) struct Chunks {
    signature: Signature,
    taken: Vec<u8>,
    /// The longest chunk that is held back for its hash.
    limit: usize,
    part: Part,
    trailers: Vec<u8>,
}

/// What comes next.
#[derive(Clone, Copy)]
enum Part {
    Chunk,
    Trailer,
    Nothing,
}

impl Chunks {
    /// Goes on after the signature of the message's head.
    pub(in crate::path::credentials) const fn after(signature: Signature, limit: usize) -> Self {
        Self {
            signature,
            taken: Vec::new(),
            limit,
            part: Part::Chunk,
            trailers: Vec::new(),
        }
    }

    /// Gives the next part, signed anew, where all of it is there: `Err` where it is none.
    fn next(&mut self) -> Result<Option<Vec<u8>>, ()> {
        let line_end = self.taken.windows(2).position(|pair| pair == b"\r\n");
        let Some(line_end) = line_end else {
            let is_long = self.taken.len() > LONGEST_LINE;
            return if is_long { Err(()) } else { Ok(None) };
        };
        let line = std::str::from_utf8(&self.taken[..line_end]).map_err(|_invalid| ())?;
        match self.part {
            Part::Nothing => Err(()),
            Part::Chunk => self.chunk(line_end),
            Part::Trailer if line.is_empty() => {
                self.part = Part::Nothing;
                self.taken.drain(..2);
                Ok(Some(b"\r\n".to_vec()))
            }
            Part::Trailer => {
                let out = match line.split_once(':') {
                    Some((TRAILER_SIGNATURE, _old)) => {
                        let trailers = hash(&self.trailers);
                        let text = self.sign("AWS4-HMAC-SHA256-TRAILER", None, &trailers);
                        format!("{TRAILER_SIGNATURE}:{text}\r\n")
                    }
                    Some((name, value)) => {
                        let signed = format!("{}:{}\n", name.to_ascii_lowercase(), value.trim());
                        self.trailers.extend_from_slice(signed.as_bytes());
                        format!("{line}\r\n")
                    }
                    None => return Err(()),
                };
                self.taken.drain(..line_end + 2);
                Ok(Some(out.into_bytes()))
            }
        }
    }

    /// A chunk whose first line ends there.
    fn chunk(&mut self, line_end: usize) -> Result<Option<Vec<u8>>, ()> {
        let line = std::str::from_utf8(&self.taken[..line_end]).map_err(|_invalid| ())?;
        let (size, old) = line.split_once(MARK).ok_or(())?;
        let length = usize::from_str_radix(size, 16).map_err(|_invalid| ())?;
        if length > self.limit || old.len() != SIGNATURE {
            return Err(());
        }
        let (start, end) = (line_end + 2, line_end + 2 + length);
        // The last chunk's end is the body's, or that of the trailers.
        let whole = if length == 0 { end } else { end + 2 };
        let Some(data) = self
            .taken
            .get(start..end)
            .filter(|_| self.taken.len() >= whole)
        else {
            return Ok(None);
        };
        let (size, data) = (size.to_owned(), data.to_vec());
        let text = self.sign("AWS4-HMAC-SHA256-PAYLOAD", Some(hash(b"")), &hash(&data));
        let mut out = format!("{size}{MARK}{text}\r\n").into_bytes();
        out.extend_from_slice(&data);
        if length > 0 {
            out.extend_from_slice(b"\r\n");
        } else {
            self.part = Part::Trailer;
        }
        self.taken.drain(..whole);
        Ok(Some(out))
    }

    /// Signs the next link of the chain.
    fn sign(&mut self, algorithm: &str, empty: Option<String>, last: &str) -> String {
        let before = &self.signature;
        let empty = empty.map_or_else(String::new, |empty| format!("{empty}\n"));
        let string = format!(
            "{algorithm}\n{}\n{}\n{}\n{empty}{last}",
            before.moment.0, before.scope, before.text
        );
        self.signature.text =
            hex(ring::hmac::sign(&self.signature.key, string.as_bytes()).as_ref());
        self.signature.text.clone()
    }
}

impl Filter for Chunks {
    fn push(&mut self, data: Bytes) -> Option<Bytes> {
        self.taken.extend_from_slice(&data);
        let mut out = Vec::new();
        while !self.taken.is_empty() {
            match self.next() {
                Ok(Some(part)) => out.extend(part),
                Ok(None) => break,
                Err(()) => return None,
            }
        }
        Some(out.into())
    }

    fn end(&mut self) -> Option<Bytes> {
        self.taken.is_empty().then(Bytes::new)
    }

    fn trailers(&mut self, _trailers: &mut HeaderMap) {}

    fn held(&self) -> Option<usize> {
        Some(self.taken.len())
    }
}

const MARK: &str = ";chunk-signature=";
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";
/// Hexadecimal digits of a signature.
const SIGNATURE: usize = 64;
const LONGEST_LINE: usize = 16 << 10;
