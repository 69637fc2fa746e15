//! What a rule does to the requests and responses that it allows.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Request, Uri};

use super::{Destination, pairs};
use crate::model::rule::{Edit, Effects, Extent, Logged, PathRewrite, Rewrite};

/// Edits headers, in the order of the edits.
pub fn edit(headers: &mut HeaderMap, edits: &[Edit]) {
    for edit in edits {
        match edit {
            Edit::Set(name, value) => drop(headers.insert(name, value.clone())),
            Edit::Append(name, value) => drop(headers.append(name, value.clone())),
            Edit::Remove(name) => drop(headers.remove(name)),
        }
    }
}

/// Rewrites a request. Gives the new destination where host or path changed: it is decided
/// again.
pub fn rewrite<B>(
    request: &mut Request<B>,
    effects: &Effects,
    destination: &Destination,
) -> Option<Destination> {
    let Rewrite {
        host,
        path,
        headers,
    } = &effects.request;
    edit(request.headers_mut(), headers);
    let moved = host.as_ref().map(|(host, port)| {
        // The name of the new host is written where the old one stood.
        request.headers_mut().remove(HOST);
        Destination {
            host: host.clone(),
            port: port.unwrap_or(destination.port),
            ..destination.clone()
        }
    });
    let new_path = path.as_ref().and_then(|path| replace(path, request.uri()));
    let has_new_path = new_path.is_some();
    if let Some(new_path) = new_path {
        let mut parts = request.uri().clone().into_parts();
        parts.path_and_query = Some(new_path);
        if let Ok(uri) = Uri::from_parts(parts) {
            *request.uri_mut() = uri;
        }
    }
    moved.or_else(|| has_new_path.then(|| destination.clone()))
}

/// The new path with the old query; none where the rule's prefix is not there.
fn replace(rewrite: &PathRewrite, target: &Uri) -> Option<PathAndQuery> {
    let PathRewrite { prefix, with } = rewrite;
    let path = if prefix.is_empty() {
        Cow::Borrowed(&**with)
    } else {
        let prefix = prefix.trim_end_matches('/');
        let rest = target.path().strip_prefix(prefix)?;
        if !rest.is_empty() && !rest.starts_with('/') {
            return None;
        }
        Cow::Owned(format!("{}{rest}", with.trim_end_matches('/')))
    };
    let path = if path.is_empty() {
        Cow::Borrowed("/")
    } else {
        path
    };
    let whole = match target.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.into_owned(),
    };
    whole.parse().ok()
}

/// What a rule wants to be logged of a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    /// Headers, each with its value.
    pub headers: Vec<(HeaderName, String)>,
    /// The query, or as much of it as is wanted.
    pub query: Option<String>,
}

/// Reads what a rule wants to be logged, as the workload sent it.
pub fn capture<B>(request: &Request<B>, logged: &Logged) -> Captured {
    let is_full = logged.extent == Extent::Full;
    let is_wanted =
        |name: &HeaderName| logged.headers.contains(name) || (is_full && !SECRET.contains(name));
    let headers = request.headers().iter();
    let headers = headers.filter(|(name, value)| is_wanted(name) && !value.is_sensitive());
    let text = |bytes: &[u8]| String::from_utf8_lossy(cut(bytes)).into_owned();
    let query = request.uri().query();
    let query = match (query, is_full) {
        (Some(query), true) => Some(text(query.as_bytes())),
        (query, _) => {
            let wanted =
                pairs(query).filter(|(key, _)| logged.query.iter().any(|one| **one == **key));
            let wanted: Vec<String> = wanted
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            (!wanted.is_empty()).then(|| text(wanted.join("&").as_bytes()))
        }
    };
    Captured {
        headers: headers
            .take(MAX_HEADERS)
            .map(|(name, value)| (name.clone(), text(value.as_bytes())))
            .collect(),
        query,
    }
}

fn cut(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(MAX_BYTES)]
}

/// Longer values are cut in the log.
const MAX_BYTES: usize = 1024;
const MAX_HEADERS: usize = 64;

/// What `full` leaves out all the same.
const SECRET: [HeaderName; 6] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-amz-security-token"),
    HeaderName::from_static("x-auth-token"),
];

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::model::target::Scheme;

    fn request(target: &str) -> Request<()> {
        Request::get(target)
            .header("host", "a.test")
            .header("authorization", "Bearer t0ken")
            .header("x-trace", "7")
            .body(())
            .unwrap()
    }

    fn destination() -> Destination {
        Destination {
            scheme: Scheme::Https,
            host: "a.test".parse().unwrap(),
            port: 443,
        }
    }

    #[test]
    fn headers_are_removed_set_and_appended() {
        let mut headers = request("/").headers().clone();
        let (name, value) = (
            HeaderName::from_static("x-trace"),
            HeaderValue::from_static("8"),
        );
        edit(
            &mut headers,
            &[
                Edit::Remove(AUTHORIZATION),
                Edit::Append(name.clone(), value.clone()),
            ],
        );
        assert_eq!(headers.get_all(&name).iter().count(), 2);
        assert!(!headers.contains_key(AUTHORIZATION));
        edit(&mut headers, &[Edit::Set(name.clone(), value.clone())]);
        assert_eq!(headers.get_all(&name).iter().collect::<Vec<_>>(), [&value]);
    }

    #[test]
    fn a_path_is_replaced_whole_or_by_whole_segments() {
        for (prefix, with, target, expected) in [
            ("", "/new", "/old?q=1", Some("/new?q=1")),
            ("/v1", "/v2", "/v1/x?q=1", Some("/v2/x?q=1")),
            ("/v1", "/v2", "/v1", Some("/v2")),
            ("/v1", "/v2", "/v10", None),
            ("/v1/", "/", "/v1/x", Some("/x")),
            ("/", "/base", "/x", Some("/base/x")),
        ] {
            let mut request = request(target);
            let mut effects = Effects::default();
            effects.request.path = Some(PathRewrite {
                prefix: prefix.into(),
                with: with.into(),
            });
            let moved = rewrite(&mut request, &effects, &destination());
            assert_eq!(moved.is_some(), expected.is_some(), "{prefix} {target}");
            let uri = request.uri().to_string();
            assert_eq!(uri, expected.unwrap_or(target));
        }
    }

    #[test]
    fn another_host_is_another_destination_and_the_old_name_goes() {
        let mut request = request("/");
        let mut effects = Effects::default();
        effects.request.host = Some(("b.test".parse().unwrap(), Some(8443)));
        let moved = rewrite(&mut request, &effects, &destination()).unwrap();
        assert_eq!(moved.authority(), "b.test:8443");
        assert!(!request.headers().contains_key(HOST));
    }

    #[test]
    fn secrets_are_captured_only_where_they_are_named() {
        let captured = |extent, headers: &[HeaderName], query: &[&str]| {
            let logged = Logged {
                extent,
                headers: headers.into(),
                query: query.iter().map(|key| (*key).into()).collect(),
            };
            let captured = capture(&request("/?a=1&b=2&a=3"), &logged);
            let headers: Vec<String> = captured
                .headers
                .iter()
                .map(|(name, _)| name.to_string())
                .collect();
            (headers.join(" "), captured.query)
        };
        assert_eq!(
            captured(Extent::Full, &[], &[]),
            ("host x-trace".to_owned(), Some("a=1&b=2&a=3".to_owned()))
        );
        assert_eq!(
            captured(Extent::Metadata, &[], &["c"]),
            (String::new(), None)
        );
        assert_eq!(
            captured(Extent::Metadata, &[AUTHORIZATION], &["a"]),
            ("authorization".to_owned(), Some("a=1&a=3".to_owned()))
        );
    }
}
