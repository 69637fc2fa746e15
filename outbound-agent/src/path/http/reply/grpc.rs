//! Refusals as a gRPC client reads them: a status of its own, in the header of a response that has
//! no body (`Trailers-Only` of gRPC over HTTP/2). What it makes of a status of HTTP names no reason.

use std::fmt::Write as _;

use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::super::body::Body;
use super::{OUTBOUND_REASON, Refusal, face};

/// Whether a request is a call of gRPC, by its content type.
pub fn is_asked(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let rest = kind.and_then(|kind| kind.strip_prefix(b"application/grpc"));
    // gRPC-Web, `application/grpc-web`, has its trailers elsewhere.
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}

/// As [`super::refusal`].
pub fn refusal(refusal: &Refusal<'_>) -> Response<Body> {
    let (status, error, hint) = face(refusal.reason);
    let reason = refusal.reason.label();
    let mut message = format!("{error}: {reason}: {hint}");
    if let Some(rule) = refusal.rule {
        message = format!("{message}; rule: {rule}");
    }
    message = format!("{message}; request_id: {}", refusal.request_id);
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, code(status).into());
    if let Ok(message) = HeaderValue::try_from(encoded(&message)) {
        headers.insert(GRPC_MESSAGE, message);
    }
    headers.insert(OUTBOUND_REASON, HeaderValue::from_static(reason));
    response
}

/// gRPC's own reading of a status of HTTP (doc/http-grpc-status-mapping.md), and what it leaves
/// open: 501 is UNIMPLEMENTED, everything else UNKNOWN.
fn code(status: StatusCode) -> u16 {
    match status {
        StatusCode::BAD_REQUEST => 13,
        StatusCode::FORBIDDEN => 7,
        StatusCode::NOT_IMPLEMENTED => 12,
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => 14,
        _ => 2,
    }
}

/// `Status-Message` of gRPC over HTTP/2: what is not printable ASCII, and `%`, is percent-encoded.
fn encoded(message: &str) -> String {
    message.bytes().fold(String::new(), |mut encoded, byte| {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            // Writing to a `String` does not fail.
            _ => _ = write!(encoded, "%{byte:02X}"),
        }
        encoded
    })
}

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::model::reason::Reason;

    #[test]
    fn a_denied_call_is_told_in_grpc() {
        let response = refusal(&Refusal {
            reason: Reason::RuleDeny,
            tenant: "acme",
            method: &Method::POST,
            host: Some("evil.example"),
            port: 443,
            path: "/test.Service/Call",
            rule: Some("deny 100%.example"),
            face: None,
            retry_after: None,
            request_id: "1",
        });
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[GRPC_STATUS], "7");
        assert_eq!(
            response.headers()[GRPC_MESSAGE],
            "denied: rule_deny: a rule of this platform denies the destination; ask its operator; \
             rule: deny 100%25.example; request_id: 1"
        );
    }

    #[test]
    fn a_call_is_known_by_its_content_type() {
        let asked = |kind| {
            let kind = HeaderValue::from_static(kind);
            is_asked(&HeaderMap::from_iter([(CONTENT_TYPE, kind)]))
        };
        assert!(asked("application/grpc"));
        assert!(asked("application/grpc+proto"));
        assert!(!asked("application/grpc-web"));
        assert!(!asked("application/json"));
        assert!(!is_asked(&HeaderMap::new()));
    }
}
