//! Metrics of outbound workers. Services are as many as the configuration has.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{HistogramVec, IntCounterVec, IntGaugeVec, Registry};

use super::families;
use crate::observe::labels::WorkerOutcome;

/// Where what workers have at the moment is read from.
pub type WorkerStates = Box<dyn Fn() -> Vec<WorkerState> + Send + Sync>;

/// What a service that is a module has at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerState {
    /// Its name.
    pub service: Arc<str>,
    /// Isolates in memory.
    pub isolates: u64,
    /// Invocations that live on after their response.
    pub outstanding: usize,
    /// How often its process had to be replaced.
    pub restarts: u64,
}

/// The families of workers.
pub(super) struct Workers {
    calls: IntCounterVec,
    durations: HistogramVec,
    cpu: HistogramVec,
    cut: IntCounterVec,
    states: States,
}

impl Workers {
    pub(super) fn register(registry: &Registry) -> prometheus::Result<Self> {
        let states = States {
            read: Arc::default(),
            shapes: Arc::new(Shapes::new()?),
        };
        registry.register(Box::new(states.clone()))?;
        Ok(Self {
            calls: families::WORKER_CALLS.counters(registry)?,
            durations: families::WORKER_DURATION.durations(registry)?,
            cpu: families::WORKER_CPU.short_durations(registry)?,
            cut: families::WORKER_CUT.counters(registry)?,
            states,
        })
    }

    pub(super) fn called(&self, service: &str, outcome: WorkerOutcome, took: Duration) {
        let calls = &self.calls;
        calls.with_label_values(&[service, outcome.label()]).inc();
        let durations = self.durations.with_label_values(&[service]);
        durations.observe(took.as_secs_f64());
    }

    pub(super) fn used(&self, service: &str, cpu: Duration, cut: u32) {
        let used = self.cpu.with_label_values(&[service]);
        used.observe(cpu.as_secs_f64());
        if cut > 0 {
            let count = self.cut.with_label_values(&[service]);
            count.inc_by(cut.into());
        }
    }

    /// Only the first call counts.
    pub(super) fn read(&self, read: WorkerStates) {
        self.states.read.get_or_init(|| read);
    }
}

/// What is read when it is scraped.
#[derive(Clone)]
struct States {
    read: Arc<OnceLock<WorkerStates>>,
    shapes: Arc<Shapes>,
}

struct Shapes {
    isolates: IntGaugeVec,
    outstanding: IntGaugeVec,
    restarts: IntCounterVec,
}

impl Shapes {
    fn new() -> prometheus::Result<Self> {
        let gauge =
            |family: families::Family| IntGaugeVec::new(family.opts(), &family.label_names());
        let restarts = families::WORKER_RESTARTS;
        Ok(Self {
            isolates: gauge(families::WORKER_ISOLATES)?,
            outstanding: gauge(families::WORKER_OUTSTANDING)?,
            restarts: IntCounterVec::new(restarts.opts(), &restarts.label_names())?,
        })
    }
}

impl Collector for States {
    fn desc(&self) -> Vec<&Desc> {
        let Shapes {
            isolates,
            outstanding,
            restarts,
        } = &*self.shapes;
        [isolates.desc(), outstanding.desc(), restarts.desc()].concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Made anew, so that a service that is gone leaves nothing behind.
        let Ok(fresh) = Shapes::new() else {
            return Vec::new();
        };
        for state in self.read.get().map(|read| read()).unwrap_or_default() {
            let service = [&*state.service];
            let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
            let isolates = fresh.isolates.with_label_values(&service);
            isolates.set(count(state.isolates));
            let outstanding = fresh.outstanding.with_label_values(&service);
            outstanding.set(count(state.outstanding as u64));
            let restarts = fresh.restarts.with_label_values(&service);
            restarts.inc_by(state.restarts);
        }
        let families = [
            fresh.isolates.collect(),
            fresh.outstanding.collect(),
            fresh.restarts.collect(),
        ];
        families.concat()
    }
}
