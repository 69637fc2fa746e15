//! What an operator wrote about egress, as compiled values. Matching is `path::policy`'s.

use std::sync::Arc;

use super::target::Targets;

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
    /// Which address is dialled for a name.
    pub destination: Addressing,
    /// Whether a connect waits for its upstream, and fails as the upstream did.
    pub true_errors: bool,
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
