//! Who says nothing: a workload that waits for its server, or one that is slow.

use super::{Agent, Who, decide};
use crate::model::host::Host;
use crate::model::reason::Reason;
use crate::model::target::Scheme;
use crate::path::accept::Downlink;
use crate::path::detect::{self, Detected};
use crate::path::policy::{self, Verdict};

/// As [`detect::detect`]. A silent workload is given the time of a ClientHello where rules let it
/// speak HTTP or TLS, and nothing else: it cannot be waiting for a server. What starts up on a busy
/// host, such as a virtual machine that loads its TLS after it has connected, is often slow.
pub(super) async fn detect<S: Downlink>(
    stream: S,
    who: &Who,
    agent: &Agent,
) -> Result<Detected<S>, (S, Reason)> {
    let limits = agent.limits.detect;
    match detect::detect(stream, limits).await {
        Ok(Detected::Silent(stream)) if is_slow(who, agent) => {
            let (_nothing, stream) = stream.into_parts();
            let patient = detect::Limits {
                first_byte: limits.rest,
                ..limits
            };
            detect::detect(stream, patient).await
        }
        detected => detected,
    }
}

/// Whether requests, or TLS, could go on from here, and bytes that say nothing about themselves
/// could not: by what the tenant was told has the address, and by the address itself.
fn is_slow(who: &Who, agent: &Agent) -> bool {
    let asked = who.flow.original_dst;
    let mut hosts = agent.names.of(&who.tenant.id).names_of(asked.ip());
    hosts.push(Host::from(asked.ip()));
    let may = |scheme| {
        let mut allowed = hosts
            .iter()
            .map(|host| matches!(decide(scheme, host, who), Verdict::Allow(_)));
        allowed.any(|is_allowed| is_allowed)
    };
    let mut opaque = policy::opaque_names(&who.tenant.policy, asked.port());
    (may(Scheme::Https) || may(Scheme::Http)) && !may(Scheme::Tcp) && opaque.next().is_none()
}
