//! Story 3: one DNS query, from its bytes to its record.

use std::net::IpAddr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{Record, RecordType};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::connection::{Agent, Now, Who, watched};
use crate::model::rcode::Rcode;
use crate::model::reason::{Ending, Reason};
use crate::observe::record::{ConnectionRecord, QueryRecord};
use crate::path::dns::message::{Asked, Reply, Service, Transport};
use crate::path::dns::socket::{Datagram, DatagramSocket};
use crate::path::dns::{Account, service, stream};
use crate::path::policy::{self, Denial, NamePermit};
use crate::path::upstream::resolve::Found;

/// Finds whose a datagram is. Without a flow and a tenant there is no answer, and without a
/// place among the tenant's queries neither.
pub fn take(datagram: Datagram, socket: &Arc<DatagramSocket>, agent: &Arc<Agent>) {
    let mut record = agent.records.query(datagram.source);
    let flow = agent
        .flows
        .flow_of_datagram(socket.as_fd(), datagram.source, datagram.local);
    let Some(flow) = flow else {
        return record.close(Ending::of(Reason::UnknownFlow));
    };
    let tenant = agent.tenants.load().of(flow.tenant_cgroup).cloned();
    record.identified(&flow, tenant.as_ref());
    let Some(tenant) = tenant else {
        return record.close(Ending::of(Reason::UnknownTenant));
    };
    let Some(place) = agent.names.of(&tenant.id).place() else {
        return record.close(Ending::of(Reason::DnsLimit));
    };
    let query = Query {
        who: Who {
            tenant,
            downstream: datagram.source,
            flow: Arc::new(flow),
            proxied: None,
            carrier: Arc::default(),
        },
        record,
        _place: place,
    };
    let (socket, answering) = (Arc::clone(socket), Arc::clone(agent));
    agent.tasks.spawn("query", async move {
        answer_datagram(datagram, &socket, query, &answering).await;
    });
}

/// A query whose tenant is known.
struct Query {
    who: Who,
    record: QueryRecord,
    _place: OwnedSemaphorePermit,
}

async fn answer_datagram(
    datagram: Datagram,
    socket: &DatagramSocket,
    mut query: Query,
    agent: &Agent,
) {
    let Answered { reply, ending } =
        answer(&datagram.message, &query.who, agent, &mut query.record).await;
    let bytes = reply.and_then(|reply| reply.to_bytes(Transport::Udp));
    if let Some(bytes) = bytes
        && let Err(error) = socket.send(&bytes, datagram.local, datagram.source).await
    {
        // As good as lost on the way: the workload asks again.
        tracing::debug!(%error, "cannot send an answer");
    }
    query.record.close(ending);
}

/// Answers the queries of a connection, one after the other, until the workload has no more.
pub async fn serve(
    mut stream: TcpStream,
    who: &Who,
    agent: &Agent,
    record: &ConnectionRecord,
) -> Ending {
    let idle = agent.names.limits().idle;
    loop {
        let message = tokio::select! {
            biased; // A stopping agent takes nothing more.
            () = agent.tasks.draining() => return Ending::COMPLETED,
            message = stream::read(&mut stream, idle) => message,
        };
        let message = match message {
            Ok(Some(message)) => message,
            // A client that keeps its connection for the next query is no failure.
            Ok(None) | Err(Reason::DnsIdleTimeout) => return Ending::COMPLETED,
            Err(reason) => return Ending::of(reason),
        };
        let mut record = record.query();
        let changed = match who.now(agent) {
            None => {
                record.close(Ending::of(Reason::Unassigned));
                return Ending::of(Reason::Unassigned);
            }
            Some(Now::Same) => None,
            Some(Now::Changed(who)) => Some(who),
        };
        let who = changed.as_ref().unwrap_or(who);
        let Some(_place) = agent.names.of(&who.tenant.id).place() else {
            record.close(Ending::of(Reason::DnsLimit));
            return Ending::of(Reason::DnsLimit);
        };
        let Answered { reply, ending } = answer(&message, who, agent, &mut record).await;
        let Some(bytes) = reply.and_then(|reply| reply.to_bytes(Transport::Tcp)) else {
            record.close(ending);
            return ending;
        };
        match stream::write(&mut stream, &bytes, idle).await {
            Ok(()) => record.close(ending),
            Err(reason) => {
                record.close(Ending::of(reason));
                return Ending::of(reason);
            }
        }
    }
}

/// What became of a query; without a reply nothing is sent.
struct Answered {
    reply: Option<Reply>,
    ending: Ending,
}

async fn answer(message: &[u8], who: &Who, agent: &Agent, record: &mut QueryRecord) -> Answered {
    let (reply, ending) = match Asked::read(message) {
        Err(unusable) => (unusable.reply, Ending::of(unusable.reason)),
        Ok(asked) => {
            record.question(&asked.name(), &asked.kind());
            match carry(&asked, who, agent, record).await {
                Ok(reply) => (Some(reply), Ending::COMPLETED),
                Err(refused) => {
                    if let Some(rule) = &refused.rule {
                        record.denied_by(rule);
                    }
                    let reply = asked.reply(code(refused.reason));
                    (Some(reply), Ending::of(refused.reason))
                }
            }
        }
    };
    if let Some(reply) = &reply {
        record.reply(reply.code(), reply.answers());
    }
    Answered { reply, ending }
}

/// Decide, look up, and show of what was found what the tenant could reach.
async fn carry(
    asked: &Asked,
    who: &Who,
    agent: &Agent,
    record: &mut QueryRecord,
) -> Result<Reply, Denial> {
    let account = agent.names.of(&who.tenant.id);
    if !agent.records.writable() {
        return Err(Reason::LogUnavailable.into());
    }
    if !account.may_ask() || asked.name().len() > agent.names.limits().name_bytes {
        return Err(Reason::DnsLimit.into());
    }
    let host = asked.host().ok_or(Reason::NoHost)?;
    let mut permit = policy::decide_name(&who.tenant, &who.flow.executable, &host)?;
    let kind = match asked.service() {
        Service::LookUp(kind) => kind,
        Service::Refuse => return Err(Reason::UnsupportedProtocol.into()),
    };
    let found = agent.upstream.records(&permit, kind).await;
    let shown = found
        .map_err(Denial::from)
        .and_then(|found| show(found, kind, &mut permit, &account));
    record_permit(record, &permit);
    Ok(asked.answer(shown?))
}

/// Leaves out addresses that the tenant could not reach, and remembers the others for when it
/// does. Where there are only such, that is a denial.
fn show(
    found: Found,
    kind: RecordType,
    permit: &mut NamePermit,
    account: &Account,
) -> Result<Found, Denial> {
    let Found::Records(found) = found else {
        return Ok(found);
    };
    let mut addresses: Vec<IpAddr> = Vec::new();
    let mut denied = None;
    let mut may_reach = |address: IpAddr| match permit.check_address(address) {
        Ok(()) => {
            addresses.push(address.to_canonical());
            true
        }
        Err(denial) => {
            denied.get_or_insert(denial);
            false
        }
    };
    let mut records = Vec::with_capacity(found.len());
    for record in found {
        let is_wanted = record.record_type() == kind;
        match (record.data.ip_addr(), kind) {
            (Some(address), _) if is_wanted => {
                records.extend(may_reach(address).then_some(record));
            }
            (None, RecordType::HTTPS | RecordType::SVCB) if is_wanted => {
                records.extend(service::told(&record, &mut may_reach));
            }
            (Some(_) | None, _) => records.push(record),
        }
    }
    match denied {
        Some(denial)
            if addresses.is_empty() && matches!(kind, RecordType::A | RecordType::AAAA) =>
        {
            return Err(denial);
        }
        Some(_) | None => {}
    }
    account.remember(permit.host(), &addresses, shortest_ttl(&records));
    Ok(Found::Records(records))
}

fn shortest_ttl(records: &[Record]) -> Duration {
    let ttl = records.iter().map(|record| record.ttl).min();
    Duration::from_secs(ttl.unwrap_or_default().into())
}

fn record_permit(record: &mut QueryRecord, permit: &NamePermit) {
    record.allowed(permit.rule(), watched(permit.would_deny()));
}

/// What a query is answered that is not answered as it asked.
const fn code(reason: Reason) -> Rcode {
    use Reason as R;
    match reason {
        R::RuleDeny
        | R::ConditionFailed
        | R::NoRule
        | R::PrivateAddress
        | R::MetadataAddress
        | R::PolicyChanged
        | R::Unassigned
        | R::UnsupportedProtocol
        | R::NoHost
        | R::DnsLimit
        | R::RateLimit
        | R::TenantConnections
        | R::TenantRequests
        | R::RequestRate
        | R::Quota
        | R::BodyTooLarge
        | R::ResponseTooLarge
        | R::TooLong => Rcode::Refused,
        R::Malformed => Rcode::FormErr,
        R::UnknownFlow
        | R::UnknownTenant
        | R::FlowMismatch
        | R::AgentAddress
        | R::NoServerName
        | R::TwoHosts
        | R::TwoLengths
        | R::InvalidLength
        | R::TransferCoding
        | R::InvalidChunk
        | R::InvalidHeader
        | R::BareLineEnd
        | R::HeaderTooLarge
        | R::DestinationMismatch
        | R::ClientHelloTimeout
        | R::DownstreamTlsTimeout
        | R::RequestHeaderTimeout
        | R::RequestBodyTimeout
        | R::TunnelIdleTimeout
        | R::DnsIdleTimeout
        | R::DownstreamDead
        | R::DownstreamAborted
        | R::DownstreamTls
        | R::ConnectionLimit
        | R::StreamLimit
        | R::NotDispatched
        | R::WorkerException
        | R::WorkerCpu
        | R::WorkerTimeout
        | R::WorkerMemory
        | R::WorkerDied
        | R::WorkerUnavailable
        | R::WorkerLimit
        | R::WorkerLoop
        | R::WorkerRefused
        | R::CredentialUnavailable
        | R::Unscrubbable
        | R::UpstreamUnresolved
        | R::UpstreamRefused
        | R::UpstreamUnreachable
        | R::ResolveTimeout
        | R::ConnectTimeout
        | R::UpstreamTlsTimeout
        | R::ResponseHeaderTimeout
        | R::ResponseBodyTimeout
        | R::TokenTimeout
        | R::UpstreamDead
        | R::UpstreamReset
        | R::UpstreamTls
        | R::UpstreamTlsUnverified
        | R::UpstreamMalformed
        | R::LogUnavailable
        | R::Draining
        | R::Kernel
        | R::Internal => Rcode::ServFail,
    }
}
