//! What each reason looks like to a workload.

use http::StatusCode;

use crate::model::reason::Reason;

/// Status, `error` and `hint` of each reason. Policy never answers 5xx.
pub(super) const fn face(reason: Reason) -> (StatusCode, &'static str, &'static str) {
    use Reason as R;
    use StatusCode as S;
    match reason {
        R::RuleDeny => (
            S::FORBIDDEN,
            "denied",
            "a rule of this platform denies the destination; ask its operator",
        ),
        R::ConditionFailed => (
            S::FORBIDDEN,
            "denied",
            "a rule of this platform cannot be evaluated for the request; tell its operator",
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
        R::ConnectionLimit | R::StreamLimit | R::DnsLimit | R::TenantConnections => (
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
        R::RequestBodyTimeout => (
            S::REQUEST_TIMEOUT,
            "timeout",
            "the body of the request did not arrive in time",
        ),
        R::ClientHelloTimeout
        | R::DownstreamTlsTimeout
        | R::RequestHeaderTimeout
        | R::TunnelIdleTimeout
        | R::DnsIdleTimeout
        | R::DownstreamDead => (
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
        R::ResolveTimeout => (
            S::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the host name could not be looked up in time",
        ),
        R::ConnectTimeout => (
            S::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the destination did not take the connection in time",
        ),
        R::UpstreamTlsTimeout => (
            S::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the destination did not finish the TLS handshake in time",
        ),
        R::ResponseHeaderTimeout | R::ResponseBodyTimeout | R::TokenTimeout => (
            S::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the destination did not answer in time",
        ),
        R::UpstreamDead => (
            S::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the destination gave no sign of life",
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
        R::WorkerRefused => (
            S::FORBIDDEN,
            "worker_refused",
            "the platform's outbound worker refused this",
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
pub(super) const fn closes(reason: Reason) -> bool {
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
            | Reason::RequestBodyTimeout
            | Reason::RequestHeaderTimeout
            | Reason::Draining
            | Reason::Unassigned
    )
}
