//! A path as servers read it. Where two of them could read it differently it is judged in each
//! way: a deny is for a path that some server reads as one of its own, an allow for one that
//! every server does.
//!
//! The first reading takes the path segment by segment and decodes each (RFC 3986 section
//! 2.1). Every further one reads the one before it as a path of its own, as lenient servers
//! do: `\` and a decoded `/` separate, `;` begins a segment's parameters, empty segments
//! vanish, `.` and `..` are resolved (section 5.2.4), and what is still encoded is decoded.
//! What says something new after [`MAX_READINGS`] cannot be read.

use std::borrow::Cow;

/// A path, in every way in which a server may read it.
#[derive(Clone, Debug)]
pub struct Readings<'a> {
    readings: Vec<Vec<Cow<'a, str>>>,
    is_readable: bool,
}

impl<'a> Readings<'a> {
    /// Reads the path of a target, without its query.
    pub fn of(path: &'a str) -> Self {
        let rest = path.strip_prefix('/').unwrap_or(path);
        let first: Vec<Cow<'a, str>> = rest.split('/').map(decoded).collect();
        let mut readings = vec![first];
        if is_plain(rest) {
            return Self {
                readings,
                is_readable: true,
            };
        }
        while readings.len() <= MAX_READINGS {
            let Some(last) = readings.last() else { break };
            let next = lenient(last);
            if next == *last {
                let is_readable = !path_has_end(&readings);
                return Self {
                    readings,
                    is_readable,
                };
            }
            readings.push(next);
        }
        Self {
            readings,
            is_readable: false,
        }
    }

    /// Each of them, by segments.
    pub(super) fn each(&self) -> impl Iterator<Item = &[Cow<'a, str>]> {
        self.readings.iter().map(Vec::as_slice)
    }

    /// Whether these are all.
    pub(super) const fn are_all(&self) -> bool {
        self.is_readable
    }
}

/// Whether everybody reads it alike.
fn is_plain(path: &str) -> bool {
    !path.contains(['%', '\\', ';'])
        && !path.contains("//")
        && path.split('/').all(|part| part != "." && part != "..")
        && (path.is_empty() || !path.starts_with('/'))
}

/// Some servers stop at an octet of 0.
fn path_has_end(readings: &[Vec<Cow<'_, str>>]) -> bool {
    let mut segments = readings.iter().flatten();
    segments.any(|segment| segment.contains('\0'))
}

fn lenient<'a>(segments: &[Cow<'_, str>]) -> Vec<Cow<'a, str>> {
    let text = segments.join("/").replace('\\', "/");
    let mut read: Vec<Cow<'a, str>> = Vec::new();
    let mut parts = text.split('/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let name = part.split(';').next().unwrap_or_default();
        match &*decoded(name) {
            "." => {}
            ".." => drop(read.pop()),
            "" => {}
            name => {
                read.push(Cow::Owned(name.to_owned()));
                continue;
            }
        }
        if is_last {
            // What ends in `/` or a dot segment is a directory.
            read.push(Cow::Borrowed(""));
        }
    }
    read
}

/// Percent-encoding taken off once; what is no UTF-8 is replaced.
pub(super) fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let encoded = text
            .get(at + 1..at + 3)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match encoded {
            Some(byte) if bytes[at] == b'%' => {
                plain.push(byte);
                at += 3;
            }
            Some(_) | None => {
                plain.push(bytes[at]);
                at += 1;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

/// After so many a path still says something new: nobody writes that by accident.
const MAX_READINGS: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(path: &str) -> Vec<String> {
        let readings = Readings::of(path);
        assert!(readings.are_all(), "{path}");
        let each = readings.each();
        each.map(|segments| format!("/{}", segments.join("/")))
            .collect()
    }

    #[test]
    fn an_ordinary_path_has_one_reading() {
        for path in ["/", "/a", "/a/", "/a/b.c/d", "/a.b/..c"] {
            assert_eq!(readings(path), [path], "{path}");
        }
    }

    #[test]
    fn escapes_of_ordinary_characters_are_decoded() {
        assert_eq!(readings("/%61dmin"), ["/admin"]);
        assert_eq!(readings("/a%20b"), ["/a b"]);
        assert_eq!(readings("/100%"), ["/100%"]);
    }

    #[test]
    fn every_way_around_a_segment_is_seen_through() {
        for path in [
            "//admin",
            "/./admin",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/x/%2E./admin",
            "/x/..%2fadmin",
            "/x/..\\admin",
            "/x/..%5cadmin",
            "/x%2f..%2fadmin",
            "/x/..;/admin",
            "/admin;a=b",
            "/x/%252e%252e/admin",
            "/x/%25252e%25252e/admin",
            "/../../admin",
        ] {
            let readings = readings(path);
            assert_eq!(readings.last().unwrap(), "/admin", "{path}: {readings:?}");
            assert!(
                readings.len() > 1,
                "{path}: as it is read literally as well"
            );
        }
    }

    #[test]
    fn a_directory_stays_one() {
        assert_eq!(readings("/a/b/..").last().unwrap(), "/a/");
        assert_eq!(readings("/a//").last().unwrap(), "/a/");
    }

    #[test]
    fn what_has_no_end_of_readings_cannot_be_read() {
        assert!(!Readings::of("/a%00b").are_all());
        assert!(!Readings::of("/%25252525252525252e").are_all());
    }
}
