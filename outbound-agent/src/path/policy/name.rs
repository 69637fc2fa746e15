//! May this tenant know what a name stands for?
//!
//! A name may be looked up where some destination under it may be reached, whatever scheme and
//! port; an address that it turns out to have is shown where it could be dialled under some
//! rule. What is dialled in the end is judged again, by [`super::decide`].

use std::net::IpAddr;
use std::sync::Arc;

use super::special::{self, Guard};
use super::{Denial, matcher};
use crate::model::host::Host;
use crate::model::policy::{Fallback, Mode, Policy};
use crate::model::reason::Reason;
use crate::model::target::{Ports, Rule, Scheme};

/// Proof that a tenant may look one name up, or one address.
#[derive(Debug)]
pub struct NamePermit {
    policy: Arc<Policy>,
    host: Host,
    rule: Option<Arc<str>>,
    would_deny: Option<Denial>,
}

impl NamePermit {
    /// What may be looked up: a name, or an address whose names are asked for.
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The rule that allowed it; none where the default did.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// What an enforcing policy would have answered, where this one only watches.
    pub const fn would_deny(&self) -> Option<&Denial> {
        self.would_deny.as_ref()
    }

    /// Judges an address that the name turned out to have: shown only where it could be dialled.
    pub fn check_address(&mut self, ip: IpAddr) -> Result<(), Denial> {
        let judged = match self.policy.mode {
            Mode::Off => Ok(()),
            Mode::Enforce | Mode::Audit => judge_address(&self.policy, &self.host, ip),
        };
        match (judged, self.policy.mode) {
            (Err(denial), Mode::Enforce) => return Err(denial),
            (Err(denial), Mode::Audit | Mode::Off) => _ = self.would_deny.get_or_insert(denial),
            (Ok(()), Mode::Enforce | Mode::Audit | Mode::Off) => {}
        }
        Ok(())
    }
}

/// Whether a host may be looked up under `policy`.
pub fn decide_name(policy: &Arc<Policy>, host: &Host) -> Result<NamePermit, Denial> {
    let judged = match policy.mode {
        Mode::Off => Ok(None),
        Mode::Enforce | Mode::Audit => judge(policy, host),
    };
    let (rule, would_deny) = match (judged, policy.mode) {
        (Ok(rule), _) => (rule.map(|rule| Arc::clone(&rule.label)), None),
        (Err(denial), Mode::Enforce) => return Err(denial),
        (Err(denial), Mode::Audit | Mode::Off) => (None, Some(denial)),
    };
    Ok(NamePermit {
        policy: Arc::clone(policy),
        host: host.clone(),
        rule,
        would_deny,
    })
}

/// As for a request: deny first, then what needs a rule of its own, then allow, then the default.
fn judge<'a>(policy: &'a Policy, host: &Host) -> Result<Option<&'a Rule>, Denial> {
    let allows: Vec<&Rule> = matcher::covering(&policy.allow, host).collect();
    let is_reachable = |scheme: &Scheme| {
        policy.default == Fallback::Allow
            || allows.is_empty()
            || allows.iter().any(|rule| rule.schemes.contains(scheme))
    };
    let reachable = Scheme::ALL.into_iter().filter(is_reachable);
    if let Some(rule) = closing(reachable, || matcher::covering(&policy.deny, host)) {
        return Err(Denial::by(rule));
    }
    if let Host::Address(address) = host {
        judge_address(policy, host, *address)?;
    }
    if special::is_metadata_name(host) && !is_named(policy, host) {
        return Err(Denial::without_rule(Reason::MetadataAddress));
    }
    match (allows.first(), policy.default) {
        (Some(rule), _) => Ok(Some(rule)),
        (None, Fallback::Allow) => Ok(None),
        (None, Fallback::Deny) => Err(Denial::without_rule(Reason::NoRule)),
    }
}

/// An address in each of its forms, as when it is dialled.
fn judge_address(policy: &Policy, host: &Host, address: IpAddr) -> Result<(), Denial> {
    let forms = special::forms(address);
    let closed = forms.clone().find_map(|form| {
        let form = Host::from(form);
        let named = || matcher::naming(&policy.deny, &form);
        closing(Scheme::ALL.into_iter(), named)
    });
    if let Some(rule) = closed {
        return Err(Denial::by(rule));
    }
    let literal = Host::from(address);
    let is_covered = |host: &Host| matcher::naming(&policy.allow, host).next().is_some();
    for form in forms {
        let guard = special::guard(form);
        let form = Host::from(form);
        match guard {
            Guard::Ordinary => {}
            Guard::Private => {
                if !is_covered(&form) && !is_covered(&literal) {
                    return Err(Denial::without_rule(Reason::PrivateAddress));
                }
            }
            Guard::Metadata => {
                let by_service_name = special::is_metadata_name(host) && is_named(policy, host);
                if !by_service_name && !is_named(policy, &form) && !is_named(policy, &literal) {
                    return Err(Denial::without_rule(Reason::MetadataAddress));
                }
            }
        }
    }
    Ok(())
}

/// Whether an allow names this very host.
fn is_named(policy: &Policy, host: &Host) -> bool {
    let exact = policy.allow.exact.get(host);
    exact.is_some_and(|rules| !rules.is_empty())
}

/// The rule of a deny list that leaves no port open, where all of `schemes` have one.
fn closing<'r, R>(schemes: impl Iterator<Item = Scheme>, rules: impl Fn() -> R) -> Option<&'r Rule>
where
    R: Iterator<Item = &'r Rule>,
{
    let mut first = None;
    for scheme in schemes {
        let mut rules = rules();
        let closes = |rule: &&Rule| rule.ports == Ports::Every && rule.schemes.contains(&scheme);
        let rule = rules.find(closes)?;
        first.get_or_insert(rule);
    }
    first
}
