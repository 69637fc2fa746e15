//! Story 1: one connection, from accept to record.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::drain::Tasks;
use crate::exchange;
use crate::model::flow::{Flow, Flows};
use crate::model::host::Host;
use crate::model::policy::Addressing;
use crate::model::reason::{Ending, Reason};
use crate::model::target::Scheme;
use crate::model::tenant::{Tenant, Tenants};
use crate::observe::labels::Protocol;
use crate::observe::record::{ConnectionRecord, Exchanges, Records};
use crate::path::accept::{self, Accepted};
use crate::path::credentials::Credentials;
use crate::path::detect::{self, Detected, Hello, detect};
use crate::path::dns;
use crate::path::http;
use crate::path::identify::{Identified, Refused, identify};
use crate::path::limits::{self, Account, Metered};
use crate::path::policy::{self, Facts, Permit, Verdict};
use crate::path::replay::Replay;
use crate::path::tls::{Plain, Terminator};
use crate::path::tunnel;
use crate::path::upstream::{Aim, Upstream};
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
    /// What tenants asked the resolver, and what they were told.
    pub names: dns::Accounts,
    /// Tasks that a drain waits for.
    pub tasks: Tasks,
    /// The agent's own ports: nobody's destination.
    pub agent_ports: Vec<u16>,
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

/// A connection that carries requests: what each of them is judged by.
pub struct Session {
    /// The agent.
    pub agent: Arc<Agent>,
    /// Tenant and flow.
    pub who: Who,
    /// `https` where the workload's TLS ended at the agent.
    pub scheme: Scheme,
    /// The host that the workload's TLS was for, or the first request: every one names it.
    pub name: OnceLock<Host>,
    /// What the tenant has taken of what it may.
    pub account: Arc<Account>,
    /// Opens the requests' records.
    pub exchanges: Exchanges,
}

/// Tenant and flow of a connection.
pub struct Who {
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// What the kernel remembers of it.
    pub flow: Flow,
}

impl Who {
    /// Where it aims at, and whether the agent itself has told it to.
    pub fn aim(&self, agent: &Agent, permit: &Permit) -> Aim<'_> {
        let (host, asked) = (&permit.destination().host, self.flow.original_dst);
        Aim {
            flow: &self.flow,
            was_told: permit.addressing() == Addressing::Verify
                && agent.names.of(&self.tenant.id).was_told(host, asked.ip()),
        }
    }
}

/// Carries one connection to its end, and writes that down.
pub async fn serve(accepted: Accepted, agent: Arc<Agent>) {
    let mut record = agent.records.open(accepted.downstream);
    let ending = carry(accepted, &agent, &mut record).await;
    record.close(ending);
}

async fn carry(accepted: Accepted, agent: &Arc<Agent>, record: &mut ConnectionRecord) -> Ending {
    let tenants = agent.tenants.load();
    let identified = match identify(accepted, &*agent.flows, &tenants, &agent.agent_ports) {
        Ok(identified) => identified,
        Err(refused) => return refuse(*refused, record),
    };
    drop(tenants);
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
            accept::reset(&stream);
            return Ending::of(over.reason);
        }
    };
    let carried = carry_identified(stream, Who { tenant, flow }, agent, record);
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
    match detect(stream, agent.limits.detect).await {
        Ok(Detected::Http(stream)) => {
            let session = session(agent, who, None, record);
            http::serve(stream, agent.limits.http, &agent.tasks, |request| {
                exchange::handle(request, Arc::clone(&session))
            })
            .await
        }
        Ok(Detected::Http2(stream)) => {
            let session = session(agent, who, None, record);
            let refused = exchange::unread(&session);
            http::serve_http2(
                stream,
                agent.limits.http,
                &agent.tasks,
                refused,
                |request| exchange::handle(request, Arc::clone(&session)),
            )
            .await
        }
        Ok(Detected::Tls(hello, stream)) => carry_tls(hello, stream, who, agent, record).await,
        Ok(Detected::Opaque(stream)) => {
            record.protocol(Protocol::Tcp);
            carry_opaque(stream, &who, agent, record).await
        }
        Err((stream, reason)) => {
            accept::reset(&stream);
            Ending::of(reason)
        }
    }
}

/// What the requests of a connection share.
fn session(
    agent: &Arc<Agent>,
    who: Who,
    server_name: Option<Host>,
    record: &mut ConnectionRecord,
) -> Arc<Session> {
    record.protocol(Protocol::Http);
    let scheme = if server_name.is_some() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    Arc::new(Session {
        agent: Arc::clone(agent),
        account: agent.accounts.of(&who.tenant.id),
        who,
        scheme,
        name: server_name.map(OnceLock::from).unwrap_or_default(),
        exchanges: record.exchanges(),
    })
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
async fn carry_tls(
    hello: Hello,
    stream: Replay<TcpStream>,
    who: Who,
    agent: &Arc<Agent>,
    record: &mut ConnectionRecord,
) -> Ending {
    record.protocol(Protocol::Tls);
    let original_dst = who.flow.original_dst;
    let is_named = hello.server_name.is_some();
    let host = hello
        .server_name
        .unwrap_or_else(|| Host::from(original_dst.ip()));
    if is_named {
        record.server_name(&host);
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
            if is_http2 {
                let refused = exchange::unread(&session);
                http::serve_http2(stream, agent.limits.http, &agent.tasks, refused, handle).await
            } else {
                http::serve(stream, agent.limits.http, &agent.tasks, handle).await
            }
        }
        Err(reason) => Ending::of(reason),
    }
}

/// TLS whose inside is the workload's own, carried to what the agent itself finds under its name.
async fn pass_through(
    host: &Host,
    is_named: bool,
    stream: Replay<TcpStream>,
    who: &Who,
    agent: &Agent,
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
async fn carry_opaque(
    stream: Replay<TcpStream>,
    who: &Who,
    agent: &Agent,
    record: &mut ConnectionRecord,
) -> Ending {
    let asked = who.flow.original_dst;
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
    match decide(Scheme::Tcp, &Host::from(asked.ip()), who) {
        Verdict::Allow(permit) => relay(stream, permit, who, agent, record).await,
        Verdict::Deny(denial) => {
            denied_by(record, denial.rule.as_deref());
            end(stream, denial.reason)
        }
    }
}

const DNS_PORT: u16 = 53;

fn decide(scheme: Scheme, host: &Host, who: &Who) -> Verdict {
    let port = who.flow.original_dst.port();
    policy::decide(
        &who.tenant.policy,
        &Facts {
            scheme,
            host,
            port,
            method: None,
            path: None,
        },
    )
}

/// Spends a permit on a tunnel.
async fn relay(
    stream: Replay<TcpStream>,
    mut permit: Permit,
    who: &Who,
    agent: &Agent,
    record: &mut ConnectionRecord,
) -> Ending {
    if !agent.records.writable() {
        return end(stream, Reason::LogUnavailable);
    }
    let account = agent.accounts.of(&who.tenant.id);
    if let Err(over) = account.begin(&who.tenant.limits) {
        return end(stream, over.reason);
    }
    let aim = who.aim(agent, &permit);
    let connected = agent.upstream.connect(&mut permit, aim).await;
    record.allowed(
        permit.rule(),
        permit.would_deny().map(|denial| denial.reason),
    );
    match connected {
        Ok((upstream, peer)) => {
            record.upstream(peer);
            let metered = Metered::tunnel(record.bytes(), &account, who.tenant.limits);
            tunnel::relay(stream, upstream, &metered, agent.limits.tunnel_idle).await
        }
        Err(failure) => {
            if let Some(peer) = failure.peer {
                record.upstream(peer);
            }
            denied_by(record, failure.rule.as_deref());
            end(stream, failure.reason)
        }
    }
}

fn denied_by(record: &mut ConnectionRecord, rule: Option<&str>) {
    if let Some(rule) = rule {
        record.denied_by(rule);
    }
}

/// Ends a connection that cannot be answered in its own protocol.
fn end(stream: Replay<TcpStream>, reason: Reason) -> Ending {
    let (_first, stream) = stream.into_parts();
    accept::reset(&stream);
    Ending::of(reason)
}
