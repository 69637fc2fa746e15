//! The one account of a connection or an exchange: opened once, closed once, also on drop.
//!
//! Access log and metrics come from here and from nowhere else. What is written:
//!
//! - an exchange writes one line: kind `http`, or `security_event` as a connection does;
//! - a DNS query writes one line of kind `dns`, or `security_event` where nobody's it is;
//! - a connection that carried neither writes one line: kind `tls` or `tcp` by what it
//!   spoke, `tcp` where it ended before that was known;
//! - a connection that carried some writes a line only where it was itself refused, as
//!   with bytes after the first request that are no request;
//! - the kind of a connection's line is `security_event` where the reason is one that no
//!   well-behaved workload gives ([`is_security_event`]), and so is that of every system call
//!   that the kernel refused.
//!
//! In metrics every connection and every exchange is counted closed exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::access_log::{AccessLog, Claim};
use super::labels::{Kind, Protocol, WorkerOutcome};
use super::metrics::{Metrics, TenantMetrics, WorkerStates};
use super::timestamp::Timestamp;
use crate::model::addr::{Downstream, UpstreamAddr};
use crate::model::flow::Flow;
use crate::model::host::Host;
use crate::model::reason::{Ending, Outcome, Reason};
use crate::model::tenant::Tenant;

mod account;
mod bytes;
mod event;
mod exchange;
mod held;
mod line;
mod query;
mod refusal;
#[cfg(test)]
mod tests;

pub use account::Watched;
pub use bytes::ByteCounter;
pub use event::is_security_event;
pub use exchange::{ExchangeRecord, Requested};
pub use query::QueryRecord;
pub use refusal::KernelRefusal;

use account::Account;
use exchange::Worker;
use line::Line;
use query::Transport;

/// Opens records. A clone writes to the same log and the same metrics.
#[derive(Clone, Debug)]
pub struct Records {
    metrics: Metrics,
    log: AccessLog,
}

impl Records {
    /// Records that end in `metrics` and `log`.
    pub const fn new(metrics: Metrics, log: AccessLog) -> Self {
        Self { metrics, log }
    }

    /// A connection was accepted.
    pub fn open(&self, downstream: Downstream) -> ConnectionRecord {
        let metrics = self.metrics.no_tenant();
        ConnectionRecord {
            records: self.clone(),
            who: Arc::new(Who {
                downstream,
                tenant: None,
                flow: None,
                metrics,
            }),
            opened: Opened::now(),
            protocol: Protocol::Unknown,
            server_name: None,
            account: Account::default(),
            worker: None,
            bytes: Arc::default(),
            carried_exchange: Arc::default(),
            is_closed: false,
        }
    }

    /// A datagram came to the resolver.
    pub fn query(&self, downstream: Downstream) -> QueryRecord {
        let who = Arc::new(Who {
            downstream,
            tenant: None,
            flow: None,
            metrics: self.metrics.no_tenant(),
        });
        QueryRecord::open(self.clone(), who, Transport::Udp)
    }

    /// The kernel refused a system call.
    pub fn refusal(&self, refusal: &KernelRefusal) {
        let metrics = refusal.tenant.as_ref().map_or_else(
            || self.metrics.no_tenant(),
            |tenant| self.metrics.tenant(tenant),
        );
        metrics.denied_often(Reason::Kernel, 1 + refusal.suppressed);
        self.write(&refusal.line(), Claim::Refused);
    }

    /// Nothing of an invocation of an outbound worker is left.
    pub fn worker_used(&self, service: &str, cpu: Duration, cut: u32) {
        self.metrics.worker_used(service, cpu, cut);
    }

    /// Where what outbound workers have is read from. Only the first call counts.
    pub fn read_workers(&self, read: WorkerStates) {
        self.metrics.read_workers(read);
    }

    /// Whether what happens now can be logged; `false` only where the log is required. The
    /// stories ask before they let anything out.
    pub fn writable(&self) -> bool {
        self.log.writable()
    }

    fn write(&self, line: &Line<'_>, claim: Claim) {
        if self.log.write(line.to_json(), claim).is_err() {
            self.metrics.access_log_lost();
        }
    }
}

/// When a record was opened, on both clocks.
#[derive(Clone, Copy, Debug)]
struct Opened {
    at: Timestamp,
    clock: Instant,
}

impl Opened {
    fn now() -> Self {
        Self {
            at: Timestamp::now(),
            clock: Instant::now(),
        }
    }
}

/// Whose connection it is; an exchange shares its connection's.
#[derive(Debug)]
struct Who {
    downstream: Downstream,
    tenant: Option<Arc<Tenant>>,
    flow: Option<Flow>,
    metrics: Arc<TenantMetrics>,
}

/// One connection, from accept to its end.
#[must_use = "a record dropped without an ending is logged as aborted"]
#[derive(Debug)]
pub struct ConnectionRecord {
    records: Records,
    who: Arc<Who>,
    opened: Opened,
    protocol: Protocol,
    server_name: Option<Host>,
    account: Account,
    worker: Option<Worker>,
    bytes: Arc<ByteCounter>,
    carried_exchange: Arc<AtomicBool>,
    is_closed: bool,
}

impl ConnectionRecord {
    /// Whose it is and where it wanted to go. Said once, before any exchange.
    pub fn identified(&mut self, tenant: &Arc<Tenant>, flow: &Flow) {
        let metrics = self.records.metrics.tenant(&tenant.id);
        metrics.connection_opened();
        self.bytes.charge(&metrics);
        self.who = Arc::new(Who {
            downstream: self.who.downstream,
            tenant: Some(Arc::clone(tenant)),
            flow: Some(flow.clone()),
            metrics,
        });
    }

    /// Where it wanted to go, although it is refused before its tenant is known.
    pub fn unidentified(&mut self, flow: &Flow) {
        self.who = Arc::new(Who {
            downstream: self.who.downstream,
            tenant: None,
            flow: Some(flow.clone()),
            metrics: Arc::clone(&self.who.metrics),
        });
    }

    /// What it speaks.
    pub const fn protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
    }

    /// The server's name, as the ClientHello says it.
    pub fn server_name(&mut self, host: &Host) {
        self.server_name = Some(host.clone());
    }

    /// Policy allowed it, by this rule if by one; in audit mode, with the reason for which
    /// enforce mode would have denied it.
    pub fn allowed(&mut self, rule: Option<&str>, would_deny: Option<Watched<'_>>) {
        self.account.allowed(rule, would_deny);
    }

    /// Policy denied it by this rule. That it was denied is what the ending says.
    pub fn denied_by(&mut self, rule: &str) {
        self.account.rule = Some(rule.into());
    }

    /// What was dialled for it.
    pub const fn upstream(&mut self, address: UpstreamAddr) {
        self.account.upstream = Some(address);
    }

    /// An outbound worker decided about it, which took this long.
    pub fn worker(&mut self, service: &Arc<str>, outcome: WorkerOutcome, took: Duration) {
        self.records.metrics.worker_called(service, outcome, took);
        self.worker = Some(Worker {
            service: Arc::clone(service),
            outcome,
            took,
        });
    }

    /// Where a tunnel counts what it carries. Bodies of exchanges count with their exchange.
    pub fn bytes(&self) -> Arc<ByteCounter> {
        Arc::clone(&self.bytes)
    }

    /// Opens the records of the requests that arrive on it.
    pub fn exchanges(&self) -> Exchanges {
        Exchanges {
            records: self.records.clone(),
            who: Arc::clone(&self.who),
            carried: Arc::clone(&self.carried_exchange),
        }
    }

    /// A DNS query has arrived on it.
    pub fn query(&self) -> QueryRecord {
        self.carried_exchange.store(true, Ordering::Relaxed);
        QueryRecord::open(self.records.clone(), Arc::clone(&self.who), Transport::Tcp)
    }

    /// It has ended.
    pub fn close(mut self, ending: Ending) {
        self.finish(ending);
    }

    fn finish(&mut self, ending: Ending) {
        self.is_closed = true;
        let metrics = &self.who.metrics;
        if self.who.tenant.is_none() {
            metrics.connection_opened();
            self.bytes.charge(metrics);
        }
        metrics.connection_closed(self.protocol, ending.outcome);
        self.account.count(metrics, ending);
        let claim = claim(ending);
        if claim == Claim::Refused || !self.carried_exchange.load(Ordering::Relaxed) {
            self.records.write(&self.line(ending), claim);
        }
    }

    fn kind(&self, ending: Ending) -> Kind {
        if ending.reason.is_some_and(is_security_event) {
            return Kind::SecurityEvent;
        }
        match self.protocol {
            Protocol::Tls => Kind::Tls,
            Protocol::Tcp | Protocol::Http | Protocol::Dns | Protocol::Unknown => Kind::Tcp,
        }
    }

    fn line(&self, ending: Ending) -> Line<'_> {
        let mut line = Line::new(self.kind(ending), self.opened);
        line.who(&self.who);
        if let Some(name) = &self.server_name {
            line.server_address = Some(name.into());
        }
        line.network_protocol_name = match self.protocol {
            Protocol::Unknown => None,
            Protocol::Http | Protocol::Tls | Protocol::Dns | Protocol::Tcp => {
                Some(self.protocol.label())
            }
        };
        line.account(&self.account, ending);
        if let Some(worker) = &self.worker {
            line.worker(&worker.service, worker.outcome.label(), worker.took);
        }
        line.carried(&self.bytes, self.opened);
        line
    }
}

/// Opens the records of one connection's requests, from whichever task serves them.
#[derive(Clone, Debug)]
pub struct Exchanges {
    records: Records,
    who: Arc<Who>,
    carried: Arc<AtomicBool>,
}

impl Exchanges {
    /// A request has arrived.
    pub fn open(&self) -> ExchangeRecord {
        self.carried.store(true, Ordering::Relaxed);
        ExchangeRecord::open(self.records.clone(), Arc::clone(&self.who))
    }
}

impl Drop for ConnectionRecord {
    fn drop(&mut self) {
        if !self.is_closed {
            self.finish(ending_of_drop());
        }
    }
}

/// How something ended that nobody closed: a panic is the agent's failure, all else an abort.
fn ending_of_drop() -> Ending {
    if thread::panicking() {
        return Ending::of(Reason::Internal);
    }
    Ending {
        outcome: Outcome::Aborted,
        reason: None,
        fault: None,
    }
}

/// What the access log has to keep room for.
const fn claim(ending: Ending) -> Claim {
    match ending.outcome {
        Outcome::Denied | Outcome::Refused => Claim::Refused,
        Outcome::Completed | Outcome::Failed | Outcome::TimedOut | Outcome::Aborted => {
            Claim::Carried
        }
    }
}
