//! Takes out of a response what was put into its request: an origin that echoes what it was sent
//! gives nothing back. Each byte of it becomes `*`, so that nothing changes its length.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::percent::encode;
use super::replace::{Replacer, Text};
use crate::model::secret::Secret;
use crate::path::http::filter::Filter;

/// The values that went out with a request.
#[derive(Clone, Debug, Default)]
pub struct Scrub {
    values: Vec<Arc<Secret>>,
    bodies: bool,
}

impl Scrub {
    /// Takes another value; `bodies` where bodies are searched for it as well.
    pub(super) fn add(&mut self, value: Secret, bodies: bool) {
        self.bodies |= bodies;
        if value.expose().len() >= SHORTEST {
            self.values.push(Arc::new(value));
        }
    }

    /// Whether there is nothing to look for.
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether bodies are searched.
    pub const fn wants_bodies(&self) -> bool {
        self.bodies && !self.is_empty()
    }

    /// Takes the values out of every field.
    pub fn headers(&self, headers: &mut HeaderMap) {
        if self.is_empty() {
            return;
        }
        let mut replacer = self.replacer();
        for value in headers.values_mut() {
            let before = replacer.found();
            let scrubbed = replacer.whole(value.as_bytes());
            if replacer.found() > before {
                // Stars can stand in every field.
                *value = HeaderValue::from_bytes(&scrubbed)
                    .unwrap_or_else(|_never| HeaderValue::from_static("*"));
            }
        }
    }

    /// Takes the values out of a body as it passes.
    pub fn body(&self) -> Box<dyn Filter> {
        Box::new(Scrubber {
            scrub: self.clone(),
            replacer: self.replacer(),
        })
    }

    fn replacer(&self) -> Replacer {
        let forms = self.values.iter().flat_map(|value| forms(value.expose()));
        let text = |find: Vec<u8>| Text {
            put: Secret::new(vec![b'*'; find.len()]),
            find: Secret::new(find),
        };
        Replacer::new(forms.map(text).collect())
    }
}

struct Scrubber {
    scrub: Scrub,
    replacer: Replacer,
}

impl Filter for Scrubber {
    fn push(&mut self, data: Bytes) -> Option<Bytes> {
        Some(self.replacer.push(&data).into())
    }

    fn end(&mut self) -> Option<Bytes> {
        Some(self.replacer.end().into())
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) {
        self.scrub.headers(trailers);
    }

    fn held(&self) -> Option<usize> {
        Some(self.replacer.held())
    }
}

/// A value as it is, percent-encoded, and in base64: alone, or within something longer.
fn forms(value: &[u8]) -> Vec<Vec<u8>> {
    let strict = encode(value, b"");
    let component = encode(value, b"!'()*");
    let mut forms = vec![
        value.to_vec(),
        strict.to_ascii_lowercase().into_bytes(),
        strict.replace("%20", "+").into_bytes(),
        lower_digits(&strict).into_bytes(),
        lower_digits(&component).into_bytes(),
        component.into_bytes(),
        encode(value, b"!$&'()*+,;=:@/?").into_bytes(),
        strict.into_bytes(),
    ];
    for before in 0..3 {
        let mut within = vec![0; before];
        within.extend_from_slice(value);
        for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
            let encoded = engine.encode(&within);
            // Six bits a character: those that belong to the value alone.
            let first = (before * 8).div_ceil(6);
            let last = within.len() * 8 / 6;
            forms.push(encoded.as_bytes()[first..last].to_vec());
        }
    }
    forms.sort();
    forms.dedup();
    forms
}

/// `%2F` as `%2f`; the rest as it is.
fn lower_digits(encoded: &str) -> String {
    let mut digits = 0;
    let lower = |c: char| {
        if c == '%' {
            digits = 2;
            return c;
        }
        if digits > 0 {
            digits -= 1;
            return c.to_ascii_lowercase();
        }
        c
    };
    encoded.chars().map(lower).collect()
}

/// Values that are shorter stand in too much that is none of them.
const SHORTEST: usize = 8;

/// What a request must not ask for where the response is to be searched: another coding, or a part
/// of it, in pieces of which no value would be seen whole.
pub(super) const HIDING: [HeaderName; 3] = [
    http::header::ACCEPT_ENCODING,
    http::header::RANGE,
    http::header::IF_RANGE,
];

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &[u8] = b"s3cr3t/+ value=";

    fn scrub() -> Scrub {
        let mut scrub = Scrub::default();
        scrub.add(Secret::new(VALUE.to_vec()), true);
        scrub
    }

    #[test]
    fn every_form_of_a_value_is_taken_out_wherever_the_pieces_end() {
        let value = std::str::from_utf8(VALUE).unwrap();
        let base64 = |before: &str| STANDARD_NO_PAD.encode(format!("{before}{value}\"}}"));
        for echo in [
            format!("a {value} b"),
            "a=s3cr3t%2F%2B%20value%3D&b".to_owned(),
            "a=s3cr3t%2f%2b%20value%3d&b".to_owned(),
            "a=s3cr3t%2F%2B+value%3D&b".to_owned(),
            "/s3cr3t/+%20value=".to_owned(),
            format!("x {}", base64("")),
            format!("x {}", base64("{")),
            format!("x {}", base64("{\"")),
            format!("x {}", URL_SAFE_NO_PAD.encode(format!("ab{value}c"))),
        ] {
            for at in 0..=echo.len() {
                let mut filter = scrub().body();
                let (first, second) = echo.as_bytes().split_at(at);
                let mut out = filter.push(Bytes::copy_from_slice(first)).unwrap().to_vec();
                out.extend(filter.push(Bytes::copy_from_slice(second)).unwrap());
                out.extend(filter.end().unwrap());
                assert_eq!(out.len(), echo.len(), "{echo}");
                let left = String::from_utf8(out).unwrap();
                assert!(left.matches('*').count() >= 14, "{echo} at {at}: {left}");
                assert!(!left.contains("s3cr3t"), "{left}");
            }
        }
    }

    #[test]
    fn fields_are_searched_and_others_stay_as_they_are() {
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("Bearer s3cr3t/+ value="));
        headers.insert("x-other", HeaderValue::from_static("s3cr3t"));
        scrub().headers(&mut headers);
        assert_eq!(headers["x-echo"], "Bearer ***************");
        assert_eq!(headers["x-other"], "s3cr3t");
    }

    #[test]
    fn a_value_that_stands_in_everything_is_not_looked_for() {
        let mut scrub = Scrub::default();
        scrub.add(Secret::new(b"a".to_vec()), true);
        assert!(scrub.is_empty() && !scrub.wants_bodies());
    }
}
