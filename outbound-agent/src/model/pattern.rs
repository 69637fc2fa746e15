//! `Glob` and `PathPattern`: what stands for many texts at once. No regular expressions: each
//! costs at most the product of both lengths.

use std::fmt;

/// A text in which `*` stands for any run of characters, also none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Glob(Box<str>);

impl Glob {
    /// Every text is a glob.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// Whether it stands for this text.
    pub fn matches(&self, text: &str) -> bool {
        runs(
            self.0.as_bytes(),
            text.as_bytes(),
            |b| *b == b'*',
            |p, t| p == t,
        )
    }

    /// How many characters it fixes.
    pub fn literal(&self) -> usize {
        self.0.bytes().filter(|b| *b != b'*').count()
    }

    /// As written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pattern of paths: segments, in which `*` stands for any run of characters, and `**` as a
/// whole segment for any number of segments, also none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    text: Box<str>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// `**`
    Any,
    One(Glob),
}

impl PathPattern {
    /// Takes what begins with `/` and has neither query nor fragment.
    pub fn new(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        if rest.contains(['?', '#', '\\']) || rest.chars().any(char::is_control) {
            return None;
        }
        let segment = |part: &str| match part {
            "**" => Segment::Any,
            part => Segment::One(Glob::new(part)),
        };
        Some(Self {
            text: text.into(),
            segments: rest.split('/').map(segment).collect(),
        })
    }

    /// Whether it stands for the path of these segments.
    pub fn matches<S: AsRef<str>>(&self, path: &[S]) -> bool {
        runs(
            &self.segments,
            path,
            |segment| *segment == Segment::Any,
            |segment, part| match segment {
                Segment::Any => true,
                Segment::One(glob) => glob.matches(part.as_ref()),
            },
        )
    }

    /// How many characters it fixes.
    pub fn literal(&self) -> usize {
        let fixed = self.segments.iter().map(|segment| match segment {
            Segment::Any => 0,
            Segment::One(glob) => 1 + glob.literal(),
        });
        fixed.sum()
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Whether a pattern stands for a text, where `is_any` marks what stands for any run. Only the
/// last such mark is ever taken back to, which suffices: what an earlier one took is the least
/// that it can take.
fn runs<P, T>(
    pattern: &[P],
    text: &[T],
    is_any: impl Fn(&P) -> bool,
    is_one: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut last_any = None;
    while read < text.len() {
        match pattern.get(at) {
            Some(mark) if is_any(mark) => {
                last_any = Some((at, read));
                at += 1;
            }
            Some(part) if is_one(part, &text[read]) => {
                at += 1;
                read += 1;
            }
            Some(_) | None => {
                let Some((mark, taken)) = last_any else {
                    return false;
                };
                last_any = Some((mark, taken + 1));
                at = mark + 1;
                read = taken + 1;
            }
        }
    }
    pattern[at..].iter().all(is_any)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run() {
        for (glob, text, expected) in [
            ("api-*", "api-1", true),
            ("api-*", "api-", true),
            ("api-*", "ap", false),
            ("*a*b*", "xxaxxabx", true),
            ("*a*b*", "xxbxxa", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("a*a", "a", false),
        ] {
            assert_eq!(Glob::new(glob).matches(text), expected, "{glob} {text}");
        }
    }

    #[test]
    fn a_path_is_matched_by_its_segments() {
        for (pattern, path, expected) in [
            ("/repos/**", "/repos/a/b", true),
            ("/repos/**", "/repos", true),
            ("/repos/**", "/reposx", false),
            ("/repos/*", "/repos/a", true),
            ("/repos/*", "/repos/a/b", false),
            ("/repos/*/issues", "/repos/a/issues", true),
            ("/**/issues", "/repos/a/issues", true),
            ("/**/issues/**", "/x/issues/1", true),
            ("/v*/x", "/v2/x", true),
            ("/", "/", true),
            ("/", "/a", false),
            ("/**", "/", true),
            ("/a", "/a/", false),
            ("/a/", "/a/", true),
        ] {
            let segments: Vec<&str> = path[1..].split('/').collect();
            let matches = PathPattern::new(pattern).unwrap().matches(&segments);
            assert_eq!(matches, expected, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_path_is_no_pattern() {
        for text in ["", "a", "*", "/a?b", "/a#b", "/a\\b", "/a\nb"] {
            assert_eq!(PathPattern::new(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_hostile_text_costs_little() {
        let glob = Glob::new("*a".repeat(64) + "b");
        assert!(!glob.matches(&"a".repeat(100_000)));
    }
}
