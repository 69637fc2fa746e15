//! Replies that the agent writes itself, all in one place and one shape.

pub mod grpc;
mod face;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Response};
use serde::Serialize;

use self::face::{closes, face};
use super::body::Body;
use crate::model::reason::Reason;
use crate::model::rule::Face;

/// What a refusal tells the workload about its own request, and nothing about anybody else's.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Why.
    pub reason: Reason,
    /// Whose request it was.
    pub tenant: &'a str,
    /// The method.
    pub method: &'a Method,
    /// The host, where the request named one.
    pub host: Option<&'a str>,
    /// The port of the original destination.
    pub port: u16,
    /// The path, without query.
    pub path: &'a str,
    /// The rule that decided.
    pub rule: Option<&'a str>,
    /// What the rule says to the workload, if anything.
    pub face: Option<&'a Face>,
    /// When the same would be answered otherwise, in whole seconds.
    pub retry_after: Option<u64>,
    /// Number of the exchange, as in the access log.
    pub request_id: &'a str,
}

#[derive(Serialize)]
struct Document<'a> {
    error: &'static str,
    reason: &'static str,
    tenant: &'a str,
    method: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<&'a str>,
    port: u16,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<&'a str>,
    hint: &'a str,
    request_id: &'a str,
}

/// The reply to a request that does not go on: JSON, and the reason in `outbound-reason`.
pub fn refusal(refusal: &Refusal<'_>) -> Response<Body> {
    let (status, error, hint) = face(refusal.reason);
    let own = refusal.face;
    let status = own.and_then(|own| own.status).unwrap_or(status);
    let hint = own.and_then(|own| own.message.as_deref()).unwrap_or(hint);
    let document = Document {
        error,
        reason: refusal.reason.label(),
        tenant: refusal.tenant,
        method: refusal.method.as_str(),
        host: refusal.host,
        port: refusal.port,
        path: refusal.path,
        rule: refusal.rule,
        hint,
        request_id: refusal.request_id,
    };
    let mut json = serde_json::to_vec(&document).unwrap_or_default();
    json.push(b'\n');
    let mut response = Response::new(Body::from(Bytes::from(json)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(
        OUTBOUND_REASON,
        HeaderValue::from_static(refusal.reason.label()),
    );
    if let Some(seconds) = refusal.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if closes(refusal.reason) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Says the reason to machines.
pub const OUTBOUND_REASON: HeaderName = HeaderName::from_static("outbound-reason");

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn policy_answers_403_and_says_why() {
        let response = refusal(&Refusal {
            reason: Reason::NoRule,
            tenant: "acme",
            method: &Method::GET,
            host: Some("evil.example"),
            port: 80,
            path: "/x",
            rule: None,
            face: None,
            retry_after: None,
            request_id: "1",
        });
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        assert_eq!(response.headers()[OUTBOUND_REASON], "no_rule");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
    }

    #[test]
    fn a_denial_is_never_a_gateway_error() {
        for reason in Reason::ALL {
            let denied = crate::model::reason::Ending::of(*reason).outcome
                == crate::model::reason::Outcome::Denied;
            assert!(
                !denied || face(*reason).0 == StatusCode::FORBIDDEN,
                "{reason:?}"
            );
        }
    }
}
