//! Story 0: one connect, from its first packet to its release.
//!
//! Without it, `connect` succeeds as soon as the agent's listener takes the handshake, and what
//! the upstream says comes too late. Where a policy has `true_errors`, the kernel holds the SYN
//! to the agent's port until the agent has dialled: it is let through once the upstream has
//! taken the connection, and refused as the upstream refused it.
//!
//! Only what is certain is answered here. A connect is dialled where policy allows its address,
//! or a name that the agent itself finds to have it; it is denied where nothing that it may say
//! later can make it allowed. All else goes on, to be answered by what it carries. Where the
//! agent is gone, the packet is dropped or meets a closed port.

mod connect;
mod netlink;
mod queue;
mod rules;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use self::connect::Namespace;
use self::queue::Queue;
use self::rules::Rules;
use crate::connection::Agent;
use crate::model::tenant::TenantId;
use crate::redirect::KernelFlows;
use crate::sys;

/// Holds connects, in every network namespace in which the agent listens.
pub struct Holds {
    common: Arc<Common>,
    port: u16,
    selected: Mutex<Selected>,
}

/// What all namespaces share.
struct Common {
    agent: Arc<Agent>,
    flows: Arc<KernelFlows>,
    limits: Limits,
    places: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// How many, and how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connects of one tenant that are held, or have an upstream that waits for them.
    pub per_tenant: usize,
    /// For the names that an address may belong to.
    pub resolve: Duration,
    /// An upstream connection that nobody comes for.
    pub kept: Duration,
}

/// Whose connects are held, and where.
#[derive(Debug, Default)]
struct Selected {
    slots: BTreeSet<u32>,
    rules: Vec<Weak<Mutex<Rules>>>,
}

/// Connects are held in one namespace for as long as this lives.
#[derive(Debug)]
#[must_use = "dropped, nothing is held"]
pub struct Holding {
    _rules: Arc<Mutex<Rules>>,
    _stop: oneshot::Sender<()>,
}

/// Why connects cannot be held.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The rules.
    #[error(
        "`true_errors` needs nf_tables with `reject`, and `queue` or the target NFQUEUE \
         (CONFIG_NF_TABLES_INET, CONFIG_NFT_REJECT_INET, and CONFIG_NFT_QUEUE or CONFIG_NFT_COMPAT \
         with CONFIG_NETFILTER_XT_TARGET_NFQUEUE)"
    )]
    Rules(#[source] io::Error),
    /// The queue.
    #[error("`true_errors` needs a netfilter queue (CONFIG_NETFILTER_NETLINK_QUEUE)")]
    Queue(#[source] io::Error),
}

/// How a held connect fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// `ECONNREFUSED`
    Reset = 1,
    /// `EHOSTUNREACH`
    HostUnreachable = 2,
    /// `ENETUNREACH`
    NetUnreachable = 3,
}

impl Refusal {
    const ALL: [Self; 3] = [Self::Reset, Self::HostUnreachable, Self::NetUnreachable];
}

impl Holds {
    /// Holds nothing yet.
    pub fn new(agent: Arc<Agent>, flows: Arc<KernelFlows>, port: u16, limits: Limits) -> Self {
        Self {
            common: Arc::new(Common {
                agent,
                flows,
                limits,
                places: Mutex::default(),
            }),
            port,
            selected: Mutex::default(),
        }
    }

    /// Holds connects in the network namespace of the calling thread. Must be called within a
    /// runtime.
    pub fn hold_here(&self) -> Result<Holding, Error> {
        let queue = Queue::open(self.port, HELD).map_err(Error::Queue)?;
        let netns = sys::netns_cookie(queue.as_fd()).map_err(Error::Queue)?;
        let mut rules = Rules::install(self.port).map_err(Error::Rules)?;
        let mut selected = self.selected();
        rules.select(&selected.slots).map_err(Error::Rules)?;
        let rules = Arc::new(Mutex::new(rules));
        selected.rules.retain(|rules| rules.strong_count() > 0);
        selected.rules.push(Arc::downgrade(&rules));
        let (stop, stopped) = oneshot::channel();
        let namespace = Namespace::new(Arc::clone(&self.common), netns, queue);
        self.common
            .agent
            .tasks
            .spawn("hold", namespace.serve(stopped));
        Ok(Holding {
            _rules: rules,
            _stop: stop,
        })
    }

    /// Holds the connects of the tenants with these slots, from now on, and of no others.
    pub fn select(&self, slots: BTreeSet<u32>) -> Result<(), Error> {
        let mut selected = self.selected();
        if selected.slots == slots {
            return Ok(());
        }
        for rules in selected.rules.iter().filter_map(Weak::upgrade) {
            let mut rules = rules.lock().unwrap_or_else(PoisonError::into_inner);
            rules.select(&slots).map_err(Error::Rules)?;
        }
        selected.slots = slots;
        Ok(())
    }

    fn selected(&self) -> MutexGuard<'_, Selected> {
        self.selected.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Common {
    /// One of the places that a tenant has; `None` where it has taken them all.
    fn place(&self, tenant: &TenantId) -> Option<OwnedSemaphorePermit> {
        let mut places = self.places();
        if !places.contains_key(tenant) {
            let all = Arc::new(Semaphore::new(self.limits.per_tenant));
            places.insert(tenant.clone(), all);
        }
        Arc::clone(places.get(tenant)?).try_acquire_owned().ok()
    }

    /// Forgets what nobody came for.
    fn forget(&self) {
        let all = self.limits.per_tenant;
        self.places()
            .retain(|_tenant, places| places.available_permits() < all);
        self.agent.upstream.forget_ahead(self.limits.kept);
    }

    fn places(&self) -> MutexGuard<'_, HashMap<TenantId, Arc<Semaphore>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this kernel can hold connects.
pub fn probe(port: u16) -> Result<(), Error> {
    drop(Queue::open(port, HELD).map_err(Error::Queue)?);
    drop(Rules::install(port).map_err(Error::Rules)?);
    Ok(())
}

/// Packets in a queue: those of tenants with as many as they may have, and some to be judged.
const HELD: u32 = 16_384;
