//! Story 1: one connection, from accept to record.

pub mod proxied;
mod session;
mod silence;
pub mod standing;
mod tunnelled;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::session::session;
pub use self::session::{Now, Session, Who};
use self::standing::{Standings, What};
use self::tunnelled::relay;

use crate::drain::Tasks;
use crate::exchange;
use crate::model::flow::Flows;
use crate::model::host::Host;
use crate::model::reason::{Ending, Reason};
use crate::model::target::Scheme;
use crate::model::tenant::Tenants;
use crate::observe::labels::Protocol;
use crate::observe::record::{ConnectionRecord, Records, Watched};
use crate::path::accept::{Accepted, Downlink};
use crate::path::credentials::Credentials;
use crate::path::detect::{self, Detected, Hello};
use crate::path::dns;
use crate::path::http::{self, http2};
use crate::path::identify::{Identified, Refused, identify};
use crate::path::limits;
use crate::path::policy::rate::Rates;
use crate::path::policy::{self, Denial, Facts, Verdict};
use crate::path::replay::Replay;
use crate::path::tls::{Plain, Terminator};
use crate::path::upstream::Upstream;
use crate::path::worker::Workers;
use crate::query;

/// What every connection needs: built once, shared by all.
pub struct Agent {
    /// The kernel's memory of redirected connects.
    pub flows: Arc<dyn Flows>,
    /// Which cgroup is whose.
    pub tenants: Arc<ArcSwap<Tenants>>,
    /// Where every ending is written.
    pub records: Records,
    /// Ends the TLS of workloads.
    pub terminator: Terminator,
    /// What tenants have taken of what all share.
    pub accounts: limits::Accounts,
    /// What is added to requests.
    pub credentials: Credentials,
    /// The way out.
    pub upstream: Upstream,
    /// The operator's code, which requests may have to pass.
    pub workers: Workers,
    /// How often tenants did what rules let them do only so often.
    pub rates: Rates,
    /// What tenants asked the resolver, and what they were told.
    pub names: dns::Accounts,
    /// What is under way, to be decided again when policies change.
    pub standings: Standings,
    /// Tasks that a drain waits for.
    pub tasks: Tasks,
    /// The agent's own ports: nobody's destination.
    pub agent_ports: Arc<ArcSwap<Vec<u16>>>,
    /// How long and how much.
    pub limits: Limits,
}

/// The limits of every stage.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of `detect`.
    pub detect: detect::Limits,
    /// Of `http`.
    pub http: http::Limits,
    /// A tunnel in which nothing moves.
    pub tunnel_idle: Duration,
}

/// Carries one connection to its end, and writes that down.
pub async fn serve(accepted: Accepted, agent: Arc<Agent>) {
    let mut record = agent.records.open(accepted.downstream);
    let ending = carry(accepted, &agent, &mut record).await;
    record.close(ending);
}

async fn carry(accepted: Accepted, agent: &Arc<Agent>, record: &mut ConnectionRecord) -> Ending {
    let downstream = accepted.downstream;
    let (tenants, ports) = (agent.tenants.load(), agent.agent_ports.load());
    let identified = match identify(accepted, &*agent.flows, &tenants, &ports) {
        Ok(identified) => identified,
        Err(refused) => return refuse(*refused, record),
    };
    drop((tenants, ports));
    let Identified {
        stream,
        flow,
        tenant,
        place: _place,
    } = identified;
    record.identified(&tenant, &flow);
    let limits = tenant.limits;
    let _place = match agent.accounts.of(&tenant.id).connect(&limits) {
        Ok(place) => place,
        Err(over) => {
            stream.abort();
            return Ending::of(over.reason);
        }
    };
    let who = Who {
        tenant,
        downstream,
        flow: Arc::new(flow),
        proxied: None,
        carrier: Arc::default(),
    };
    let _stands = who.stands(agent, What::Connection, Arc::clone(&who.carrier));
    let carrier = Arc::clone(&who.carrier);
    let carried = Box::pin(carry_identified(stream, who, agent, record));
    let carried = standing::until(&carrier, carried, Ending::of);
    match limits.connection_duration {
        None => carried.await,
        Some(limit) => timeout(limit, carried)
            .await
            .unwrap_or(Ending::of(Reason::TooLong)),
    }
}

/// Carries what is known to be a tenant's, in whatever it speaks.
async fn carry_identified(
    stream: TcpStream,
    who: Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    if is_dns(&who) {
        record.protocol(Protocol::Dns);
        return query::serve(stream, &who, agent, record).await;
    }
    Box::pin(carry_as(stream, who, agent, record)).await
}

/// Carries what the first bytes say that it is.
async fn carry_as<S: Downlink>(
    stream: S,
    who: Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    match silence::detect(stream, &who, agent).await {
        Ok(Detected::Http(stream)) => {
            let session = session(agent, who, None, record);
            let ends = (&agent.tasks, &*session.who.carrier);
            http::serve(stream, agent.limits.http, ends, |request| {
                exchange::handle(request, Arc::clone(&session))
            })
            .await
        }
        Ok(Detected::Http2(stream)) => {
            let session = session(agent, who, None, record);
            let refused = exchange::unread(&session);
            let ends = (&agent.tasks, &*session.who.carrier);
            let handle = |request| exchange::handle(request, Arc::clone(&session));
            let served = http2::serve(stream, agent.limits.http, ends, refused, handle);
            Box::pin(served).await
        }
        Ok(Detected::Tls(hello, stream)) => carry_tls(hello, stream, who, agent, record).await,
        Ok(Detected::Opaque(stream) | Detected::Silent(stream)) => {
            record.protocol(Protocol::Tcp);
            carry_opaque(stream, &who, agent, record).await
        }
        Err((stream, reason)) => {
            stream.abort();
            Ending::of(reason)
        }
    }
}

/// Whatever is known of a refused connection is written down before it is reset.
fn refuse(refused: Refused, record: &mut ConnectionRecord) -> Ending {
    if let Some(flow) = &refused.flow {
        record.unidentified(flow);
    }
    refused.accepted.reset();
    Ending::of(refused.reason)
}

/// TLS, judged by the name that its ClientHello claims; without one the address speaks for
/// itself. It ends here where requests have to be seen, and is passed through otherwise.
async fn carry_tls<S: Downlink>(
    hello: Hello,
    stream: Replay<S>,
    who: Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    record.protocol(Protocol::Tls);
    let original_dst = who.flow.original_dst;
    let name = hello.server_name.or_else(|| who.proxied.clone());
    let is_named = name.is_some();
    let host = name.unwrap_or_else(|| Host::from(original_dst.ip()));
    if is_named {
        record.server_name(&host);
    }
    if who.proxied.as_ref().is_some_and(|asked| *asked != host) {
        return end(stream, Reason::DestinationMismatch);
    }
    if !policy::terminates(&who.tenant, &host, original_dst.port()) {
        return pass_through(&host, is_named, stream, &who, agent, record).await;
    }
    match agent
        .terminator
        .terminate(&who.tenant.id, &host, stream)
        .await
    {
        Ok(Plain { stream, is_http2 }) => {
            let session = session(agent, who, Some(host), record);
            let handle = |request| exchange::handle(request, Arc::clone(&session));
            let ends = (&agent.tasks, &*session.who.carrier);
            if is_http2 {
                let refused = exchange::unread(&session);
                let served = http2::serve(stream, agent.limits.http, ends, refused, handle);
                Box::pin(served).await
            } else {
                http::serve(stream, agent.limits.http, ends, handle).await
            }
        }
        Err(reason) => Ending::of(reason),
    }
}

/// TLS whose inside is the workload's own, carried to what the agent itself finds under its name.
async fn pass_through<S: Downlink>(
    host: &Host,
    is_named: bool,
    stream: Replay<S>,
    who: &Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    match decide(Scheme::Https, host, who) {
        Verdict::Allow(permit) => relay(stream, permit, who, agent, record).await,
        Verdict::Deny(denial) => {
            let is_unnamed = !is_named && denial.reason == Reason::NoRule;
            denied_by(record, denial.rule.as_deref());
            end(
                stream,
                if is_unnamed {
                    Reason::NoServerName
                } else {
                    denial.reason
                },
            )
        }
    }
}

/// Whatever server it is for, DNS goes to the agent's own resolver, unless a rule names that
/// very server.
fn is_dns(who: &Who) -> bool {
    let asked = who.flow.original_dst;
    asked.port() == DNS_PORT
        && !policy::names_opaque_address(&who.tenant.policy, asked.ip(), asked.port())
}

/// Bytes that say nothing about themselves: a rule has to name the address, or a name that has
/// it, because the tenant was told so or because the agent itself finds so.
async fn carry_opaque<S: Downlink>(
    stream: Replay<S>,
    who: &Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    let asked = who.flow.original_dst;
    if let Some(host) = &who.proxied {
        record.server_name(host);
        return carry_to(host, stream, who, agent, record).await;
    }
    for name in agent.names.of(&who.tenant.id).names_of(asked.ip()) {
        if let Verdict::Allow(permit) = decide(Scheme::Tcp, &name, who)
            && permit.rule().is_some()
        {
            record.server_name(&name);
            return relay(stream, permit, who, agent, record).await;
        }
    }
    for name in policy::opaque_names(&who.tenant.policy, asked.port()) {
        if agent.upstream.addresses(name).await.contains(&asked.ip())
            && let Verdict::Allow(permit) = decide(Scheme::Tcp, name, who)
        {
            record.server_name(name);
            return relay(stream, permit, who, agent, record).await;
        }
    }
    carry_to(&Host::from(asked.ip()), stream, who, agent, record).await
}

/// Bytes for one host, if a rule lets them go there.
async fn carry_to<S: Downlink>(
    host: &Host,
    stream: Replay<S>,
    who: &Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    match decide(Scheme::Tcp, host, who) {
        Verdict::Allow(permit) => relay(stream, permit, who, agent, record).await,
        Verdict::Deny(denial) => {
            denied_by(record, denial.rule.as_deref());
            end(stream, denial.reason)
        }
    }
}

const DNS_PORT: u16 = 53;

fn decide(scheme: Scheme, host: &Host, who: &Who) -> Verdict {
    let facts = Facts {
        tenant: Some(&who.tenant),
        executable: &who.flow.executable,
        scheme,
        host,
        port: who.flow.original_dst.port(),
        request: None,
        is_foreseen: false,
    };
    policy::decide(&who.tenant.policy, &facts)
}

/// What a policy that only watches would have denied, for the record.
pub(crate) fn watched(denial: Option<&Denial>) -> Option<Watched<'_>> {
    denial.map(|denial| Watched {
        reason: denial.reason,
        rule: denial.rule.as_deref(),
    })
}

fn denied_by(record: &mut ConnectionRecord, rule: Option<&str>) {
    if let Some(rule) = rule {
        record.denied_by(rule);
    }
}

/// Ends a connection that cannot be answered in its own protocol.
fn end<S: Downlink>(stream: Replay<S>, reason: Reason) -> Ending {
    let (_first, stream) = stream.into_parts();
    stream.abort();
    Ending::of(reason)
}
