//! A permitted tunnel: the outbound worker may decide about it, then bytes are carried.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::standing::{Stands, What};
use super::{Agent, Who, denied_by, end, watched};
use crate::exchange::errand::Runner;
use crate::model::host::Host;
use crate::model::reason::{Ending, Reason};
use crate::model::worker::{Outbound, Service};
use crate::observe::labels::WorkerOutcome;
use crate::observe::record::ConnectionRecord;
use crate::path::accept::Downlink;
use crate::path::http::body::Source;
use crate::path::limits::Metered;
use crate::path::policy::{self, Denial, Facts, Permit, Verdict};
use crate::path::replay::Replay;
use crate::path::tunnel::{self, Pieces};
use crate::path::worker::{Decided, Failure, TunnelInvocation};

/// Spends a permit on a tunnel, unless the worker wants something else of it.
pub(super) async fn relay<S: Downlink>(
    stream: Replay<S>,
    permit: Permit,
    who: &Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    if !agent.records.writable() {
        return end(stream, Reason::LogUnavailable);
    }
    let account = agent.accounts.of(&who.tenant.id);
    if let Err(over) = account.begin(&who.tenant.limits) {
        return end(stream, over.reason);
    }
    let metered = Metered::tunnel(record.bytes(), &account, who.tenant.limits);
    let stands = who.stands(agent, What::tunnel(&permit), Arc::clone(metered.stop()));
    let tunnel = Tunnel {
        permit,
        stands,
        metered,
    };
    let namespace = who.tenant.namespace.as_ref();
    let Some(outbound) = namespace.and_then(|it| it.outbound.as_ref()) else {
        return carry(stream, tunnel, who, agent, record).await;
    };
    if who.tenant.parameters.is_none() {
        return end(stream, Reason::NotDispatched);
    }
    let outbound = tunnel.permit.through(outbound);
    match outbound.filter(|outbound| agent.workers.decides_tunnels(outbound)) {
        None => carry(stream, tunnel, who, agent, record).await,
        Some(outbound) => decide(stream, tunnel, &outbound, who, agent, record).await,
    }
}

/// A tunnel that policy has permitted.
struct Tunnel {
    permit: Permit,
    /// Decided again with every change.
    stands: Stands,
    metered: Metered,
}

/// Has the worker decide, and does what it says.
async fn decide<S: Downlink>(
    stream: Replay<S>,
    mut tunnel: Tunnel,
    outbound: &Outbound,
    who: &Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    let (permit, service) = (&tunnel.permit, &outbound.service);
    record.allowed(permit.rule(), watched(permit.would_deny()));
    let (body, pieces) = Pieces::new();
    let began = Instant::now();
    let asked = permit.destination();
    let invocation = TunnelInvocation {
        tenant: Arc::clone(&who.tenant),
        asked: (asked.host.to_string(), asked.port),
        body: Source::Made(Box::pin(body)),
        errands: Runner::of_tunnel(agent, who, service, record),
    };
    let deciding = agent.workers.decide(invocation, outbound);
    let decided = match tunnel.metered.in_time(deciding).await {
        Ok(decided) => decided,
        Err(reason) => return end(stream, reason),
    };
    let took = began.elapsed();
    let mut tell = |outcome| record.worker(&service.name, outcome, took);
    match decided {
        Ok(None) => {}
        Ok(Some(Decided::Refused(reason))) => {
            tell(WorkerOutcome::Rejected);
            let (tenant, service) = (&who.tenant.id, &*service.name);
            info!(%tenant, service, reason, "outbound worker refused a tunnel");
            return end(stream, Reason::WorkerRefused);
        }
        Ok(Some(Decided::Forwarded(host, port))) => {
            match elsewhere(&mut tunnel, (&host, port), who, agent, service) {
                Ok(outcome) => tell(outcome),
                Err(denial) => {
                    tell(WorkerOutcome::Redirected);
                    denied_by(record, denial.rule.as_deref());
                    return end(stream, denial.reason);
                }
            }
        }
        Ok(Some(Decided::Answered(answer))) => {
            tell(WorkerOutcome::Responded);
            let (metered, idle) = (&tunnel.metered, agent.limits.tunnel_idle);
            return answer_as(stream, (pieces, answer), metered, idle).await;
        }
        Err(failure) => {
            tell(WorkerOutcome::of(failure.reason));
            complain(&failure, service, who);
            return end(stream, failure.reason);
        }
    }
    carry(stream, tunnel, who, agent, record).await
}

/// Answers as the worker says; however that is cut short, it must not look whole.
async fn answer_as<S: Downlink>(
    mut stream: Replay<S>,
    said: (Pieces, Source),
    metered: &Metered,
    idle: Duration,
) -> Ending {
    stream.abort();
    let ending = tunnel::answer(&mut stream, said, metered, idle).await;
    if ending == Ending::COMPLETED {
        stream.settle();
    }
    ending
}

/// What went wrong is for the operator alone.
fn complain(failure: &Failure, service: &Service, who: &Who) {
    warn!(
        tenant = %who.tenant.id,
        service = &*service.name,
        reason = failure.reason.label(),
        error = failure.text,
        "outbound worker failed"
    );
}

/// Has a tunnel go where the worker sends it, as far as it may.
fn elsewhere(
    tunnel: &mut Tunnel,
    (host, port): (&str, u16),
    who: &Who,
    agent: &Arc<Agent>,
    service: &Service,
) -> Result<WorkerOutcome, Denial> {
    let asked = tunnel.permit.destination();
    let scheme = asked.scheme;
    let parsed = host.parse();
    let host: Host = parsed.map_err(|_invalid| Denial::from(Reason::Malformed))?;
    if (&host, port) == (&asked.host, asked.port) {
        return Ok(WorkerOutcome::Passed);
    }
    let facts = Facts {
        tenant: Some(&who.tenant),
        executable: &who.flow.executable,
        scheme,
        host: &host,
        port,
        request: None,
        is_foreseen: false,
    };
    // It stands before it is decided, so that no change passes between.
    let what = What::Tunnel {
        scheme,
        host: host.clone(),
        port,
    };
    let stands = who.stands(agent, what, Arc::clone(tunnel.metered.stop()));
    tunnel.permit = match policy::decide(&who.tenant.policy, &facts) {
        Verdict::Allow(permit) => {
            tunnel.stands = stands;
            permit
        }
        // The tenant's policy has no say in it: what it asked for goes on standing.
        Verdict::Deny(_) if service.trusted => match policy::decide(&service.network, &facts) {
            Verdict::Allow(permit) => permit,
            Verdict::Deny(denial) => return Err(denial),
        },
        Verdict::Deny(denial) => return Err(denial),
    };
    Ok(WorkerOutcome::Redirected)
}

/// Dials, and carries bytes both ways.
async fn carry<S: Downlink>(
    stream: Replay<S>,
    tunnel: Tunnel,
    who: &Who,
    agent: &Agent,
    record: &mut ConnectionRecord,
) -> Ending {
    let Tunnel {
        mut permit,
        stands,
        metered,
    } = tunnel;
    let aim = who.aim(agent, &permit);
    let connecting = agent.upstream.connect(&mut permit, aim);
    let connected = match metered.in_time(connecting).await {
        Ok(connected) => connected,
        Err(reason) => return end(stream, reason),
    };
    record.allowed(permit.rule(), watched(permit.would_deny()));
    match connected {
        Ok((mut upstream, peer)) => {
            record.upstream(peer);
            stands.peer(peer.ip());
            let (mut stream, idle) = (stream, agent.limits.tunnel_idle);
            // However it is cut short, it must not look whole to either side.
            stream.abort();
            upstream.abort();
            let ending = tunnel::relay(&mut stream, &mut upstream, &metered, idle).await;
            if ending == Ending::COMPLETED {
                stream.settle();
                upstream.settle();
            }
            ending
        }
        Err(failure) => {
            if let Some(peer) = failure.peer {
                record.upstream(peer);
            }
            denied_by(record, failure.denial.rule.as_deref());
            end(stream, failure.denial.reason)
        }
    }
}
