//! What is under way, and what it was allowed by: decided again whenever policies or tenants
//! change.
//!
//! Everything that lasts stands here from before it is decided until it has ended, so that no
//! change can pass between its decision and its being known. What is not allowed any more is told
//! to stop, with a reason for its record; what carries it and does not end soon is ended too.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::{HeaderMap, Method, Request};

use super::Agent;
use crate::model::flow::Flow;
use crate::model::host::Host;
use crate::model::reason::Reason;
use crate::model::stop::{Stop, Waits};
use crate::model::target::Scheme;
use crate::model::tenant::Tenant;
use crate::path::http::normalize::Asked;
use crate::path::policy::foresee::{Foreseen, foresee};
use crate::path::policy::{self, Destination, Facts, Permit, Readings, Verdict, decide};

/// Everything that is under way.
#[derive(Debug)]
pub struct Standings {
    shards: [Mutex<HashMap<u64, Arc<Standing>>>; SHARDS],
    next: AtomicU64,
}

/// One thing that is under way.
#[derive(Debug)]
pub struct Standing {
    /// Whose it is, as it was last decided.
    tenant: Mutex<Arc<Tenant>>,
    flow: Arc<Flow>,
    what: What,
    /// What was dialled for it, once that is known.
    peer: OnceLock<IpAddr>,
    /// A rule that changes what is asked for: that is decided as well.
    moved: OnceLock<Asked>,
    stop: Arc<Stop>,
    /// What it comes over.
    carrier: Option<Arc<Stop>>,
}

/// What was allowed.
#[derive(Debug)]
pub enum What {
    /// To be there at all.
    Connection,
    /// To have a connect held, and its upstream dialled.
    Connect,
    /// Bytes for this host.
    Tunnel {
        /// What is spoken.
        scheme: Scheme,
        /// With whom.
        host: Host,
        /// On which port.
        port: u16,
    },
    /// A request.
    Exchange {
        /// Its method.
        method: Method,
        /// What it asks for.
        asked: Asked,
        /// Its query.
        query: Option<Box<str>>,
        /// Its headers, as the workload sent them.
        headers: HeaderMap,
    },
}

impl What {
    /// What a permit for bytes allows.
    pub fn tunnel(permit: &Permit) -> Self {
        let Destination { scheme, host, port } = permit.destination().clone();
        Self::Tunnel { scheme, host, port }
    }

    /// A request as the workload sent it.
    pub fn exchange<B>(request: &Request<B>, asked: &Asked) -> Self {
        Self::Exchange {
            method: request.method().clone(),
            asked: asked.clone(),
            query: request.uri().query().map(Into::into),
            headers: request.headers().clone(),
        }
    }
}

/// Keeps something standing; dropped, it has ended.
#[must_use = "dropped, it is decided no more"]
pub struct Stands {
    agent: Arc<Agent>,
    number: u64,
    standing: Arc<Standing>,
    /// As whose it was decided by whoever began it.
    decided: Arc<Tenant>,
}

impl Default for Standings {
    fn default() -> Self {
        Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            next: AtomicU64::new(0),
        }
    }
}

impl Standings {
    /// Decides everything again that is under way under what tenants there are now. Gives how much
    /// of it was told to stop.
    pub fn reconsider(&self, agent: &Arc<Agent>) -> usize {
        let mut stopped = Vec::new();
        for shard in &self.shards {
            let standings: Vec<Arc<Standing>> = lock(shard).values().map(Arc::clone).collect();
            let judged = standings
                .into_iter()
                .filter(|standing| standing.judge(agent));
            stopped.extend(judged);
        }
        let count = stopped.len();
        let carriers = stopped.iter().filter_map(|standing| {
            let carrier = Arc::downgrade(standing.carrier.as_ref()?);
            Some((Arc::downgrade(standing), carrier, standing.stop.reason()?))
        });
        let carriers: Vec<_> = carriers.collect();
        if !carriers.is_empty() {
            // A body that its reader does not take is not asked whether it may go on.
            agent.tasks.spawn("carriers", async move {
                tokio::time::sleep(GRACE).await;
                for (standing, carrier, reason) in carriers {
                    if let (Some(_still), Some(carrier)) = (standing.upgrade(), carrier.upgrade()) {
                        carrier.stop(reason);
                    }
                }
            });
        }
        count
    }

    fn shard(&self, number: u64) -> &Mutex<HashMap<u64, Arc<Standing>>> {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a remainder of a small number"
        )]
        let at = (number % SHARDS as u64) as usize;
        &self.shards[at]
    }
}

impl Stands {
    /// From now on it is decided again with every change; `tenant` is whom it was or will be
    /// decided for. Where that tenant is not what it was any more, it is decided at once.
    pub fn new(
        agent: &Arc<Agent>,
        (tenant, flow): (&Arc<Tenant>, &Arc<Flow>),
        what: What,
        stop: Arc<Stop>,
        carrier: Option<Arc<Stop>>,
    ) -> Self {
        let standing = Arc::new(Standing {
            tenant: Mutex::new(Arc::clone(tenant)),
            flow: Arc::clone(flow),
            what,
            peer: OnceLock::new(),
            moved: OnceLock::new(),
            stop,
            carrier,
        });
        let standings = &agent.standings;
        let number = standings.next.fetch_add(1, Ordering::Relaxed);
        lock(standings.shard(number)).insert(number, Arc::clone(&standing));
        standing.judge(agent);
        Self {
            agent: Arc::clone(agent),
            number,
            standing,
            decided: Arc::clone(tenant),
        }
    }

    /// What was dialled for it.
    pub fn peer(&self, address: IpAddr) {
        // The first is what it stands on.
        if self.standing.peer.set(address).is_ok() {
            self.standing.judge_more(&self.decided, &self.agent);
        }
    }

    /// A rule has changed what is asked for.
    pub fn moved(&self, asked: Asked) {
        if self.standing.moved.set(asked).is_ok() {
            self.standing.judge_more(&self.decided, &self.agent);
        }
    }

    /// Says when it may not go on.
    pub fn stop(&self) -> &Arc<Stop> {
        &self.standing.stop
    }
}

impl Drop for Stands {
    fn drop(&mut self) {
        let shard = self.agent.standings.shard(self.number);
        lock(shard).remove(&self.number);
    }
}

impl Standing {
    /// Decides it again where its tenant has changed. Gives whether it was told to stop by that.
    fn judge(&self, agent: &Agent) -> bool {
        let tenants = agent.tenants.load();
        let mut judged = lock(&self.tenant);
        let Some(tenant) = tenants.of(self.flow.tenant_cgroup) else {
            return self.end(Reason::Unassigned, &judged);
        };
        if Arc::ptr_eq(tenant, &judged) {
            return false;
        }
        if tenant.id != judged.id {
            return self.end(Reason::Unassigned, &judged);
        }
        *judged = Arc::clone(tenant);
        !self.is_allowed(tenant, agent) && self.end(Reason::PolicyChanged, tenant)
    }

    /// Decides it again with what is known by now, where it was decided again before that was.
    fn judge_more(&self, decided: &Arc<Tenant>, agent: &Agent) {
        let judged = lock(&self.tenant);
        if !Arc::ptr_eq(&judged, decided) && !self.is_allowed(&judged, agent) {
            self.end(Reason::PolicyChanged, &judged);
        }
    }

    fn end(&self, reason: Reason, tenant: &Tenant) -> bool {
        let is_news = self.stop.stop(reason);
        if is_news {
            tracing::info!(
                tenant = %tenant.id,
                reason = reason.label(),
                original_dst = %self.flow.original_dst,
                "ended what is not allowed any more"
            );
        }
        is_news
    }

    fn is_allowed(&self, tenant: &Tenant, agent: &Agent) -> bool {
        let asked = self.flow.original_dst;
        match &self.what {
            What::Connection => true,
            What::Connect => match foresee(tenant, &self.flow.executable, asked) {
                Foreseen::Allow(_) | Foreseen::Open => true,
                Foreseen::Deny(_) => false,
            },
            What::Tunnel { scheme, host, port } => {
                let permits = |host: &Host| {
                    let facts = self.facts(tenant, *scheme, (host, *port), None);
                    is_allowed(&facts, self.peer.get())
                };
                let by_other_names = || {
                    let names = agent.names.of(&tenant.id).names_of(asked.ip());
                    names.iter().any(permits) || permits(&Host::from(asked.ip()))
                };
                permits(host) || (*scheme == Scheme::Tcp && by_other_names())
            }
            What::Exchange {
                method,
                asked,
                query,
                headers,
            } => {
                let permits = |asked: &Asked, peer| {
                    let path = Readings::of(&asked.path);
                    let request = policy::Request {
                        method,
                        path: &path,
                        query: query.as_deref(),
                        headers,
                    };
                    let request = Some(request);
                    let facts =
                        self.facts(tenant, asked.scheme, (&asked.host, asked.port), request);
                    is_allowed(&facts, peer)
                };
                match self.moved.get() {
                    None => permits(asked, self.peer.get()),
                    Some(moved) => permits(asked, None) && permits(moved, self.peer.get()),
                }
            }
        }
    }

    fn facts<'a>(
        &'a self,
        tenant: &'a Tenant,
        scheme: Scheme,
        (host, port): (&'a Host, u16),
        request: Option<policy::Request<'a>>,
    ) -> Facts<'a> {
        Facts {
            tenant: Some(tenant),
            executable: &self.flow.executable,
            scheme,
            host,
            port,
            request,
            is_foreseen: false,
        }
    }
}

/// Whether it may happen, at the address that was dialled for it.
fn is_allowed(facts: &Facts<'_>, peer: Option<&IpAddr>) -> bool {
    let Some(tenant) = facts.tenant else {
        return false;
    };
    match decide(&tenant.policy, facts) {
        Verdict::Deny(_denial) => false,
        Verdict::Allow(mut permit) => peer.is_none_or(|peer| permit.check_address(*peer).is_ok()),
    }
}

/// `carried`, ended some time after it was told to stop.
pub(super) async fn until<T>(
    stop: &Stop,
    carried: impl Future<Output = T>,
    ended: impl FnOnce(Reason) -> T,
) -> T {
    let told = async {
        let reason = stop.wait(Waits::Carrier).await;
        tokio::time::sleep(GRACE).await;
        reason
    };
    tokio::select! {
        biased; // What ends by itself has its own ending.
        carried = carried => carried,
        reason = told => ended(reason),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const SHARDS: usize = 32;
/// How long what was told to stop may take to end by itself.
const GRACE: Duration = Duration::from_secs(1);
