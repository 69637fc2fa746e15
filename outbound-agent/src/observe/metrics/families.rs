//! The table of metrics: names, labels, meaning. The registry and `docs/metrics.md` are made
//! from it, so neither can say something that the other does not.

use std::fmt::Write as _;

use outbound_common::Counter;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};

use crate::model::rcode::Rcode;
use crate::model::reason::{Outcome, Reason};
use crate::observe::labels::{Direction, Held, Protocol, Reload, Use, Verdict, WorkerOutcome};

/// One metric.
pub(super) struct Family {
    name: &'static str,
    kind: Kind,
    labels: &'static [Label],
    help: &'static str,
}

/// What Prometheus calls its type.
#[derive(Clone, Copy)]
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A label, and with it the list of its values.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    Tenant,
    Protocol,
    Outcome,
    Verdict,
    Direction,
    Held,
    Reason,
    Rcode,
    Service,
    Worker,
    Credential,
    Use,
    Counter,
    Result,
    Version,
    Commit,
}

macro_rules! families {
    ($($constant:ident: $kind:ident $name:literal [$($label:ident),*] $help:literal;)*) => {
        $(pub(super) const $constant: Family = Family {
            name: $name,
            kind: Kind::$kind,
            labels: &[$(Label::$label),*],
            help: $help,
        };)*
        const FAMILIES: &[&Family] = &[$(&$constant),*];
    };
}

families! {
    CONNECTIONS_OPENED: Counter "outbound_connections_opened_total" [Tenant]
        "Connections taken over, counted once their tenant is known or they end.";
    CONNECTIONS_CLOSED: Counter "outbound_connections_closed_total" [Tenant, Protocol, Outcome]
        "Connections that ended. Opened minus closed is what is open.";
    EXCHANGES: Counter "outbound_exchanges_total" [Tenant, Verdict, Outcome]
        "HTTP exchanges that ended.";
    EXCHANGE_DURATION: Histogram "outbound_exchange_duration_seconds" [Outcome]
        "From an exchange's request head to the end of its response body.";
    BYTES: Counter "outbound_bytes_total" [Tenant, Direction]
        "Payload carried: bodies of exchanges, and all bytes of tunnels, counted as they pass.";
    HELD_CONNECTS: Counter "outbound_held_connects_total" [Tenant, Held]
        "Connects of tenants with `true_errors`, by what became of them.";
    DNS_QUERIES: Counter "outbound_dns_queries_total" [Tenant, Rcode]
        "DNS queries that were answered.";
    DENIALS: Counter "outbound_denials_total" [Tenant, Reason]
        "Exchanges, connections, DNS queries and system calls that were denied or refused.";
    FAILURES: Counter "outbound_failures_total" [Tenant, Reason]
        "Exchanges, connections and DNS queries that failed, timed out or broke off.";
    WOULD_DENY: Counter "outbound_would_deny_total" [Tenant, Reason]
        "Exchanges, connections and DNS queries that audit mode let through and enforce mode would deny.";
    WORKER_CALLS: Counter "outbound_worker_calls_total" [Service, Worker]
        "Invocations of outbound workers.";
    WORKER_DURATION: Histogram "outbound_worker_duration_seconds" [Service]
        "From the invocation of an outbound worker to the head of its response.";
    WORKER_CPU: Histogram "outbound_worker_cpu_seconds" [Service]
        "Time on a processor of an invocation of a module, counted when nothing of it is left.";
    WORKER_CUT: Counter "outbound_worker_cut_total" [Service]
        "Tasks of `waitUntil` and bodies that were cut before their end.";
    WORKER_ISOLATES: Gauge "outbound_worker_isolates" [Service]
        "Isolates of a module in memory.";
    WORKER_OUTSTANDING: Gauge "outbound_worker_outstanding" [Service]
        "Invocations of a module that live on after their response.";
    WORKER_RESTARTS: Counter "outbound_worker_restarts_total" [Service]
        "How often a module's process had to be replaced.";
    CREDENTIALS: Counter "outbound_credentials_total" [Credential, Use]
        "Requests to hosts that a credential is bound to, by what became of it.";
    KERNEL_EVENTS: Counter "outbound_kernel_events_total" [Counter]
        "What the kernel programs counted, read when scraped.";
    ACCESS_LOG_LOST: Counter "outbound_access_log_lost_total" []
        "Lines of the access log that were dropped because its queue was full.";
    CONFIG_RELOADS: Counter "outbound_config_reloads_total" [Result]
        "Reloads of the configuration.";
    BUILD_INFO: Gauge "outbound_build_info" [Version, Commit]
        "Always 1; the labels say which build runs.";
}

/// Upper bounds of the duration buckets, in seconds: from a cached answer on this machine to a
/// long download.
const DURATION_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0,
];

/// As [`DURATION_BUCKETS`], for what takes microseconds when all is well.
const SHORT_DURATION_BUCKETS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 1.0,
];

impl Family {
    /// Its labels' names, in order.
    pub(super) fn label_names(&self) -> Vec<&'static str> {
        self.labels.iter().map(|label| label.name()).collect()
    }

    /// Name and help, for a collector of its own.
    pub(super) fn opts(&self) -> Opts {
        Opts::new(self.name, self.help)
    }

    /// Registers it as counters.
    pub(super) fn counters(&self, registry: &Registry) -> prometheus::Result<IntCounterVec> {
        let family = IntCounterVec::new(self.opts(), &self.label_names())?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    /// Registers it as gauges.
    pub(super) fn gauges(&self, registry: &Registry) -> prometheus::Result<IntGaugeVec> {
        let family = IntGaugeVec::new(self.opts(), &self.label_names())?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }

    /// Registers it as histograms of durations.
    pub(super) fn durations(&self, registry: &Registry) -> prometheus::Result<HistogramVec> {
        self.histograms(DURATION_BUCKETS, registry)
    }

    /// Registers it as histograms of short durations.
    pub(super) fn short_durations(&self, registry: &Registry) -> prometheus::Result<HistogramVec> {
        self.histograms(SHORT_DURATION_BUCKETS, registry)
    }

    fn histograms(&self, buckets: &[f64], registry: &Registry) -> prometheus::Result<HistogramVec> {
        let opts = HistogramOpts::from(self.opts()).buckets(buckets.to_vec());
        let family = HistogramVec::new(opts, &self.label_names())?;
        registry.register(Box::new(family.clone()))?;
        Ok(family)
    }
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Label {
    /// In the order in which the table uses them.
    const ALL: &'static [Self] = &[
        Self::Tenant,
        Self::Protocol,
        Self::Outcome,
        Self::Verdict,
        Self::Direction,
        Self::Held,
        Self::Reason,
        Self::Rcode,
        Self::Service,
        Self::Worker,
        Self::Credential,
        Self::Use,
        Self::Counter,
        Self::Result,
        Self::Version,
        Self::Commit,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Protocol => "protocol",
            Self::Outcome => "outcome",
            Self::Verdict => "verdict",
            Self::Direction => "direction",
            Self::Held => "verdict",
            Self::Reason => "reason",
            Self::Rcode => "rcode",
            Self::Service => "service",
            Self::Worker => "outcome",
            Self::Credential => "credential",
            Self::Use => "use",
            Self::Counter => "counter",
            Self::Result => "result",
            Self::Version => "version",
            Self::Commit => "commit",
        }
    }

    /// What it may say, in Markdown.
    fn values(self) -> String {
        fn list(values: impl Iterator<Item = &'static str>) -> String {
            let quoted: Vec<String> = values.map(|value| format!("`{value}`")).collect();
            quoted.join(", ")
        }
        match self {
            Self::Tenant => format!(
                "a tenant's name; `{}` where there is none; `{}` for tenants beyond the first {}",
                super::UNKNOWN_TENANT,
                super::OTHER_TENANTS,
                super::MAX_TENANTS
            ),
            Self::Protocol => list(Protocol::ALL.iter().map(|value| value.label())),
            Self::Outcome => list(Outcome::ALL.iter().map(|value| value.label())),
            Self::Verdict => list(Verdict::ALL.iter().map(|value| value.label())),
            Self::Held => format!(
                "in `{}`: {}",
                HELD_CONNECTS.name,
                list(Held::ALL.iter().map(|value| value.label()))
            ),
            Self::Direction => list(Direction::ALL.iter().map(|value| value.label())),
            Self::Reason => list(Reason::ALL.iter().map(|value| value.label())),
            Self::Rcode => list(Rcode::ALL.iter().map(|value| value.label())),
            Self::Service => "the name of an outbound worker's service".to_owned(),
            Self::Worker => format!(
                "in `{}`: {}",
                WORKER_CALLS.name,
                list(WorkerOutcome::ALL.iter().map(|value| value.label()))
            ),
            Self::Credential => "a credential's name in the configuration".to_owned(),
            Self::Use => list(Use::ALL.iter().map(|value| value.label())),
            Self::Counter => list(Counter::ALL.iter().map(|value| value.label())),
            Self::Result => list(Reload::ALL.iter().map(|value| value.label())),
            Self::Version => "the version of the agent".to_owned(),
            Self::Commit => {
                "the commit it was built from; empty when built outside a repository".to_owned()
            }
        }
    }
}

/// The text of `docs/metrics.md`.
pub fn markdown() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Generated from the registry; `UPDATE_DOCS=1 cargo test -p outbound-agent metrics` writes it.\n\n\
         `GET /metrics` on the metrics address and on the admin socket gives them in Prometheus' \
         text format. A series appears with its first event.\n\n\
         | Metric | Type | Labels | Meaning |\n|---|---|---|---|\n",
    );
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        text.write_fmt(arguments)
            .expect("a String takes every write");
    };
    for family in FAMILIES {
        let labels: Vec<String> = family
            .label_names()
            .iter()
            .map(|name| format!("`{name}`"))
            .collect();
        line(format_args!(
            "| `{}` | {} | {} | {} |\n",
            family.name,
            family.kind.name(),
            labels.join(", "),
            family.help
        ));
    }
    line(format_args!(
        "\n## Labels\n\n| Label | Values |\n|---|---|\n"
    ));
    for label in Label::ALL {
        line(format_args!(
            "| `{}` | {} |\n",
            label.name(),
            label.values()
        ));
    }
    text
}
