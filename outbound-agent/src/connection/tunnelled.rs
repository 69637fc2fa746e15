//! A permitted tunnel: the outbound worker may decide about it, then bytes are carried.

use std::sync::Arc;
use std::time::Instant;

use tracing::{info, warn};

use super::{Agent, Who, denied_by, end, watched};
use crate::exchange::errand::Runner;
use crate::model::host::Host;
use crate::model::policy::Policy;
use crate::model::reason::{Ending, Reason};
use crate::model::worker::Service;
use crate::observe::labels::WorkerOutcome;
use crate::observe::record::ConnectionRecord;
use crate::path::accept::Downlink;
use crate::path::http::body::Source;
use crate::path::limits::{Account, Metered};
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
    let outbound = who
        .tenant
        .namespace
        .as_ref()
        .and_then(|it| it.outbound.as_ref());
    let Some(outbound) = outbound else {
        return carry(stream, permit, who, (agent, &account), record).await;
    };
    if who.tenant.parameters.is_none() {
        return end(stream, Reason::NotDispatched);
    }
    if !agent.workers.decides_tunnels(&who.tenant) {
        return carry(stream, permit, who, (agent, &account), record).await;
    }
    decide(
        stream,
        permit,
        &outbound.service,
        who,
        (agent, &account),
        record,
    )
    .await
}

/// Has the worker decide, and does what it says.
async fn decide<S: Downlink>(
    stream: Replay<S>,
    permit: Permit,
    service: &Arc<Service>,
    who: &Who,
    (agent, account): (&Arc<Agent>, &Arc<Account>),
    record: &mut ConnectionRecord,
) -> Ending {
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
    let decided = agent.workers.decide(invocation).await;
    let took = began.elapsed();
    let mut tell = |outcome| record.worker(&service.name, outcome, took);
    let (permit, outcome) = match decided {
        Ok(None) => return carry(stream, permit, who, (agent, account), record).await,
        Ok(Some(Decided::Refused(reason))) => {
            tell(WorkerOutcome::Rejected);
            let (tenant, service) = (&who.tenant.id, &*service.name);
            info!(%tenant, service, reason, "outbound worker refused a tunnel");
            return end(stream, Reason::WorkerRefused);
        }
        Ok(Some(Decided::Forwarded(host, port))) => {
            match elsewhere(&permit, &host, port, who, service) {
                Ok(None) => (permit, WorkerOutcome::Passed),
                Ok(Some(permit)) => (permit, WorkerOutcome::Redirected),
                Err(denial) => {
                    tell(WorkerOutcome::Redirected);
                    denied_by(record, denial.rule.as_deref());
                    return end(stream, denial.reason);
                }
            }
        }
        Ok(Some(Decided::Answered(answer))) => {
            tell(WorkerOutcome::Responded);
            let metered = Metered::tunnel(record.bytes(), account, who.tenant.limits);
            return tunnel::answer(stream, (pieces, answer), &metered, agent.limits.tunnel_idle)
                .await;
        }
        Err(failure) => {
            tell(WorkerOutcome::of(failure.reason));
            complain(&failure, service, who);
            return end(stream, failure.reason);
        }
    };
    tell(outcome);
    carry(stream, permit, who, (agent, account), record).await
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

/// A permit for where the worker sends a tunnel; `None` where it wanted to go there anyway.
fn elsewhere(
    permit: &Permit,
    host: &str,
    port: u16,
    who: &Who,
    service: &Service,
) -> Result<Option<Permit>, Denial> {
    let asked = permit.destination();
    let host: Host = host
        .parse()
        .map_err(|_invalid| Denial::from(Reason::Malformed))?;
    if (&host, port) == (&asked.host, asked.port) {
        return Ok(None);
    }
    let decide = |policy: &Arc<Policy>| {
        let facts = Facts {
            tenant: Some(&who.tenant),
            executable: &who.flow.executable,
            scheme: asked.scheme,
            host: &host,
            port,
            request: None,
            is_foreseen: false,
        };
        match policy::decide(policy, &facts) {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial),
        }
    };
    let decided = match decide(&who.tenant.policy) {
        Err(_denial) if service.trusted => decide(&service.network),
        decided => decided,
    };
    decided.map(Some)
}

/// Dials, and carries bytes both ways.
async fn carry<S: Downlink>(
    stream: Replay<S>,
    mut permit: Permit,
    who: &Who,
    (agent, account): (&Agent, &Arc<Account>),
    record: &mut ConnectionRecord,
) -> Ending {
    let aim = who.aim(agent, &permit);
    let connected = agent.upstream.connect(&mut permit, aim).await;
    record.allowed(permit.rule(), watched(permit.would_deny()));
    match connected {
        Ok((upstream, peer)) => {
            record.upstream(peer);
            let metered = Metered::tunnel(record.bytes(), account, who.tenant.limits);
            tunnel::relay(stream, upstream, &metered, agent.limits.tunnel_idle).await
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
