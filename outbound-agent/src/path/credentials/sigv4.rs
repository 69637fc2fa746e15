//! AWS Signature Version 4: a request signed as its sender would, whatever signature it had.
//!
//! Follows "Create a signed AWS API request" of AWS' IAM reference; proven against the test suite
//! that AWS published for it. S3 differs in three ways: its paths are encoded once and not
//! normalised, and what the body's hash is stands in `x-amz-content-sha256`.

mod chunks;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Uri};
use ring::{digest, hmac};
use time::OffsetDateTime;

pub(super) use self::chunks::Chunks;

use super::percent::{decode, encode};
use crate::model::secret::Secret;

/// Who signs, and for what.
#[derive(Clone, Copy)]
pub(super) struct Signing<'a> {
    pub(super) access_key_id: &'a str,
    pub(super) secret_access_key: &'a Secret,
    pub(super) session_token: Option<&'a Secret>,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
}

/// What of a request is signed.
pub(super) struct Signed<'a> {
    pub(super) method: &'a Method,
    pub(super) uri: &'a Uri,
    /// `host[:port]` as the upstream will read it.
    pub(super) host: &'a str,
    pub(super) headers: &'a mut HeaderMap,
}

/// What the signature says of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Payload {
    /// Its hash.
    Hash(String),
    /// One of the words that stand for no hash, or for hashes within the body.
    Word(&'static str),
}

/// What stands in `x-amz-content-sha256` for a body without a hash of its own, as AWS names them.
pub(super) const WORDS: [&str; 4] = [
    "UNSIGNED-PAYLOAD",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    STREAMING,
    STREAMING_TRAILER,
];
/// Chunks that are signed one by one.
pub(super) const STREAMING: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
/// As [`STREAMING`], with trailers that are signed as well.
pub(super) const STREAMING_TRAILER: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
pub(super) const UNSIGNED: &str = WORDS[0];

impl Payload {
    pub(super) fn of(body: &[u8]) -> Self {
        Self::Hash(hash(body))
    }

    /// What the sender said of it; `None` where that is nothing of the kind.
    pub(super) fn declared(value: &HeaderValue) -> Option<Self> {
        let text = value.to_str().ok()?;
        let word = WORDS.into_iter().find(|word| *word == text);
        let is_hash = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        word.map(Self::Word)
            .or_else(|| is_hash.then(|| Self::Hash(text.to_owned())))
    }

    /// Whether each of its chunks is signed.
    pub(super) fn is_chunked(&self) -> bool {
        let chunked = [STREAMING, STREAMING_TRAILER];
        matches!(self, Self::Word(word) if chunked.contains(word))
    }

    fn text(&self) -> &str {
        match self {
            Self::Hash(hash) => hash,
            Self::Word(word) => word,
        }
    }
}

/// The signature, and what signs what follows it.
pub(super) struct Signature {
    pub(super) text: String,
    pub(super) key: hmac::Key,
    pub(super) moment: Moment,
    pub(super) scope: String,
}

/// `20150830T123600Z`, and its first eight characters.
#[derive(Clone, Debug)]
pub(super) struct Moment(String);

impl Moment {
    pub(super) fn of(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let time = OffsetDateTime::UNIX_EPOCH + since;
        Self(format!(
            "{:04}{:02}{:02}T{:02}{:02}{:02}Z",
            time.year(),
            u8::from(time.month()),
            time.day(),
            time.hour(),
            time.minute(),
            time.second()
        ))
    }

    fn date(&self) -> &str {
        &self.0[..8]
    }
}

/// Takes off what the request was signed with, and puts the signature of `signing` in its place.
/// `None` where a part of it can be in no header.
pub(super) fn sign(
    signed: Signed<'_>,
    signing: Signing<'_>,
    payload: &Payload,
    moment: Moment,
) -> Option<Signature> {
    let Signed {
        method,
        uri,
        host,
        headers,
    } = signed;
    let theirs = headers.get(AUTHORIZATION).and_then(signed_headers);
    for name in [AUTHORIZATION, AMZ_DATE, AMZ_TOKEN, AMZ_SHA256] {
        headers.remove(name);
    }
    headers.insert(AMZ_DATE, HeaderValue::try_from(&*moment.0).ok()?);
    if let Some(token) = signing.session_token {
        let mut token = HeaderValue::from_bytes(token.expose()).ok()?;
        token.set_sensitive(true);
        headers.insert(AMZ_TOKEN, token);
    }
    let is_s3 = signing.service == "s3";
    if is_s3 || matches!(payload, Payload::Word(_)) {
        headers.insert(AMZ_SHA256, HeaderValue::try_from(payload.text()).ok()?);
    }
    let (canonical, names) = canonical_headers(headers, host, &theirs.unwrap_or_default())?;
    let request = format!(
        "{method}\n{}\n{}\n{canonical}\n{names}\n{}",
        canonical_path(uri.path(), is_s3),
        canonical_query(uri.query().unwrap_or_default()),
        payload.text(),
    );
    let date = moment.date();
    let scope = format!("{date}/{}/{}/aws4_request", signing.region, signing.service);
    let string = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        moment.0,
        hash(request.as_bytes())
    );
    let key = signing_key(&signing, date);
    let text = hex(hmac::sign(&key, string.as_bytes()).as_ref());
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={text}",
        signing.access_key_id
    );
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    headers.insert(AUTHORIZATION, value);
    Some(Signature {
        text,
        key,
        moment,
        scope,
    })
}

/// What the sender had signed, where it had.
fn signed_headers(authorization: &HeaderValue) -> Option<Vec<String>> {
    let (_, rest) = authorization.to_str().ok()?.split_once("SignedHeaders=")?;
    let names = rest.split([',', ' ']).next()?.split(';');
    Some(names.map(str::to_ascii_lowercase).collect())
}

/// The headers that are signed, each on its line, and their names. Those are `host`, those of AWS,
/// the body's type, and what else the sender had signed.
fn canonical_headers(
    headers: &HeaderMap,
    host: &str,
    theirs: &[String],
) -> Option<(String, String)> {
    let is_signed = |name: &&HeaderName| {
        is_signed(name) || (**name != HOST && theirs.iter().any(|signed| name.as_str() == signed))
    };
    let mut names: Vec<&HeaderName> = headers.keys().filter(is_signed).collect();
    names.push(&HOST);
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    let mut canonical = String::new();
    for name in &names {
        canonical.push_str(name.as_str());
        canonical.push(':');
        if **name == HOST {
            canonical.push_str(host);
        } else {
            let values = headers.get_all(*name).iter();
            let values: Option<Vec<String>> = values.map(trimmed).collect();
            canonical.push_str(&values?.join(","));
        }
        canonical.push('\n');
    }
    let names: Vec<&str> = names.into_iter().map(HeaderName::as_str).collect();
    Some((canonical, names.join(";")))
}

fn is_signed(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-amz-") || ["content-type", "content-md5"].contains(&name)
}

/// Without blanks at the ends, and with single ones between.
fn trimmed(value: &HeaderValue) -> Option<String> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    Some(words.join(" "))
}

fn canonical_path(path: &str, is_s3: bool) -> String {
    if is_s3 {
        return encode(&decode(path), b"/");
    }
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let ends = path.ends_with('/') || path.ends_with("/.") || path.ends_with("/..");
    // Encoded as it is sent, and once more.
    let encoded: Vec<String> = segments
        .iter()
        .map(|segment| encode(encode(&decode(segment), b"").as_bytes(), b""))
        .collect();
    let mut canonical = format!("/{}", encoded.join("/"));
    if ends && canonical.len() > 1 {
        canonical.push('/');
    }
    canonical
}

fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let canonical = |text: &str| encode(&decode(text), b"");
            (canonical(name), canonical(value))
        })
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

fn signing_key(signing: &Signing<'_>, date: &str) -> hmac::Key {
    let first = Secret::new([b"AWS4", signing.secret_access_key.expose()].concat());
    let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.expose());
    for part in [date, signing.region, signing.service, "aws4_request"] {
        key = hmac::Key::new(
            hmac::HMAC_SHA256,
            hmac::sign(&key, part.as_bytes()).as_ref(),
        );
    }
    key
}

/// SHA-256, as signatures write it.
pub(super) fn hash(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// Whether a query carries a signature (a presigned URL): it speaks for itself.
pub(super) fn is_presigned(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| pair.starts_with("X-Amz-Signature="))
}

pub(super) const AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
pub(super) const AMZ_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
pub(super) const AMZ_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

#[cfg(test)]
mod tests;
