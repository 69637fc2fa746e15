//! A chunked body (RFC 9112 section 7.1): sizes, extensions, data and trailers, each ended by
//! CR LF and by nothing else.

use super::head;
use crate::model::reason::Reason;

/// Reads one chunked body.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    state: State,
    /// The line that is being read, without its end.
    line: Vec<u8>,
    trailers: usize,
}

/// How far a body has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// All bytes are its own, and more will be.
    More,
    /// It ended after so many bytes.
    Whole(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// In the line of a chunk's size.
    #[default]
    Size,
    /// So many bytes of a chunk are left.
    Data(u64),
    /// Behind a chunk: CR and LF are due.
    DataEnd,
    /// In a trailer field, or in the empty line behind the last one.
    Trailer,
}

impl Chunks {
    /// Reads what comes next. Fails with [`Reason::InvalidChunk`] or [`Reason::BareLineEnd`].
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<Progress, Reason> {
        let mut at = 0;
        while at < bytes.len() {
            if let State::Data(left) = self.state {
                let rest = bytes.len() - at;
                let taken = usize::try_from(left).map_or(rest, |left| left.min(rest));
                at += taken;
                self.state = match left - taken as u64 {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
                continue;
            }
            let byte = bytes[at];
            at += 1;
            if byte == b'\n' {
                if self.line.pop() != Some(b'\r') {
                    return Err(Reason::BareLineEnd);
                }
                if self.end_line()? {
                    return Ok(Progress::Whole(at));
                }
                self.line.clear();
            } else {
                self.push(byte)?;
            }
        }
        Ok(Progress::More)
    }

    /// Another byte of a line; after a CR there is none.
    fn push(&mut self, byte: u8) -> Result<(), Reason> {
        if self.line.last() == Some(&b'\r') {
            return Err(Reason::BareLineEnd);
        }
        let (limit, is_due) = match self.state {
            State::Size => (MAX_SIZE_LINE, head::is_text(byte) || byte == b'\r'),
            State::Trailer => (MAX_TRAILER, head::is_text(byte) || byte == b'\r'),
            State::Data(_) | State::DataEnd => (1, byte == b'\r'),
        };
        if !is_due || self.line.len() >= limit {
            return Err(Reason::InvalidChunk);
        }
        self.line.push(byte);
        Ok(())
    }

    /// Gives whether this line was the body's last.
    fn end_line(&mut self) -> Result<bool, Reason> {
        match self.state {
            State::Size => {
                self.state = match size(&self.line)? {
                    0 => State::Trailer,
                    left => State::Data(left),
                };
            }
            State::Data(_) | State::DataEnd => self.state = State::Size,
            State::Trailer if self.line.is_empty() => return Ok(true),
            State::Trailer => {
                let (name, _value) = head::field(&self.line)?;
                self.trailers += 1;
                // RFC 9110 section 6.5.1: nothing that framing or routing depend on.
                let is_forbidden = NEVER_TRAILERS.iter().any(|known| head::names(name, known));
                if is_forbidden || self.trailers > MAX_TRAILERS {
                    return Err(Reason::InvalidChunk);
                }
            }
        }
        Ok(false)
    }
}

/// The size in a chunk's first line: hexadecimal digits, and behind them nothing, or an
/// extension, which has no meaning for anybody but must not hide one.
fn size(line: &[u8]) -> Result<u64, Reason> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (digits, rest) = line.split_at(digits);
    if digits.is_empty() || digits.len() > MAX_DIGITS || !matches!(rest.first(), None | Some(b';'))
    {
        return Err(Reason::InvalidChunk);
    }
    let text = str::from_utf8(digits).map_err(|_impossible| Reason::InvalidChunk)?;
    u64::from_str_radix(text, 16).map_err(|_impossible| Reason::InvalidChunk)
}

const NEVER_TRAILERS: [&str; 6] = [
    "transfer-encoding",
    "content-length",
    "host",
    "connection",
    "upgrade",
    "te",
];
/// As many as an `u64` has; a chunk is never larger.
const MAX_DIGITS: usize = 16;
/// With an extension.
const MAX_SIZE_LINE: usize = 256;
const MAX_TRAILER: usize = 8 * 1024;
const MAX_TRAILERS: usize = 64;
