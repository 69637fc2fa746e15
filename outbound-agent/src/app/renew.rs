//! Another configuration for an agent that runs: made ready as a whole, then taken at once.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Error, resolver, verifier};
use crate::config::Config;
use crate::connection::Agent;
use crate::model::tenant::TenantId;
use crate::path::upstream::resolve::Resolver;
use crate::path::upstream::tls::Verifier;
use crate::path::worker::Prepared;

/// What another configuration needs, before anything has changed.
pub struct Next {
    resolver: Resolver,
    verifier: Verifier,
    workers: Prepared,
}

impl Next {
    /// Makes what may fail. Must be called within a runtime; blocks.
    pub fn prepare(agent: &Agent, config: &Config) -> Result<Self, Error> {
        for spec in &config.tenants {
            // Its workloads find what they have to trust before they can connect.
            agent.terminator.trust(Some(&spec.tenant.id))?;
        }
        Ok(Self {
            resolver: resolver(config)?,
            verifier: verifier(config)?,
            workers: agent.workers.prepare(&config.services)?,
        })
    }

    /// Puts it in place of what there was; `publish` says whose is what from now on. Gives how much
    /// was ended that is not allowed any more as well.
    pub fn take_over<T>(self, agent: &Arc<Agent>, publish: impl FnOnce() -> T) -> (T, usize) {
        if let Some(address) = self.workers.address() {
            let mut ports = agent.agent_ports.load().to_vec();
            if !ports.contains(&address.port()) {
                ports.push(address.port());
                agent.agent_ports.store(Arc::new(ports));
            }
        }
        agent.workers.run(self.workers);
        agent.upstream.renew(Box::new(self.resolver), self.verifier);
        let published = publish();
        let tenants = agent.tenants.load();
        let ids: HashSet<&TenantId> = tenants.iter().map(|(_cgroup, tenant)| &tenant.id).collect();
        agent.upstream.keep_only(|id| ids.contains(id));
        (published, agent.standings.reconsider(agent))
    }
}
