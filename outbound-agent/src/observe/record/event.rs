//! What no well-behaved workload does.

use crate::model::reason::Reason;

/// Whether what ends for this reason was attempted by something that probes the agent, rather
/// than by a workload that policy or the network stopped.
pub const fn is_security_event(reason: Reason) -> bool {
    match reason {
        Reason::UnknownFlow
        | Reason::UnknownTenant
        | Reason::FlowMismatch
        | Reason::AgentAddress
        | Reason::MetadataAddress
        | Reason::Malformed
        | Reason::TwoHosts
        | Reason::TwoLengths
        | Reason::InvalidLength
        | Reason::TransferCoding
        | Reason::InvalidChunk
        | Reason::InvalidHeader
        | Reason::BareLineEnd
        | Reason::DestinationMismatch
        | Reason::Kernel => true,
        Reason::RuleDeny
        | Reason::ConditionFailed
        | Reason::NoRule
        | Reason::PrivateAddress
        | Reason::NoServerName
        | Reason::NoHost
        | Reason::HeaderTooLarge
        | Reason::UnsupportedProtocol
        | Reason::ClientHelloTimeout
        | Reason::DownstreamTlsTimeout
        | Reason::RequestHeaderTimeout
        | Reason::RequestBodyTimeout
        | Reason::TunnelIdleTimeout
        | Reason::DnsIdleTimeout
        | Reason::DownstreamDead
        | Reason::DownstreamAborted
        | Reason::DownstreamTls
        | Reason::ConnectionLimit
        | Reason::StreamLimit
        | Reason::DnsLimit
        | Reason::TenantConnections
        | Reason::TenantRequests
        | Reason::RequestRate
        | Reason::Quota
        | Reason::RateLimit
        | Reason::BodyTooLarge
        | Reason::ResponseTooLarge
        | Reason::TooLong
        | Reason::NotDispatched
        | Reason::WorkerException
        | Reason::WorkerCpu
        | Reason::WorkerTimeout
        | Reason::WorkerMemory
        | Reason::WorkerDied
        | Reason::WorkerUnavailable
        | Reason::WorkerLimit
        | Reason::WorkerLoop
        | Reason::WorkerRefused
        | Reason::CredentialUnavailable
        | Reason::Unscrubbable
        | Reason::UpstreamUnresolved
        | Reason::UpstreamRefused
        | Reason::UpstreamUnreachable
        | Reason::ResolveTimeout
        | Reason::ConnectTimeout
        | Reason::UpstreamTlsTimeout
        | Reason::ResponseHeaderTimeout
        | Reason::ResponseBodyTimeout
        | Reason::TokenTimeout
        | Reason::UpstreamDead
        | Reason::UpstreamReset
        | Reason::UpstreamTls
        | Reason::UpstreamTlsUnverified
        | Reason::UpstreamMalformed
        | Reason::LogUnavailable
        | Reason::Draining
        | Reason::PolicyChanged
        | Reason::Unassigned
        | Reason::Internal => false,
    }
}
