//! Swaps a text that the tenant holds for the secret that it stands for, wherever it stands.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Uri;
use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap,
    HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::uri::PathAndQuery;

use super::Error;
use super::percent::encode;
use super::replace::{Replacer, Text};
use crate::model::secret::Secret;
use crate::path::http::filter::Filter;

/// A text and the secret that it stands for.
#[derive(Clone, Copy)]
pub(super) struct Swap<'a> {
    pub(super) placeholder: &'a str,
    pub(super) secret: &'a Secret,
}

impl Swap<'_> {
    /// Swaps in every field but those that frame the message, and within Basic (RFC 7617). Says
    /// whether there was anything to swap.
    pub(super) fn headers(self, headers: &mut HeaderMap) -> Result<bool, Error> {
        let mut replacer = self.replacer(self.secret.clone());
        for (name, value) in headers.iter_mut() {
            if FRAMING.contains(name) {
                continue;
            }
            let before = replacer.found();
            let swapped = match basic(name, value) {
                Some(pair) => {
                    let pair = replacer.whole(&pair);
                    format!("Basic {}", STANDARD.encode(pair)).into_bytes()
                }
                None => replacer.whole(value.as_bytes()),
            };
            if replacer.found() > before {
                *value = HeaderValue::from_bytes(&swapped).map_err(|_invalid| Error::NoHeader)?;
                value.set_sensitive(true);
            }
        }
        Ok(replacer.found() > 0)
    }

    /// Swaps in a query string.
    pub(super) fn query(self, uri: &mut Uri) -> bool {
        let Some(query) = uri.query() else {
            return false;
        };
        let secret = encode(self.secret.expose(), b"");
        let mut replacer = self.replacer(Secret::new(secret.into_bytes()));
        let swapped = replacer.whole(query.as_bytes());
        if replacer.found() == 0 {
            return false;
        }
        let target = [uri.path().as_bytes(), b"?", &swapped].concat();
        let mut parts = std::mem::take(uri).into_parts();
        parts.path_and_query = PathAndQuery::try_from(target).ok();
        *uri = Uri::from_parts(parts).unwrap_or_default();
        true
    }

    /// Swaps in a body that is all here; `None` where it is not in there.
    pub(super) fn whole(self, headers: &HeaderMap, body: &[u8]) -> Option<Bytes> {
        let mut replacer = self.body_replacer(headers);
        let swapped = replacer.whole(body);
        (replacer.found() > 0).then(|| swapped.into())
    }

    /// Swaps in a body as it passes.
    pub(super) fn streamed(self, headers: &HeaderMap) -> Box<dyn Filter> {
        Box::new(Swapper(self.body_replacer(headers)))
    }

    /// The secret as the body's type writes it.
    fn body_replacer(self, headers: &HeaderMap) -> Replacer {
        let secret = self.secret.expose();
        self.replacer(match Form::of(headers) {
            Form::Bytes => self.secret.clone(),
            Form::Fields => Secret::new(encode(secret, b"").into_bytes()),
            Form::Json => Secret::new(within_json(secret)),
        })
    }

    fn replacer(self, put: Secret) -> Replacer {
        let find = Secret::new(self.placeholder.as_bytes().to_vec());
        Replacer::new(vec![Text { find, put }])
    }
}

/// Whether a body can be searched: one in a content coding cannot.
pub fn is_readable(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(CONTENT_ENCODING).iter();
    codings.all(|coding| coding == "identity")
}

/// Name and password of Basic.
fn basic(name: &HeaderName, value: &HeaderValue) -> Option<Vec<u8>> {
    let (scheme, pair) = value.to_str().ok()?.split_once(' ')?;
    let is_basic = *name == AUTHORIZATION && scheme.eq_ignore_ascii_case("basic");
    is_basic
        .then(|| STANDARD.decode(pair.trim()).ok())
        .flatten()
}

/// How a body writes texts.
enum Form {
    Bytes,
    Fields,
    Json,
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let kind = kind
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let kind = kind.trim().to_ascii_lowercase();
        if kind == "application/x-www-form-urlencoded" {
            Self::Fields
        } else if kind == "application/json" || kind.ends_with("+json") {
            Self::Json
        } else {
            Self::Bytes
        }
    }
}

/// As it stands between the quotes of a text in JSON.
fn within_json(secret: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(secret) else {
        return secret.to_vec();
    };
    let quoted = serde_json::Value::from(text).to_string();
    quoted.as_bytes()[1..quoted.len() - 1].to_vec()
}

struct Swapper(Replacer);

impl Filter for Swapper {
    fn push(&mut self, data: Bytes) -> Option<Bytes> {
        Some(self.0.push(&data).into())
    }

    fn end(&mut self) -> Option<Bytes> {
        Some(self.0.end().into())
    }

    fn trailers(&mut self, _trailers: &mut HeaderMap) {}

    fn held(&self) -> Option<usize> {
        None
    }
}

const FRAMING: [HeaderName; 6] = [
    CONNECTION,
    CONTENT_LENGTH,
    HOST,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    const DUMMY: &str = "DUMMY-TOKEN";

    fn with(secret: &str, test: impl FnOnce(Swap<'_>)) {
        test(Swap {
            placeholder: DUMMY,
            secret: &Secret::new(secret.as_bytes().to_vec()),
        });
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), value.parse().unwrap())
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn headers_are_swapped_also_within_basic() {
        with("s3cr3t", |swap| {
            let basic = format!("Basic {}", STANDARD.encode(format!("u:{DUMMY}")));
            let mut headers = headers(&[
                ("authorization", &basic),
                ("x-api-key", "v1 DUMMY-TOKEN;DUMMY-TOKEN"),
                ("host", "DUMMY-TOKEN.example"),
            ]);
            assert!(swap.headers(&mut headers).unwrap());
            let swapped = format!("Basic {}", STANDARD.encode("u:s3cr3t"));
            assert_eq!(headers["authorization"], swapped);
            assert_eq!(headers["x-api-key"], "v1 s3cr3t;s3cr3t");
            assert_eq!(headers["host"], "DUMMY-TOKEN.example");
            assert!(!swap.headers(&mut HeaderMap::new()).unwrap());
        });
        with("a\nb", |swap| {
            let mut headers = headers(&[("x-api-key", DUMMY)]);
            assert!(swap.headers(&mut headers).is_err());
        });
    }

    #[test]
    fn a_secret_is_written_as_what_is_around_it_wants() {
        with("a\"&b", |swap| {
            let mut uri: Uri = "/p/DUMMY-TOKEN?k=DUMMY-TOKEN&x".parse().unwrap();
            assert!(swap.query(&mut uri));
            assert_eq!(uri, "/p/DUMMY-TOKEN?k=a%22%26b&x");
            for (kind, body, expected) in [
                ("text/plain", "k=DUMMY-TOKEN", "k=a\"&b"),
                (
                    "application/x-www-form-urlencoded; charset=utf-8",
                    "k=DUMMY-TOKEN",
                    "k=a%22%26b",
                ),
                ("application/json", "[\"DUMMY-TOKEN\"]", "[\"a\\\"&b\"]"),
                ("application/vnd.x+JSON", "\"DUMMY-TOKEN\"", "\"a\\\"&b\""),
            ] {
                let headers = headers(&[("content-type", kind)]);
                let swapped = swap.whole(&headers, body.as_bytes()).unwrap();
                assert_eq!(swapped, expected, "{kind}");
            }
            assert_eq!(swap.whole(&HeaderMap::new(), b"nothing"), None);
        });
    }

    #[test]
    fn a_body_as_it_passes_is_swapped_across_its_pieces() {
        with("s3cr3t", |swap| {
            let mut filter = swap.streamed(&HeaderMap::new());
            let mut out = Vec::new();
            for piece in ["x DUM", "MY-", "TOKEN y DUMMY"] {
                out.extend(filter.push(Bytes::from(piece)).unwrap());
            }
            out.extend(filter.end().unwrap());
            assert_eq!(out, b"x s3cr3t y DUMMY");
        });
    }
}
