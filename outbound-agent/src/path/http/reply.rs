//! Replies that the agent writes itself, all in one place and one shape.

pub mod grpc;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, Response, StatusCode};
use serde::Serialize;

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

/// Status, `error` and `hint` of each reason. Policy never answers 5xx.
const fn face(reason: Reason) -> (StatusCode, &'static str, &'static str) {
    use Reason as R;
    use StatusCode as S;
    match reason {
        R::RuleDeny => (
            S::FORBIDDEN,
            "denied",
            "a rule of this platform denies the destination; ask its operator",
        ),
        R::NoRule => (
            S::FORBIDDEN,
            "denied",
            "no rule of this platform allows the destination; ask its operator to add one",
        ),
        R::PrivateAddress => (
            S::FORBIDDEN,
            "denied",
            "the destination is not on the public Internet and no rule names its address",
        ),
        R::MetadataAddress => (
            S::FORBIDDEN,
            "denied",
            "the metadata service of the host is not for workloads",
        ),
        R::PolicyChanged => (
            S::FORBIDDEN,
            "denied",
            "the rules of this platform have changed and do not allow this any more",
        ),
        R::Unassigned => (
            S::FORBIDDEN,
            "denied",
            "this workload has no tenant on this platform any more",
        ),
        R::AgentAddress => (
            S::FORBIDDEN,
            "denied",
            "the destination is the platform itself",
        ),
        R::DestinationMismatch => (
            S::MISDIRECTED_REQUEST,
            "misdirected",
            "the request names another host or port than the connection was opened to",
        ),
        R::NoHost => (
            S::BAD_REQUEST,
            "bad_request",
            "the request names no host, or not a valid one",
        ),
        R::Malformed => (
            S::BAD_REQUEST,
            "bad_request",
            "the request is malformed or ambiguous",
        ),
        R::TwoHosts => (
            S::BAD_REQUEST,
            "bad_request",
            "the request names its host twice",
        ),
        R::TwoLengths => (
            S::BAD_REQUEST,
            "bad_request",
            "the request's body has two lengths",
        ),
        R::InvalidLength => (
            S::BAD_REQUEST,
            "bad_request",
            "the request's Content-Length is not valid",
        ),
        R::TransferCoding => (
            S::BAD_REQUEST,
            "bad_request",
            "the request's Transfer-Encoding is not `chunked` alone",
        ),
        R::InvalidChunk => (
            S::BAD_REQUEST,
            "bad_request",
            "a chunk of the request's body is malformed",
        ),
        R::InvalidHeader => (
            S::BAD_REQUEST,
            "bad_request",
            "a field of the request's header is malformed",
        ),
        R::BareLineEnd => (
            S::BAD_REQUEST,
            "bad_request",
            "the request has a CR or an LF that stands alone",
        ),
        R::HeaderTooLarge => (
            S::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "header_too_large",
            "the request's header is larger than the platform takes",
        ),
        R::UnsupportedProtocol => (
            S::NOT_IMPLEMENTED,
            "unsupported",
            "the platform does not carry this protocol or method",
        ),
        R::RateLimit => (
            S::TOO_MANY_REQUESTS,
            "limited",
            "a rule of this platform allows no more of these requests; try again later",
        ),
        R::ConnectionLimit | R::DnsLimit | R::TenantConnections => (
            S::TOO_MANY_REQUESTS,
            "limited",
            "too many connections at once",
        ),
        R::TenantRequests => (S::TOO_MANY_REQUESTS, "limited", "too many requests at once"),
        R::RequestRate => (
            S::TOO_MANY_REQUESTS,
            "limited",
            "too many requests lately; retry-after says when to come again",
        ),
        R::Quota => (
            S::TOO_MANY_REQUESTS,
            "limited",
            "the quota of the day or month is used up; retry-after says when it is whole again",
        ),
        R::BodyTooLarge => (
            S::PAYLOAD_TOO_LARGE,
            "limited",
            "the body is larger than this platform lets pass",
        ),
        R::ResponseTooLarge => (
            S::BAD_GATEWAY,
            "limited",
            "the response is larger than this platform lets pass",
        ),
        R::TooLong => (
            S::GATEWAY_TIMEOUT,
            "limited",
            "the request took longer than this platform lets one take",
        ),
        R::DownstreamTimeout => (
            S::REQUEST_TIMEOUT,
            "timeout",
            "the request did not arrive in time",
        ),
        R::DownstreamAborted => (
            S::BAD_REQUEST,
            "bad_request",
            "the request ended before it was complete",
        ),
        R::CredentialUnavailable => (
            S::BAD_GATEWAY,
            "credential_unavailable",
            "the platform could not obtain a credential for the destination",
        ),
        R::Unscrubbable => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "the response is in a content coding that was not asked for, and may not pass",
        ),
        R::UpstreamUnresolved => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "the host name has no address",
        ),
        R::UpstreamRefused => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "the destination refuses connections",
        ),
        R::UpstreamUnreachable => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "there is no route to the destination",
        ),
        R::UpstreamReset => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "the destination closed the connection before it answered",
        ),
        R::UpstreamTlsUnverified => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "the destination's certificate could not be verified",
        ),
        R::UpstreamTls => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "the destination broke off the TLS handshake",
        ),
        R::UpstreamMalformed => (
            S::BAD_GATEWAY,
            "upstream_failed",
            "the destination's answer is malformed",
        ),
        R::UpstreamTimeout => (
            S::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the destination did not answer in time",
        ),
        R::NotDispatched => (
            S::SERVICE_UNAVAILABLE,
            "unavailable",
            "the platform has not dispatched this workload; tell its operator",
        ),
        R::WorkerException => (
            S::INTERNAL_SERVER_ERROR,
            "worker_failed",
            "the platform's outbound worker failed; tell its operator the request_id",
        ),
        R::WorkerTimeout => (
            S::GATEWAY_TIMEOUT,
            "worker_failed",
            "the platform's outbound worker did not answer in time; tell its operator the request_id",
        ),
        R::WorkerCpu | R::WorkerMemory | R::WorkerDied | R::WorkerUnavailable | R::WorkerLimit => (
            S::SERVICE_UNAVAILABLE,
            "worker_failed",
            "the platform's outbound worker is not available; try again",
        ),
        R::WorkerRefused => (
            S::FORBIDDEN,
            "worker_refused",
            "the platform's outbound worker refused this",
        ),
        R::WorkerLoop => (
            S::LOOP_DETECTED,
            "worker_failed",
            "the platform's outbound worker made this request itself; tell its operator",
        ),
        R::LogUnavailable | R::Draining => (
            S::SERVICE_UNAVAILABLE,
            "unavailable",
            "the platform takes no requests at the moment; try again",
        ),
        R::UnknownFlow
        | R::UnknownTenant
        | R::FlowMismatch
        | R::NoServerName
        | R::Kernel
        | R::DownstreamTls
        | R::Internal => (
            S::INTERNAL_SERVER_ERROR,
            "internal",
            "the platform failed; tell its operator the request_id",
        ),
    }
}

/// Whether the connection cannot be trusted to be in step after this.
const fn closes(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::Malformed
            | Reason::NoHost
            | Reason::TwoHosts
            | Reason::TwoLengths
            | Reason::InvalidLength
            | Reason::TransferCoding
            | Reason::InvalidChunk
            | Reason::InvalidHeader
            | Reason::BareLineEnd
            | Reason::HeaderTooLarge
            | Reason::BodyTooLarge
            | Reason::DownstreamAborted
            | Reason::DownstreamTimeout
            | Reason::Draining
            | Reason::Unassigned
    )
}

/// Says the reason to machines.
pub const OUTBOUND_REASON: HeaderName = HeaderName::from_static("outbound-reason");

#[cfg(test)]
mod tests {
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
