//! Keeps tenants and their network namespaces true while the agent runs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::error;

use crate::connection::Agent;
use crate::drain::Tasks;
use crate::model::tenant::CgroupId;
use crate::namespaces::{Home, Namespaces, Trust};
use crate::tenants::events::{Events, Happened};
use crate::tenants::{Assignments, Homes, Nurseries, Shared, runs};

/// A process of a tenant for which the kernel found no listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Sighting {
    pub(super) pid: u32,
    pub(super) cgroup: CgroupId,
}

/// What keeps the agent's picture of the host true.
pub(super) struct Upkeep {
    agent: Arc<Agent>,
    assignments: Shared,
    namespaces: Arc<Namespaces>,
    events: Events,
    homes: watch::Receiver<Arc<Homes>>,
    nurseries: watch::Receiver<Arc<Nurseries>>,
    sightings: mpsc::Receiver<Sighting>,
    /// Cgroups that have just got their first process, which may still be on its way to the
    /// namespace that it will live in.
    settling: HashMap<CgroupId, Instant>,
    /// Cgroups yet to be looked at in this round.
    round: VecDeque<CgroupId>,
}

impl Upkeep {
    pub(super) fn new(
        agent: Arc<Agent>,
        assignments: Shared,
        namespaces: Arc<Namespaces>,
        sightings: mpsc::Receiver<Sighting>,
    ) -> std::io::Result<Self> {
        let (homes, nurseries) =
            assignments.with(|assignments| (assignments.homes(), assignments.nurseries()));
        Ok(Self {
            agent,
            assignments,
            namespaces,
            events: Events::new()?,
            homes,
            nurseries,
            sightings,
            settling: HashMap::new(),
            round: VecDeque::new(),
        })
    }

    /// Works until the drain.
    pub(super) async fn run(mut self, tasks: Tasks) {
        let mut reconcile = interval(RECONCILE);
        reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut settle = interval(SETTLE);
        settle.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut seen = Vec::new();
        self.follow();
        loop {
            tokio::select! {
                // Ends first; what comes at its time next; what a tenant may cause without end last.
                biased;
                () = tasks.draining() => return,
                _ = reconcile.tick() => self.reconcile().await,
                _ = settle.tick(), if !self.settling.is_empty() => self.look_again().await,
                Ok(()) = self.homes.changed() => {
                    self.agent.standings.reconsider(&self.agent);
                    self.follow();
                }
                Ok(()) = self.nurseries.changed() => {
                    self.follow();
                    // What has appeared before they were heard.
                    self.apply().await;
                }
                happened = self.events.next() => match happened {
                    Ok(happened) => self.heard(happened).await,
                    Err(error) => {
                        error!(%error, "cannot hear of cgroups, looking at them instead");
                        tokio::time::sleep(RECONCILE).await;
                    }
                },
                _count = self.sightings.recv_many(&mut seen, SIGHTINGS) => {
                    let seen: HashSet<Sighting> = seen.drain(..).collect();
                    self.look_at_processes(seen).await;
                }
            }
        }
    }

    fn follow(&mut self) {
        let homes = Arc::clone(&self.homes.borrow_and_update());
        let nurseries = Arc::clone(&self.nurseries.borrow_and_update());
        if let Err(error) = self.events.follow(&homes, &nurseries) {
            error!(%error, "cannot hear of every cgroup; fs.inotify.max_user_watches may be too low");
        }
    }

    async fn heard(&mut self, happened: Happened) {
        if happened.come_or_gone {
            self.apply().await;
        }
        let now = Instant::now();
        let cgroups = happened.filled_or_emptied;
        self.settling
            .extend(cgroups.iter().map(|cgroup| (*cgroup, now)));
        self.look_at(cgroups.into_iter().collect()).await;
    }

    async fn look_again(&mut self) {
        self.settling.retain(|_, since| since.elapsed() < SETTLED);
        self.look_at(self.settling.keys().copied().collect()).await;
    }

    /// The belt: whatever was not heard of. A round takes a second, or as many as it needs to
    /// cost little.
    async fn reconcile(&mut self) {
        if self.round.is_empty() {
            self.apply().await;
            self.round.extend(self.homes.borrow().keys());
        }
        self.sweep().await;
        let part = self.round.len().min(PER_RECONCILE);
        let cgroups = self.round.drain(..part).collect();
        self.look_at(cgroups).await;
    }

    async fn apply(&self) {
        let applied = self.assigned(|assignments| assignments.apply().map(drop));
        if let Some(Err(error)) = applied.await {
            let error = &error as &dyn std::error::Error;
            error!(error, "cannot keep the tenants' cgroups true");
        }
    }

    /// Forgets flows that nobody came for.
    async fn sweep(&self) {
        let swept = self.assigned(|assignments| assignments.redirect().sweep(FLOW_LIFETIME));
        if let Some(Err(error)) = swept.await {
            let error = &error as &dyn std::error::Error;
            error!(error, "cannot sweep flows");
        }
    }

    /// Asks or changes the assignments, on a thread that may block.
    async fn assigned<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Assignments) -> T + Send + 'static,
    ) -> Option<T> {
        let assignments = self.assignments.clone();
        blocking(move || assignments.with(act)).await
    }

    /// Serves what namespaces there are in these cgroups, and leaves those that are empty.
    async fn look_at(&self, cgroups: Vec<CgroupId>) {
        let homes = Arc::clone(&self.homes.borrow());
        let namespaces = Arc::clone(&self.namespaces);
        blocking(move || {
            for cgroup in cgroups {
                if let Some(directory) = homes.get(&cgroup) {
                    runs::clear(directory);
                    namespaces.look_at_cgroup(Home { cgroup, directory }, Trust::Owner);
                }
            }
            namespaces.leave_empty(&homes);
        })
        .await;
    }

    async fn look_at_processes(&self, seen: HashSet<Sighting>) {
        let homes = Arc::clone(&self.homes.borrow());
        let namespaces = Arc::clone(&self.namespaces);
        blocking(move || {
            for Sighting { pid, cgroup } in seen {
                if let Some(directory) = homes.get(&cgroup) {
                    namespaces.look_at_process(pid, Home { cgroup, directory });
                }
            }
        })
        .await;
    }
}

/// Serves every namespace that tenants live in already.
pub(super) fn look_at_all(namespaces: &Namespaces, homes: &Homes) {
    for (cgroup, directory) in homes {
        let (cgroup, directory): (_, &Path) = (*cgroup, directory);
        namespaces.look_at_cgroup(Home { cgroup, directory }, Trust::Owner);
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked
        .inspect_err(|error| error!(%error, "upkeep panicked"))
        .ok()
}

const RECONCILE: Duration = Duration::from_secs(1);
const SETTLE: Duration = Duration::from_millis(20);
/// After this long a process is where it will be; where not, a refused connect tells.
const SETTLED: Duration = Duration::from_secs(1);
/// How many cgroups are looked at per second without a reason.
const PER_RECONCILE: usize = 512;
const SIGHTINGS: usize = 64;
/// Longer than any handshake with the agent's own listener takes.
const FLOW_LIFETIME: Duration = Duration::from_secs(30);
