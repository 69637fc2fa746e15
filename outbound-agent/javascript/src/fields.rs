//! Header fields as they pass between host and isolate.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Header fields: each a line with its name, in lower case, and a line with its value.
///
/// Most modules hand on the fields that they were given without a look at them: then the host
/// gets its own number back, and nobody has to read them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields {
    /// The host's number of exactly these fields, where it has them; used once.
    pub handle: Option<u64>,
    lines: Bytes,
}

impl Fields {
    /// Fields as lines, from whoever has written them with [`Self::lines`].
    #[must_use]
    pub const fn from_lines(lines: Bytes) -> Self {
        Self {
            handle: None,
            lines,
        }
    }

    /// As they are, under a number of the host's.
    #[must_use]
    pub const fn with_handle(lines: Bytes, handle: u64) -> Self {
        Self {
            handle: Some(handle),
            lines,
        }
    }

    /// Each field's name and value in turn, with a line break between any two.
    #[must_use]
    pub const fn lines(&self) -> &Bytes {
        &self.lines
    }

    /// As a map; nothing where a name or a value is none.
    #[must_use]
    pub fn to_map(&self) -> Option<HeaderMap> {
        let mut headers = HeaderMap::new();
        if self.lines.is_empty() {
            return Some(headers);
        }
        let mut lines = self.lines.split(|octet| *octet == b'\n');
        while let Some(name) = lines.next() {
            let name = HeaderName::from_bytes(name).ok()?;
            let value = self.lines.slice_ref(lines.next()?);
            headers.append(name, HeaderValue::from_maybe_shared(value).ok()?);
        }
        Some(headers)
    }
}

impl From<&HeaderMap> for Fields {
    fn from(headers: &HeaderMap) -> Self {
        let length = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 2);
        let mut lines = BytesMut::with_capacity(length.sum());
        for (name, value) in headers {
            if !lines.is_empty() {
                lines.put_u8(b'\n');
            }
            lines.put_slice(name.as_str().as_bytes());
            lines.put_u8(b'\n');
            lines.put_slice(value.as_bytes());
        }
        Self::from_lines(lines.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_the_way_as_lines() {
        let mut headers = HeaderMap::new();
        headers.append("a", HeaderValue::from_bytes(b"\xff b").unwrap());
        headers.append("b", HeaderValue::from_static(""));
        headers.append("a", HeaderValue::from_static("again"));
        assert_eq!(Fields::from(&headers).to_map(), Some(headers));
        assert_eq!(Fields::default().to_map(), Some(HeaderMap::new()));
    }

    #[test]
    fn what_is_no_field_makes_no_map() {
        for wrong in [&b"a"[..], b"a b\nc", b"a\nb\rc", b"a\n\0", b"\nx"] {
            let lines = Bytes::copy_from_slice(wrong);
            assert_eq!(Fields::from_lines(lines).to_map(), None, "{wrong:?}");
        }
    }
}
