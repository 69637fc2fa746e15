//! What an operator wrote about egress, as compiled values. Matching is `path::policy`'s.

use std::sync::Arc;

use super::certificates::Roots;
use super::rule::Clause;
use super::targets::{Rule, Targets};

/// A tenant's compiled rules. Deny wins over allow. The default allows nothing.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Its name in the configuration.
    pub name: Arc<str>,
    /// Whether verdicts bind.
    pub mode: Mode,
    /// What holds where no rule matches.
    pub default: Fallback,
    /// What may be reached.
    pub allow: Targets,
    /// What may not, whatever `allow` says.
    pub deny: Targets,
    /// Whose TLS ends at the agent.
    pub tls: Tls,
    /// Whose TLS never does.
    pub passthrough: Targets,
    /// Who vouches for upstreams besides whom the host trusts.
    pub roots: Option<Roots>,
    /// Which address is dialled for a name.
    pub destination: Addressing,
    /// Whether a connect waits for its upstream, and fails as the upstream did.
    pub true_errors: bool,
    /// Rules with conditions that name addresses as their hosts: any of them may turn out to be
    /// for what is dialled.
    pub at_dial: Vec<Arc<Clause>>,
    /// Whether some rule asks for the address that its host turns out to have.
    pub asks_address: bool,
    /// The policy that this one cannot loosen.
    pub floor: Option<Arc<Self>>,
}

impl Policy {
    /// Finds what is judged at the dial; to be called once the lists are whole.
    #[must_use]
    pub fn ready(mut self) -> Self {
        let rules = self.allow.address_rules().chain(self.deny.address_rules());
        let by_address = rules.filter_map(|rule| rule.clause.as_ref());
        let mut at_dial: Vec<_> = by_address.map(Arc::clone).collect();
        at_dial.sort_by_key(|clause| clause.number);
        at_dial.dedup_by_key(|clause| clause.number);
        self.at_dial = at_dial;
        let asks = |rule: &Rule| {
            let clause = rule.clause.as_ref();
            clause.is_some_and(|clause| clause.conditions.ask_address())
        };
        self.asks_address = self.allow.rules().any(asks) || self.deny.rules().any(asks);
        self
    }
}

/// Which address is dialled for the name that a workload gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Addressing {
    /// One that the agent itself finds for the name, whatever the workload connected to.
    #[default]
    Resolve,
    /// The one that the workload connected to, if it is known to be the name's.
    Verify,
    /// The one that the workload connected to.
    Original,
}

/// Whose TLS ends at the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tls {
    /// That of hosts whose requests have to be seen.
    #[default]
    Auto,
    /// Everybody's.
    Terminate,
    /// Nobody's.
    Passthrough,
}

/// Whether a policy's verdicts bind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A denial is a denial.
    #[default]
    Enforce,
    /// A denial is let through and marked `would_deny`.
    Audit,
    /// Nothing is judged.
    Off,
}

/// What holds where no rule matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// Denied.
    #[default]
    Deny,
    /// Allowed, apart from addresses that a rule has to name.
    Allow,
}
