//! The closed lists that replies, logs and metrics print.

macro_rules! closed_list {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word in replies, logs and metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    };
}
pub(crate) use closed_list;

closed_list! {
    /// Why something was refused or failed.
    Reason {
        /// A deny rule matches.
        RuleDeny = "rule_deny",
        /// A rule's `when` cannot be evaluated.
        ConditionFailed = "condition_failed",
        /// No rule matches and the default is deny.
        NoRule = "no_rule",
        /// The address is private, loopback, link-local or otherwise special, and no rule names it.
        PrivateAddress = "private_address",
        /// A cloud's metadata service.
        MetadataAddress = "metadata_address",
        /// It was allowed when it began, and is not any more.
        PolicyChanged = "policy_changed",
        /// The cgroup is not this tenant's any more.
        Unassigned = "unassigned",
        /// The kernel remembers no flow for the connection.
        UnknownFlow = "unknown_flow",
        /// The flow's cgroup is no tenant's.
        UnknownTenant = "unknown_tenant",
        /// The connection came from another namespace or loopback network than its flow says.
        FlowMismatch = "flow_mismatch",
        /// The workload asked for the agent itself.
        AgentAddress = "agent_address",
        /// The first bytes are neither what they claim nor anything that is let through.
        Malformed = "malformed",
        /// TLS without a server name, to a destination that no rule names by address.
        NoServerName = "no_server_name",
        /// HTTP without a usable Host, or a DNS question for what is no host's name.
        NoHost = "no_host",
        /// HTTP that names its host twice, in `Host`, `:authority` or an absolute target.
        TwoHosts = "two_hosts",
        /// HTTP whose body has two lengths: two `Content-Length`, or one and `Transfer-Encoding`.
        TwoLengths = "two_lengths",
        /// A `Content-Length` that is no number, or that nothing may follow.
        InvalidLength = "invalid_length",
        /// A `Transfer-Encoding` other than `chunked` alone.
        TransferCoding = "transfer_coding",
        /// A chunk's size, extension, end or trailer that is none.
        InvalidChunk = "invalid_chunk",
        /// A header's field that goes over two lines, or has a character that no field has.
        InvalidHeader = "invalid_header",
        /// A CR or an LF that stands alone.
        BareLineEnd = "bare_line_end",
        /// A header that is larger, or has more fields, than the limits allow.
        HeaderTooLarge = "header_too_large",
        /// Host, target and destination disagree.
        DestinationMismatch = "destination_mismatch",
        /// A protocol that the agent does not carry.
        UnsupportedProtocol = "unsupported_protocol",
        /// The workload did not finish its ClientHello, or the first word of its request, within
        /// `client_hello`.
        ClientHelloTimeout = "client_hello_timeout",
        /// The workload did not finish its TLS handshake within `tls_handshake`.
        DownstreamTlsTimeout = "downstream_tls_timeout",
        /// The workload did not finish the head of its request within `request_header`.
        RequestHeaderTimeout = "request_header_timeout",
        /// Nothing of the request's body came for `body_idle`.
        RequestBodyTimeout = "request_body_timeout",
        /// Nothing moved in a tunnel for `tunnel_idle`.
        TunnelIdleTimeout = "tunnel_idle_timeout",
        /// The workload did not send or take a DNS message over TCP within `dns_idle`.
        DnsIdleTimeout = "dns_idle_timeout",
        /// The workload gave no sign of life for `dead_peer`.
        DownstreamDead = "downstream_dead",
        /// The workload does not take the agent's certificate, or shares no version of TLS with it.
        DownstreamTls = "downstream_tls",
        /// The workload went away or broke the protocol midway.
        DownstreamAborted = "downstream_aborted",
        /// Too many connections at once.
        ConnectionLimit = "connection_limit",
        /// More requests at once on one HTTP/2 connection than `http2_streams`.
        StreamLimit = "stream_limit",
        /// More DNS queries, or longer names in them, than the limits allow.
        DnsLimit = "dns_limit",
        /// The tenant's namespace has a worker that nothing has dispatched it to.
        NotDispatched = "not_dispatched",
        /// The outbound worker threw, or gave no response.
        WorkerException = "worker_exception",
        /// The outbound worker used up its time on a processor.
        WorkerCpu = "worker_cpu",
        /// The outbound worker did not answer in time.
        WorkerTimeout = "worker_timeout",
        /// The outbound worker used up its memory.
        WorkerMemory = "worker_memory",
        /// The outbound worker's process died, or is not back yet.
        WorkerDied = "worker_died",
        /// The outbound worker cannot be reached or does not load.
        WorkerUnavailable = "worker_unavailable",
        /// Too many invocations of the outbound worker at once.
        WorkerLimit = "worker_limit",
        /// The request was made by the outbound worker that it would invoke.
        WorkerLoop = "worker_loop",
        /// The outbound worker refused the tunnel.
        WorkerRefused = "worker_refused",
        /// More requests than the rule's `rate` allows.
        RateLimit = "rate_limit",
        /// The tenant has as many connections at once as its limits allow.
        TenantConnections = "tenant_connections",
        /// The tenant has as many requests at once as its limits allow.
        TenantRequests = "tenant_requests",
        /// The tenant has begun as many requests lately as its limits allow.
        RequestRate = "request_rate",
        /// What the tenant may take in this day or month is used up.
        Quota = "quota",
        /// The body of a request is larger than the tenant's limits allow.
        BodyTooLarge = "body_too_large",
        /// The body of a response is larger than the tenant's limits allow.
        ResponseTooLarge = "response_too_large",
        /// A request or a connection lasts longer than the tenant's limits allow.
        TooLong = "too_long",
        /// A credential is bound to this host but cannot be sent.
        CredentialUnavailable = "credential_unavailable",
        /// The response may hold a credential and is in a coding that cannot be searched for it.
        Unscrubbable = "unscrubbable",
        /// The name has no address.
        UpstreamUnresolved = "upstream_unresolved",
        /// The upstream refused the connection.
        UpstreamRefused = "upstream_refused",
        /// No route to the upstream.
        UpstreamUnreachable = "upstream_unreachable",
        /// The name's addresses were not found within `resolve`.
        ResolveTimeout = "resolve_timeout",
        /// The upstream did not take the connection within `connect`.
        ConnectTimeout = "connect_timeout",
        /// The upstream did not finish the TLS handshake within `tls_handshake`.
        UpstreamTlsTimeout = "upstream_tls_timeout",
        /// The upstream did not begin its response within `response_header`, or a rule's `timeout`.
        ResponseHeaderTimeout = "response_header_timeout",
        /// Nothing of the response's body came for `body_idle`.
        ResponseBodyTimeout = "response_body_timeout",
        /// A token was not had within `token`.
        TokenTimeout = "token_timeout",
        /// The upstream gave no sign of life for `dead_peer`.
        UpstreamDead = "upstream_dead",
        /// The upstream closed or reset before it was done.
        UpstreamReset = "upstream_reset",
        /// The upstream's certificate is not for the name, or nobody trusted vouches for it.
        UpstreamTlsUnverified = "upstream_tls_unverified",
        /// The upstream shares no version of TLS, or broke off the handshake.
        UpstreamTls = "upstream_tls",
        /// The upstream's bytes are not the protocol.
        UpstreamMalformed = "upstream_malformed",
        /// The access log is required and cannot be written.
        LogUnavailable = "log_unavailable",
        /// The agent is stopping.
        Draining = "draining",
        /// The kernel refused the system call; `kernel.counter` says which check.
        Kernel = "kernel",
        /// The agent's own failure.
        Internal = "internal",
    }
}

closed_list! {
    /// How a connection or an exchange ended.
    Outcome {
        /// All was carried.
        Completed = "completed",
        /// Policy denied it.
        Denied = "denied",
        /// Refused before there was anything for policy to judge.
        Refused = "refused",
        /// Something broke; `fault` says whose doing it was.
        Failed = "failed",
        /// A limit on time was reached.
        TimedOut = "timed_out",
        /// Dropped before its end.
        Aborted = "aborted",
    }
}

closed_list! {
    /// Whose doing a failure was.
    Fault {
        /// The workload.
        Downstream = "downstream",
        /// The server.
        Upstream = "upstream",
        /// The outbound worker.
        Worker = "worker",
        /// The agent.
        Internal = "internal",
    }
}

const DENIED: (Outcome, Option<Fault>) = (Outcome::Denied, None);
const FAILED_IN_WORKER: (Outcome, Option<Fault>) = (Outcome::Failed, Some(Fault::Worker));

/// How it ended, why, and whose doing it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// Why, unless completed.
    pub reason: Option<Reason>,
    /// Whose doing, where something failed.
    pub fault: Option<Fault>,
}

impl Ending {
    /// All was carried.
    pub const COMPLETED: Self = Self {
        outcome: Outcome::Completed,
        reason: None,
        fault: None,
    };

    /// Every reason leads to one ending: this table says which.
    pub const fn of(reason: Reason) -> Self {
        use Reason as R;
        let (outcome, fault) = match reason {
            R::RuleDeny
            | R::ConditionFailed
            | R::NoRule
            | R::PrivateAddress
            | R::MetadataAddress
            | R::PolicyChanged
            | R::Unassigned => DENIED,
            R::UnknownFlow
            | R::UnknownTenant
            | R::FlowMismatch
            | R::AgentAddress
            | R::NoServerName
            | R::NoHost
            | R::DestinationMismatch
            | R::UnsupportedProtocol
            | R::ConnectionLimit
            | R::StreamLimit
            | R::DnsLimit
            | R::RateLimit
            | R::TenantConnections
            | R::TenantRequests
            | R::RequestRate
            | R::Quota
            | R::BodyTooLarge
            | R::ResponseTooLarge
            | R::LogUnavailable
            | R::Draining
            | R::Kernel => (Outcome::Refused, None),
            R::NotDispatched | R::WorkerLimit | R::WorkerLoop => (Outcome::Refused, None),
            R::WorkerRefused => DENIED,
            R::WorkerTimeout => (Outcome::TimedOut, Some(Fault::Worker)),
            R::WorkerException | R::WorkerCpu | R::WorkerMemory => FAILED_IN_WORKER,
            R::WorkerDied | R::WorkerUnavailable => FAILED_IN_WORKER,
            #[rustfmt::skip]
            R::Malformed | R::TwoHosts | R::TwoLengths | R::InvalidLength | R::TransferCoding
            | R::InvalidChunk | R::InvalidHeader | R::BareLineEnd
            | R::HeaderTooLarge => (Outcome::Refused, Some(Fault::Downstream)),
            R::TooLong => (Outcome::TimedOut, None),
            #[rustfmt::skip]
            R::ClientHelloTimeout | R::DownstreamTlsTimeout | R::RequestHeaderTimeout
            | R::RequestBodyTimeout | R::TunnelIdleTimeout | R::DnsIdleTimeout
            | R::DownstreamDead => (Outcome::TimedOut, Some(Fault::Downstream)),
            R::DownstreamTls => (Outcome::Failed, Some(Fault::Downstream)),
            R::DownstreamAborted => (Outcome::Aborted, Some(Fault::Downstream)),
            R::CredentialUnavailable | R::Internal => (Outcome::Failed, Some(Fault::Internal)),
            #[rustfmt::skip]
            R::ResolveTimeout | R::ConnectTimeout | R::UpstreamTlsTimeout
            | R::ResponseHeaderTimeout | R::ResponseBodyTimeout | R::TokenTimeout
            | R::UpstreamDead => (Outcome::TimedOut, Some(Fault::Upstream)),
            #[rustfmt::skip]
            R::UpstreamUnresolved | R::UpstreamRefused | R::UpstreamUnreachable | R::UpstreamReset
            | R::UpstreamTls | R::UpstreamTlsUnverified | R::Unscrubbable
            | R::UpstreamMalformed => (Outcome::Failed, Some(Fault::Upstream)),
        };
        Self::ended(outcome, Some(reason), fault)
    }

    const fn ended(outcome: Outcome, reason: Option<Reason>, fault: Option<Fault>) -> Self {
        Self {
            outcome,
            reason,
            fault,
        }
    }
}
