//! The registry and every metric: a method per event, labels from closed lists.
//!
//! What traffic does arrives from [`super::record`] and from nowhere else. Nothing outside this
//! module knows prometheus. Counters are resolved once and then kept, per tenant, so that a
//! connection costs one look-up and an exchange none.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use outbound_common::Counter;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Registry, TextEncoder};

use super::labels::{Direction, Held, Protocol, Reload, Use, Verdict, WorkerOutcome};
use crate::model::rcode::Rcode;
use crate::model::reason::{Outcome, Reason};
use crate::model::tenant::TenantId;

mod families;
mod worker;
#[cfg(test)]
mod tests;

pub use families::markdown;
use worker::Workers;
pub use worker::{WorkerState, WorkerStates};

/// The label where there is no tenant. No tenant has this name: a [`TenantId`] does not start
/// with `_`.
pub const UNKNOWN_TENANT: &str = "_unknown";
/// The label that tenants share once [`MAX_TENANTS`] have one of their own.
pub const OTHER_TENANTS: &str = "_other";
/// How many tenants get a label of their own.
pub const MAX_TENANTS: usize = 1024;

/// Reads the kernel's counters.
pub type KernelEvents = Box<dyn Fn() -> Vec<(Counter, u64)> + Send + Sync>;

/// Every metric of the agent. A clone is another handle on the same ones.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    traffic: Arc<Traffic>,
    tenants: RwLock<HashMap<TenantId, Arc<TenantMetrics>>>,
    unknown: Arc<TenantMetrics>,
    other: Arc<TenantMetrics>,
    kernel_events: KernelCollector,
    access_log_lost: IntCounter,
    config_reloads: IntCounterVec,
    workers: Workers,
}

impl Metrics {
    /// The metrics of this process; `commit` where the build knows it.
    pub fn new(version: &str, commit: Option<&str>) -> Self {
        Self::build(version, commit).expect("names in the table are valid and distinct (tested)")
    }

    fn build(version: &str, commit: Option<&str>) -> prometheus::Result<Self> {
        let registry = Registry::new();
        let traffic = Arc::new(Traffic::register(&registry)?);
        let kernel_events = KernelCollector::new()?;
        registry.register(Box::new(kernel_events.clone()))?;
        let none: [&str; 0] = [];
        let inner = Inner {
            tenants: RwLock::default(),
            unknown: Arc::new(TenantMetrics::new(UNKNOWN_TENANT, &traffic)),
            other: Arc::new(TenantMetrics::new(OTHER_TENANTS, &traffic)),
            kernel_events,
            access_log_lost: families::ACCESS_LOG_LOST
                .counters(&registry)?
                .get_metric_with_label_values(&none)?,
            config_reloads: families::CONFIG_RELOADS.counters(&registry)?,
            workers: Workers::register(&registry)?,
            traffic,
            registry: registry.clone(),
        };
        families::BUILD_INFO
            .gauges(&registry)?
            .get_metric_with_label_values(&[version, commit.unwrap_or_default()])?
            .set(1);
        Ok(Self(Arc::new(inner)))
    }

    /// Where the kernel's counters are read from at each scrape. Only the first call counts.
    pub fn read_kernel_events(&self, read: KernelEvents) {
        self.0.kernel_events.read.get_or_init(|| read);
    }

    /// The metrics of a tenant; those of all the others once there are too many tenants.
    pub fn tenant(&self, tenant: &TenantId) -> Arc<TenantMetrics> {
        let known = self
            .0
            .tenants
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(metrics) = known.get(tenant) {
            return Arc::clone(metrics);
        }
        drop(known);
        let mut known = self
            .0
            .tenants
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_TENANTS && !known.contains_key(tenant) {
            return Arc::clone(&self.0.other);
        }
        let metrics = known
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(TenantMetrics::new(tenant.as_str(), &self.0.traffic)));
        Arc::clone(metrics)
    }

    /// The metrics of what belongs to no tenant.
    pub fn no_tenant(&self) -> Arc<TenantMetrics> {
        Arc::clone(&self.0.unknown)
    }

    /// A line of the access log was dropped.
    pub fn access_log_lost(&self) {
        self.0.access_log_lost.inc();
    }

    /// An outbound worker was invoked; services are as many as the configuration has.
    pub fn worker_called(&self, service: &str, outcome: WorkerOutcome, took: Duration) {
        self.0.workers.called(service, outcome, took);
    }

    /// Nothing of an invocation of an outbound worker is left: it used this much time on a
    /// processor, and so many of its tasks and bodies were cut.
    pub fn worker_used(&self, service: &str, cpu: Duration, cut: u32) {
        self.0.workers.used(service, cpu, cut);
    }

    /// Where what workers have is read from at each scrape. Only the first call counts.
    pub fn read_workers(&self, read: WorkerStates) {
        self.0.workers.read(read);
    }

    /// The configuration was reloaded, or was not.
    pub fn config_reloaded(&self, result: Reload) {
        self.0
            .config_reloads
            .with_label_values(&[result.label()])
            .inc();
    }

    /// All of them in Prometheus' text format.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.0.registry.gather())
            .expect("gathered families are named and not empty")
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// The families that records write to.
struct Traffic {
    opened: IntCounterVec,
    closed: IntCounterVec,
    exchanges: IntCounterVec,
    durations: HistogramVec,
    duration: [OnceLock<Histogram>; Outcome::ALL.len()],
    bytes: IntCounterVec,
    held: IntCounterVec,
    dns_queries: IntCounterVec,
    denials: IntCounterVec,
    failures: IntCounterVec,
    would_deny: IntCounterVec,
    credentials: IntCounterVec,
}

impl Traffic {
    fn register(registry: &Registry) -> prometheus::Result<Self> {
        Ok(Self {
            opened: families::CONNECTIONS_OPENED.counters(registry)?,
            closed: families::CONNECTIONS_CLOSED.counters(registry)?,
            exchanges: families::EXCHANGES.counters(registry)?,
            durations: families::EXCHANGE_DURATION.durations(registry)?,
            duration: [const { OnceLock::new() }; _],
            bytes: families::BYTES.counters(registry)?,
            held: families::HELD_CONNECTS.counters(registry)?,
            dns_queries: families::DNS_QUERIES.counters(registry)?,
            denials: families::DENIALS.counters(registry)?,
            failures: families::FAILURES.counters(registry)?,
            would_deny: families::WOULD_DENY.counters(registry)?,
            credentials: families::CREDENTIALS.counters(registry)?,
        })
    }
}

/// A counter that is resolved when it is first needed, so that a series exists only for what
/// has happened.
type Cell = OnceLock<IntCounter>;

/// One tenant's counters.
pub struct TenantMetrics {
    tenant: Box<str>,
    traffic: Arc<Traffic>,
    opened: Cell,
    closed: [[Cell; Outcome::ALL.len()]; Protocol::ALL.len()],
    exchanges: [[Cell; Outcome::ALL.len()]; Verdict::ALL.len()],
    bytes: [Cell; Direction::ALL.len()],
    held: [Cell; Held::ALL.len()],
    dns_queries: [Cell; Rcode::ALL.len()],
    denials: [Cell; Reason::ALL.len()],
    failures: [Cell; Reason::ALL.len()],
    would_deny: [Cell; Reason::ALL.len()],
}

impl TenantMetrics {
    fn new(tenant: &str, traffic: &Arc<Traffic>) -> Self {
        Self {
            tenant: tenant.into(),
            traffic: Arc::clone(traffic),
            opened: Cell::new(),
            closed: [const { [const { Cell::new() }; _] }; _],
            exchanges: [const { [const { Cell::new() }; _] }; _],
            bytes: [const { Cell::new() }; _],
            held: [const { Cell::new() }; _],
            dns_queries: [const { Cell::new() }; _],
            denials: [const { Cell::new() }; _],
            failures: [const { Cell::new() }; _],
            would_deny: [const { Cell::new() }; _],
        }
    }

    /// A connection is this tenant's.
    pub fn connection_opened(&self) {
        self.resolve(&self.opened, &self.traffic.opened, &[]).inc();
    }

    /// A connection that was counted as opened has ended.
    pub fn connection_closed(&self, protocol: Protocol, outcome: Outcome) {
        let cell = &self.closed[protocol as usize][outcome as usize];
        let labels = [protocol.label(), outcome.label()];
        self.resolve(cell, &self.traffic.closed, &labels).inc();
    }

    /// An exchange has ended.
    pub fn exchange_closed(&self, verdict: Verdict, outcome: Outcome, duration: Duration) {
        let cell = &self.exchanges[verdict as usize][outcome as usize];
        let labels = [verdict.label(), outcome.label()];
        self.resolve(cell, &self.traffic.exchanges, &labels).inc();
        self.traffic.duration[outcome as usize]
            .get_or_init(|| self.traffic.durations.with_label_values(&[outcome.label()]))
            .observe(duration.as_secs_f64());
    }

    /// Payload has passed.
    pub fn carried(&self, direction: Direction, bytes: u64) {
        let cell = &self.bytes[direction as usize];
        self.resolve(cell, &self.traffic.bytes, &[direction.label()])
            .inc_by(bytes);
    }

    /// A held connect was let go.
    pub fn released(&self, held: Held) {
        let cell = &self.held[held as usize];
        self.resolve(cell, &self.traffic.held, &[held.label()])
            .inc();
    }

    /// A DNS query was answered.
    pub fn query_answered(&self, code: Rcode) {
        let cell = &self.dns_queries[code as usize];
        self.resolve(cell, &self.traffic.dns_queries, &[code.label()])
            .inc();
    }

    /// Something was denied or refused.
    pub fn denied(&self, reason: Reason) {
        self.denied_often(reason, 1);
    }

    /// Something was denied or refused this many times.
    pub fn denied_often(&self, reason: Reason, times: u64) {
        let cell = &self.denials[reason as usize];
        self.resolve(cell, &self.traffic.denials, &[reason.label()])
            .inc_by(times);
    }

    /// Something was begun and did not come to its end.
    pub fn failed(&self, reason: Reason) {
        let cell = &self.failures[reason as usize];
        self.resolve(cell, &self.traffic.failures, &[reason.label()])
            .inc();
    }

    /// Something was let through that enforce mode would deny.
    pub fn would_deny(&self, reason: Reason) {
        let cell = &self.would_deny[reason as usize];
        self.resolve(cell, &self.traffic.would_deny, &[reason.label()])
            .inc();
    }

    /// Something became of a credential that is bound to a request's host.
    pub fn credential(&self, name: &str, used: Use) {
        let labels = [name, used.label()];
        self.traffic.credentials.with_label_values(&labels).inc();
    }

    fn resolve<'cell>(
        &self,
        cell: &'cell Cell,
        family: &IntCounterVec,
        labels: &[&str],
    ) -> &'cell IntCounter {
        cell.get_or_init(|| {
            let mut values = vec![self.tenant.as_ref()];
            values.extend(labels);
            family.with_label_values(&values)
        })
    }
}

impl fmt::Debug for TenantMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TenantMetrics").field(&self.tenant).finish()
    }
}

/// Gives what the kernel has counted so far, whenever somebody asks.
#[derive(Clone)]
struct KernelCollector {
    shape: IntCounterVec,
    read: Arc<OnceLock<KernelEvents>>,
}

impl KernelCollector {
    fn new() -> prometheus::Result<Self> {
        let family = families::KERNEL_EVENTS;
        Ok(Self {
            shape: IntCounterVec::new(family.opts(), &family.label_names())?,
            read: Arc::default(),
        })
    }
}

impl Collector for KernelCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.shape.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // The totals are the kernel's: counters made anew take them over as they are, also
        // where they start again from 0 because the maps were replaced.
        let Ok(fresh) = Self::new() else {
            return Vec::new();
        };
        for (counter, total) in self.read.get().map(|read| read()).unwrap_or_default() {
            fresh
                .shape
                .with_label_values(&[counter.label()])
                .inc_by(total);
        }
        fresh.shape.collect()
    }
}
