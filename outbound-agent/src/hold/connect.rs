//! The connects of one network namespace: who waits, for whom, and what they are told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{interval, timeout};

use super::queue::{Queue, Release, Syn};
use super::{Common, Refusal};
use crate::connection::standing::{Stands, What};
use crate::connection::watched;
use crate::model::addr::{Downstream, UpstreamAddr};
use crate::model::flow::{ConnectId, Flow};
use crate::model::host::Host;
use crate::model::reason::Ending;
use crate::model::stop::Waits;
use crate::model::tenant::Tenant;
use crate::observe::labels::Held;
use crate::path::policy::foresee::{Foreseen, foresee, foresee_as, names};
use crate::path::policy::{Denial, Permit};
use crate::path::upstream::dial::Failed;

/// One namespace's queue, and who waits in it.
pub(super) struct Namespace {
    common: Arc<Common>,
    netns: u64,
    queue: Queue,
    waiting: Mutex<HashMap<Ends, Waiting>>,
}

/// The workload's address and the agent's: what the packets of one connect share.
type Ends = (SocketAddr, SocketAddr);

/// A connect that is being dialled, or whose upstream was silent.
struct Waiting {
    connect: ConnectId,
    packet: u32,
    since: Instant,
    /// Where the upstream was silent: one of its tenant's places.
    silent: Option<OwnedSemaphorePermit>,
}

/// A connect of a workload that wants its outcome.
struct Connect {
    syn: Syn,
    flow: Arc<Flow>,
    tenant: Arc<Tenant>,
}

/// What a connect comes to.
enum Answer {
    /// It goes on, for this reason.
    GoesOn(Held),
    /// Policy denies it.
    Denied(Denial),
    /// The upstream has not taken it.
    Failed(Failed, UpstreamAddr, Permit),
}

impl Namespace {
    pub(super) fn new(common: Arc<Common>, netns: u64, queue: Queue) -> Arc<Self> {
        Arc::new(Self {
            common,
            netns,
            queue,
            waiting: Mutex::default(),
        })
    }

    /// Takes what the kernel holds, until told to stop or the agent drains.
    pub(super) async fn serve(self: Arc<Self>, mut stopped: oneshot::Receiver<()>) {
        let draining = self.common.agent.tasks.draining();
        tokio::pin!(draining);
        let mut tick = interval(TICK);
        let mut buffer = Vec::new();
        loop {
            let held = tokio::select! {
                biased; // Ends first; forgets also under load.
                () = &mut draining => return,
                _dropped = &mut stopped => return,
                _now = tick.tick() => {
                    self.forget();
                    continue;
                }
                held = self.queue.next(&mut buffer) => held,
            };
            match held {
                Ok(held) => held.into_iter().for_each(|syn| self.take(syn)),
                Err(error) => {
                    tracing::error!(%error, "cannot read held connects; they will time out");
                    return;
                }
            }
        }
    }

    /// Judges one packet; asks the network elsewhere, where that is what is left to do.
    fn take(self: &Arc<Self>, syn: Syn) {
        let (common, source) = (&self.common, Downstream(syn.source));
        let flow = common.flows.connecting(self.netns, source, syn.agent);
        if self.is_waiting(syn, flow.as_ref()) {
            return self.release(syn, Release::Drop);
        }
        let tenants = common.agent.tenants.load();
        let known = flow.and_then(|flow| {
            let tenant = tenants.of(flow.tenant_cgroup)?;
            tenant
                .policy
                .true_errors
                .then(|| (Arc::new(flow), Arc::clone(tenant)))
        });
        // The listener knows what to say to strangers, and others did not ask for this.
        let Some((flow, tenant)) = known else {
            return self.release(syn, Release::Accept);
        };
        let connect = Connect { syn, flow, tenant };
        let asked = connect.flow.original_dst;
        match foresee(&connect.tenant, &connect.flow.executable, asked) {
            // Nothing leaves that cannot be logged.
            _ if !common.agent.records.writable() => {
                self.answer(&connect, Answer::GoesOn(Held::Open));
            }
            Foreseen::Deny(denial) => self.answer(&connect, Answer::Denied(denial)),
            Foreseen::Allow(permit) => self.ask(connect, Some(permit)),
            Foreseen::Open => self.ask(connect, None),
        }
    }

    /// Whether a packet of this connect is held already, or needs no answer any more. An older
    /// connect between the same ends was given up: its packet is dropped.
    fn is_waiting(&self, syn: Syn, flow: Option<&Flow>) -> bool {
        let mut waiting = self.waiting();
        let Some(other) = waiting.get(&syn.ends()) else {
            return false;
        };
        // The kernel forgets the flow of a connect that takes too long.
        if flow.is_none_or(|flow| flow.connect == other.connect) {
            return true;
        }
        if let Some(other) = waiting.remove(&syn.ends())
            && other.silent.is_none()
        {
            let packet = other.packet;
            self.release(Syn { packet, ..syn }, Release::Drop);
        }
        false
    }

    /// Dials in a task of its own, and answers.
    fn ask(self: &Arc<Self>, connect: Connect, permit: Option<Permit>) {
        let Some(place) = self.common.place(&connect.tenant.id) else {
            return self.answer(&connect, Answer::GoesOn(Held::OverLimit));
        };
        let waiting = Waiting {
            connect: connect.flow.connect,
            packet: connect.syn.packet,
            since: Instant::now(),
            silent: None,
        };
        self.waiting().insert(connect.syn.ends(), waiting);
        let namespace = Arc::clone(self);
        let tasks = &self.common.agent.tasks;
        let draining = tasks.draining();
        tasks.spawn("held connect", async move {
            let agent = &namespace.common.agent;
            let whose = (&connect.tenant, &connect.flow);
            let stands = Stands::new(agent, whose, What::Connect, Arc::default(), None);
            tokio::select! {
                biased; // Who is held when the agent ends finds a closed port.
                () = draining => {}
                reason = stands.stop().wait(Waits::Whole) => {
                    if namespace.is_still_wanted(&connect, None) {
                        namespace.answer(&connect, Answer::Denied(reason.into()));
                    }
                }
                () = namespace.dial_and_answer(&connect, permit, place) => {}
            }
        });
    }

    async fn dial_and_answer(
        &self,
        connect: &Connect,
        permit: Option<Permit>,
        place: OwnedSemaphorePermit,
    ) {
        let upstream = &self.common.agent.upstream;
        let permitted = match permit {
            Some(mut permit) => {
                let checked = permit.check_address(connect.flow.original_dst.ip());
                checked.map(|peer| Some((permit, peer)))
            }
            None => Ok(self.permit_by_name(connect).await),
        };
        let mut place = Some(place);
        let answer = match permitted {
            Err(denial) => Answer::Denied(denial),
            Ok(None) => Answer::GoesOn(Held::Open),
            Ok(Some((permit, peer))) => match upstream.dial(peer).await {
                Ok(stream) => {
                    if let Some(place) = place.take() {
                        upstream.keep(connect.flow.connect, stream, peer, place);
                    }
                    Answer::GoesOn(Held::Connected)
                }
                Err(failed) => Answer::Failed(failed, peer, permit),
            },
        };
        let is_silent = matches!(answer, Answer::Failed(Failed::TimedOut, ..));
        if self.is_still_wanted(connect, place.filter(|_| is_silent)) {
            self.answer(connect, answer);
        }
    }

    /// A permit for the address by a name that is known to have it: the tenant was told so by
    /// the agent, or the agent finds it to be so.
    async fn permit_by_name(&self, connect: &Connect) -> Option<(Permit, UpstreamAddr)> {
        let asked = connect.flow.original_dst;
        let policy = &connect.tenant.policy;
        let permit = |name: &Host| {
            let executable = &connect.flow.executable;
            let mut permit = foresee_as(&connect.tenant, executable, name, asked)?;
            let peer = permit.check_address(asked.ip()).ok()?;
            Some((permit, peer))
        };
        let agent = &self.common.agent;
        let told = agent.names.of(&connect.tenant.id).names_of(asked.ip());
        if let Some(found) = told.iter().find_map(permit) {
            return Some(found);
        }
        let search = async {
            for name in names(policy, asked.port()) {
                if agent.upstream.addresses(name).await.contains(&asked.ip())
                    && let Some(found) = permit(name)
                {
                    return Some(found);
                }
            }
            None
        };
        let found = timeout(self.common.limits.resolve, search).await;
        found.ok().flatten()
    }

    /// Takes a connect from the list, unless its workload has given it up for another; where its
    /// upstream was `silent`, it stays and is answered no more.
    fn is_still_wanted(&self, connect: &Connect, silent: Option<OwnedSemaphorePermit>) -> bool {
        let mut waiting = self.waiting();
        let ends = connect.syn.ends();
        let Some(entry) = waiting.get_mut(&ends) else {
            return false;
        };
        if entry.connect != connect.flow.connect {
            return false;
        }
        if silent.is_some() {
            entry.silent = silent;
        } else {
            waiting.remove(&ends);
        }
        true
    }

    /// Lets a connect go, and writes down how it failed; one that goes on has a record later.
    fn answer(&self, connect: &Connect, answer: Answer) {
        let (held, release) = match &answer {
            Answer::GoesOn(held) => (*held, Release::Accept),
            Answer::Denied(_) => (Held::Denied, Release::Refuse(Refusal::Reset)),
            Answer::Failed(failed, ..) => told(*failed),
        };
        self.common.agent.records.released(&connect.tenant.id, held);
        if release != Release::Accept {
            self.record(connect, answer);
        }
        self.release(connect.syn, release);
    }

    fn record(&self, connect: &Connect, answer: Answer) {
        let records = &self.common.agent.records;
        let mut record = records.open(Downstream(connect.syn.source));
        record.identified(&connect.tenant, &connect.flow);
        match answer {
            Answer::GoesOn(_) => {}
            Answer::Denied(denial) => {
                if let Some(rule) = &denial.rule {
                    record.denied_by(rule);
                }
                record.close(Ending::of(denial.reason));
            }
            Answer::Failed(failed, peer, permit) => {
                record.allowed(permit.rule(), watched(permit.would_deny()));
                record.upstream(peer);
                record.close(Ending::of(failed.reason()));
            }
        }
    }

    fn release(&self, syn: Syn, release: Release) {
        if let Err(error) = self.queue.release(syn.packet, release) {
            tracing::debug!(%error, "cannot release a held connect");
        }
    }

    /// Forgets whom no upstream has answered, once the workload's kernel has given up as well.
    fn forget(&self) {
        self.waiting()
            .retain(|_ends, one| one.silent.is_none() || one.since.elapsed() < SILENT);
        self.common.forget();
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<Ends, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a workload learns that its upstream has not taken it.
const fn told(failed: Failed) -> (Held, Release) {
    match failed {
        Failed::Refused | Failed::Reset => (Held::Refused, Release::Refuse(Refusal::Reset)),
        Failed::HostUnreachable => (
            Held::HostUnreachable,
            Release::Refuse(Refusal::HostUnreachable),
        ),
        Failed::NetUnreachable => (
            Held::NetUnreachable,
            Release::Refuse(Refusal::NetUnreachable),
        ),
        // As it would be without the agent: silence, until the workload has had enough.
        Failed::TimedOut => (Held::TimedOut, Release::Drop),
        // The agent's own trouble is no answer of the network's.
        Failed::NotAsked => (Held::Open, Release::Accept),
    }
}

const TICK: Duration = Duration::from_secs(1);
/// Longer than `connect` waits with the kernel's own six retries (tcp(7), `tcp_syn_retries`).
const SILENT: Duration = Duration::from_secs(150);
