//! What is certain of a connect before its first byte, when its address is all that is known.

use super::{Denial, Facts, Permit, Verdict, decide, judge};
use crate::model::addr::OriginalDst;
use crate::model::host::Host;
use crate::model::policy::{Fallback, Policy};
use crate::model::reason::Reason;
use crate::model::target::Scheme;
use crate::model::targets::{Rule, Targets};
use crate::model::tenant::Tenant;

/// What policy says of an address and a port alone.
#[derive(Debug)]
pub enum Foreseen {
    /// The address may be connected to.
    Allow(Permit),
    /// Whatever the connection says of itself, it will be denied.
    Deny(Denial),
    /// That depends on the name that the connection will say it is for.
    Open,
}

/// Whether an address may be connected to, as far as can be told.
pub fn foresee(tenant: &Tenant, executable: &str, asked: OriginalDst) -> Foreseen {
    let policy = &tenant.policy;
    let host = Host::from(asked.ip());
    let mut denials = Vec::new();
    let mut is_open = false;
    for scheme in SCHEMES {
        let facts = facts(tenant, executable, scheme, &host, asked);
        is_open |= judge::is_open(policy, &facts);
        match decide(&tenant.policy, &facts) {
            Verdict::Allow(_later) if is_open => return Foreseen::Open,
            Verdict::Allow(permit) => return Foreseen::Allow(permit),
            Verdict::Deny(denial) => denials.push(denial),
        }
    }
    let is_by_address = denials.iter().all(|denial| denial.reason != Reason::NoRule);
    let is_by_port = policy.default == Fallback::Deny
        && !policy
            .allow
            .ports
            .iter()
            .any(|ports| ports.contain(asked.port()));
    match denials.into_iter().next() {
        Some(denial) if is_by_address || is_by_port => Foreseen::Deny(denial),
        _ => Foreseen::Open,
    }
}

/// The names that a connect to `port` may be for, where the policy has so few that all of them
/// can be looked up. One that turns out to have the address makes it one that may be connected
/// to: [`foresee_as`].
pub fn names(policy: &Policy, port: u16) -> impl Iterator<Item = &Host> {
    let few = Some(&policy.allow).filter(|allow| allow.count_names() <= MAX_NAMES);
    let is_for = move |rules: &[Rule]| rules.iter().any(|rule| rule.ports.contain(port));
    few.into_iter()
        .flat_map(Targets::names)
        .filter(move |(host, rules)| matches!(host, Host::Name(_)) && is_for(rules))
        .map(|(host, _rules)| host)
}

/// A permit for a connect to an address that is `name`'s.
pub fn foresee_as(
    tenant: &Tenant,
    executable: &str,
    name: &Host,
    asked: OriginalDst,
) -> Option<Permit> {
    SCHEMES.into_iter().find_map(|scheme| {
        let facts = facts(tenant, executable, scheme, name, asked);
        if judge::is_open(&tenant.policy, &facts) {
            return None;
        }
        match decide(&tenant.policy, &facts) {
            Verdict::Allow(permit) => Some(permit),
            Verdict::Deny(_denial) => None,
        }
    })
}

const fn facts<'a>(
    tenant: &'a Tenant,
    executable: &'a str,
    scheme: Scheme,
    host: &'a Host,
    asked: OriginalDst,
) -> Facts<'a> {
    Facts {
        tenant: Some(tenant),
        executable,
        scheme,
        host,
        port: asked.port(),
        request: None,
        is_foreseen: true,
    }
}

const SCHEMES: [Scheme; 3] = [Scheme::Tcp, Scheme::Https, Scheme::Http];
const MAX_NAMES: usize = 64;
