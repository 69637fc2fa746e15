//! What the requests of one connection share.

use std::sync::{Arc, OnceLock};

use super::Agent;
use super::standing::{Stands, What};
use crate::model::addr::Downstream;
use crate::model::flow::Flow;
use crate::model::host::Host;
use crate::model::policy::Addressing;
use crate::model::reason::Reason;
use crate::model::stop::Stop;
use crate::model::target::Scheme;
use crate::model::tenant::Tenant;
use crate::observe::labels::Protocol;
use crate::observe::record::{ConnectionRecord, Exchanges};
use crate::path::limits::Account;
use crate::path::policy::Permit;
use crate::path::upstream::Aim;

/// A connection that carries requests: what each of them is judged by.
pub struct Session {
    /// The agent.
    pub agent: Arc<Agent>,
    /// Tenant and flow.
    pub who: Who,
    /// `https` where the workload's TLS ended at the agent.
    pub scheme: Scheme,
    /// The host that the workload's TLS was for, or the first request: every one names it.
    pub name: Arc<OnceLock<Host>>,
    /// What the tenant has taken of what it may.
    pub account: Arc<Account>,
    /// Opens the requests' records.
    pub exchanges: Exchanges,
}

/// Tenant and flow of a connection.
#[derive(Clone)]
pub struct Who {
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// The workload's end.
    pub downstream: Downstream,
    /// What the kernel remembers of it.
    pub flow: Arc<Flow>,
    /// The host that the workload asked for by `CONNECT`, taking the agent for its proxy.
    pub proxied: Option<Host>,
    /// Says when all that comes over it is to end.
    pub carrier: Arc<Stop>,
}

impl Session {
    /// What the requests have in common that a worker makes while it decides about a tunnel.
    pub(crate) fn of_tunnel(agent: &Arc<Agent>, who: &Who, record: &ConnectionRecord) -> Arc<Self> {
        Arc::new(Self {
            agent: Arc::clone(agent),
            account: agent.accounts.of(&who.tenant.id),
            who: who.clone(),
            scheme: Scheme::Tcp,
            name: Arc::default(),
            exchanges: record.exchanges(),
        })
    }
}

impl Who {
    /// From now on `what` is decided again with every change, until this is dropped.
    pub fn stands(&self, agent: &Arc<Agent>, what: What, stop: Arc<Stop>) -> Stands {
        let is_carrier = matches!(what, What::Connection);
        let carrier = (!is_carrier).then(|| Arc::clone(&self.carrier));
        Stands::new(agent, (&self.tenant, &self.flow), what, stop, carrier)
    }

    /// The same, of what its tenant is now; none where its cgroup is no more that tenant's.
    pub fn now(&self, agent: &Agent) -> Option<Now> {
        let tenants = agent.tenants.load();
        let tenant = tenants.of(self.flow.tenant_cgroup)?;
        if Arc::ptr_eq(tenant, &self.tenant) {
            return Some(Now::Same);
        }
        (tenant.id == self.tenant.id).then(|| {
            Now::Changed(Self {
                tenant: Arc::clone(tenant),
                downstream: self.downstream,
                flow: Arc::clone(&self.flow),
                proxied: self.proxied.clone(),
                carrier: Arc::clone(&self.carrier),
            })
        })
    }

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

/// What became of a tenant since its connection was taken.
pub enum Now {
    /// Nothing.
    Same,
    /// It has another policy, other credentials or limits.
    Changed(Who),
}

impl Session {
    /// The session under what its tenant is now: a request has the policy and the parameters that
    /// its tenant has when it is made, not when it connected. Where its cgroup is no more that tenant's it
    /// stays as it is, for the record of what is refused.
    pub fn now(self: Arc<Self>) -> (Arc<Self>, Result<(), Reason>) {
        let who = match self.who.now(&self.agent) {
            Some(Now::Same) => return (self, Ok(())),
            Some(Now::Changed(who)) => who,
            None => return (self, Err(Reason::Unassigned)),
        };
        let session = Self {
            agent: Arc::clone(&self.agent),
            who,
            scheme: self.scheme,
            name: Arc::clone(&self.name),
            account: Arc::clone(&self.account),
            exchanges: self.exchanges.clone(),
        };
        (Arc::new(session), Ok(()))
    }
}

/// What the requests of a connection share.
pub(super) fn session(
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
    let name = server_name.or_else(|| who.proxied.clone());
    Arc::new(Session {
        agent: Arc::clone(agent),
        account: agent.accounts.of(&who.tenant.id),
        who,
        scheme,
        name: Arc::new(name.map(OnceLock::from).unwrap_or_default()),
        exchanges: record.exchanges(),
    })
}
