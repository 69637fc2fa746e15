//! What the requests of one connection share.

use std::sync::{Arc, OnceLock};

use super::Agent;
use crate::model::addr::Downstream;
use crate::model::flow::Flow;
use crate::model::host::Host;
use crate::model::policy::Addressing;
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
    pub name: OnceLock<Host>,
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
    pub flow: Flow,
    /// The host that the workload asked for by `CONNECT`, taking the agent for its proxy.
    pub proxied: Option<Host>,
}

impl Session {
    /// What the requests have in common that a worker makes while it decides about a tunnel.
    pub(crate) fn of_tunnel(agent: &Arc<Agent>, who: &Who, record: &ConnectionRecord) -> Arc<Self> {
        Arc::new(Self {
            agent: Arc::clone(agent),
            account: agent.accounts.of(&who.tenant.id),
            who: who.clone(),
            scheme: Scheme::Tcp,
            name: OnceLock::new(),
            exchanges: record.exchanges(),
        })
    }
}

impl Who {
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
        name: name.map(OnceLock::from).unwrap_or_default(),
        exchanges: record.exchanges(),
    })
}
