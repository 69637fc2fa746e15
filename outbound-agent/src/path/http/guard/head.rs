//! A request's head: the request line and the fields that say where the request ends (RFC 9112
//! sections 2 to 6), read so that nobody could read them otherwise.

use http::{Method, Uri};

use super::framing::Limits;
use crate::model::reason::Reason;

/// What a head says of what follows it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) body: Body,
    /// Whether the answer may change the protocol: `Upgrade` and `CONNECT`.
    pub(super) may_switch: bool,
}

/// How a body ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// After so many bytes.
    Length(u64),
    /// By its last chunk.
    Chunked,
}

/// Where the head ends that `bytes` begin with, the empty line included; nothing where it is
/// not whole. Its first `seen` bytes were looked at before. Every line ends with CR LF.
pub(super) fn end(bytes: &[u8], seen: usize) -> Result<Option<usize>, Reason> {
    // A CR, or the line before the last one, may have been at the end of what was seen.
    let mut at = seen.saturating_sub(3);
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b'\n') {
        let line_end = at + offset;
        if line_end == 0 || bytes[line_end - 1] != b'\r' {
            return Err(Reason::BareLineEnd);
        }
        let before = &bytes[..line_end - 1];
        // Empty lines in front of a request are not part of it (RFC 9112 section 2.2).
        if before.ends_with(b"\r\n") && !is_blank(before) {
            return Ok(Some(line_end + 1));
        }
        at = line_end + 1;
    }
    // What can be no part of a head is not waited for.
    if !bytes[seen..]
        .iter()
        .all(|byte| is_text(*byte) || matches!(byte, b'\r' | b'\n'))
    {
        return Err(Reason::InvalidHeader);
    }
    Ok(None)
}

/// The head that stands at the beginning of `bytes`, with its length; none where its end is
/// still to come. What was `seen` before is not searched again.
pub(super) fn next(
    bytes: &[u8],
    seen: usize,
    limits: Limits,
) -> Result<Option<(Head, usize)>, Reason> {
    match end(bytes, seen)? {
        Some(end) => Ok(Some((read(&bytes[..end], limits)?, end))),
        None if bytes.len() > limits.header_bytes => Err(Reason::HeaderTooLarge),
        None => Ok(None),
    }
}

/// Reads a whole head. Fails with the reason that its request is refused for.
pub(super) fn read(head: &[u8], limits: Limits) -> Result<Head, Reason> {
    if head.len() > limits.header_bytes {
        return Err(Reason::HeaderTooLarge);
    }
    let mut lines = lines(head);
    let line = lines.next().ok_or(Reason::Malformed)?;
    let (method, _target, is_1_1) = request_line(line)?;
    let mut fields = Fields::default();
    for (index, line) in lines.enumerate() {
        if index >= limits.headers {
            return Err(Reason::HeaderTooLarge);
        }
        fields.add(line)?;
    }
    let is_connect = method == Method::CONNECT;
    Ok(Head {
        body: fields.body(is_1_1, is_connect)?,
        may_switch: is_connect || (fields.has_upgrade && is_1_1),
    })
}

/// Method and target of what may be a request, if its first line is sound.
pub(super) fn line(head: &[u8]) -> Option<(Method, Box<str>)> {
    let line = lines(head).next()?;
    let (method, target, _is_1_1) = request_line(line).ok()?;
    Some((method, target.into()))
}

/// Name and value of a field, without the white space around the value.
pub(super) fn field(line: &[u8]) -> Result<(&[u8], &[u8]), Reason> {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(Reason::InvalidHeader)?;
    // White space in front of a line continues the one before (obs-fold), and before the colon
    // it makes another name for some: neither is in a token.
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Reason::InvalidHeader);
    }
    if value.contains(&b'\r') {
        return Err(Reason::BareLineEnd);
    }
    if !value.iter().all(|byte| is_text(*byte)) {
        return Err(Reason::InvalidHeader);
    }
    Ok((name, trimmed(value)))
}

/// Whether a name is one that framing or routing depend on, also as a gateway would read it
/// that takes `_` for `-`.
pub(super) fn names(name: &[u8], known: &str) -> bool {
    name.len() == known.len()
        && name.iter().zip(known.bytes()).all(|(byte, known)| {
            byte.eq_ignore_ascii_case(&known) || (*byte == b'_' && known == b'-')
        })
}

/// HTAB, SP, visible characters and obs-text (RFC 9110 section 5.5).
pub(super) const fn is_text(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// What the fields say that framing depends on.
#[derive(Debug, Default)]
struct Fields<'a> {
    length: Option<&'a [u8]>,
    coding: Option<&'a [u8]>,
    hosts: usize,
    has_upgrade: bool,
}

impl<'a> Fields<'a> {
    fn add(&mut self, line: &'a [u8]) -> Result<(), Reason> {
        let (name, value) = field(line)?;
        if names(name, "content-length") {
            if name.contains(&b'_') {
                return Err(Reason::InvalidHeader);
            }
            if self.length.replace(value).is_some() || value.contains(&b',') {
                return Err(Reason::TwoLengths);
            }
        } else if names(name, "transfer-encoding") {
            if name.contains(&b'_') {
                return Err(Reason::InvalidHeader);
            }
            if self.coding.replace(value).is_some() {
                return Err(Reason::TransferCoding);
            }
        } else if names(name, "host") {
            self.hosts += 1;
            if self.hosts > 1 {
                return Err(Reason::TwoHosts);
            }
        } else if names(name, "upgrade") {
            self.has_upgrade = true;
        }
        Ok(())
    }

    /// RFC 9112 section 6.3, without its leniencies.
    fn body(&self, is_1_1: bool, is_connect: bool) -> Result<Body, Reason> {
        match (self.length, self.coding) {
            (None, None) => Ok(Body::Length(0)),
            (Some(_), Some(_)) => Err(Reason::TwoLengths),
            (None, Some(coding)) => {
                if !is_1_1 || is_connect || !coding.eq_ignore_ascii_case(b"chunked") {
                    return Err(Reason::TransferCoding);
                }
                Ok(Body::Chunked)
            }
            (Some(length), None) => {
                let length = decimal(length).ok_or(Reason::InvalidLength)?;
                if is_connect && length > 0 {
                    return Err(Reason::InvalidLength);
                }
                Ok(Body::Length(length))
            }
        }
    }
}

/// Method, target and whether the version is 1.1.
fn request_line(line: &[u8]) -> Result<(Method, &str, bool), Reason> {
    if line.contains(&b'\r') {
        return Err(Reason::BareLineEnd);
    }
    let text = str::from_utf8(line).map_err(|_opaque| Reason::Malformed)?;
    let mut words = text.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Reason::Malformed);
    };
    let is_1_1 = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Err(Reason::Malformed),
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_invalid| Reason::Malformed)?;
    let is_visible = target
        .bytes()
        .all(|byte| matches!(byte, b'!'..=b'~' | 0x80..));
    let is_target = match method {
        Method::CONNECT => target.parse::<http::uri::Authority>().is_ok(),
        _ => target
            .parse::<Uri>()
            .is_ok_and(|target| target.scheme().is_some() || target.authority().is_none()),
    };
    if !is_visible || !is_target || target.contains('#') {
        return Err(Reason::Malformed);
    }
    Ok((method, target, is_1_1))
}

/// The lines of a head without their ends, from the request line on.
fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
}

/// A number as RFC 9110 section 8.6 writes it: digits alone.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

fn trimmed(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(value.len());
    let end = value
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    &value[start..end]
}

/// RFC 9110 section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}
