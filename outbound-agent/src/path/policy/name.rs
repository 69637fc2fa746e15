//! May this tenant know what a name stands for?
//!
//! A name may be looked up where some destination under it may be reached, whatever scheme and
//! port; an address that it turns out to have is shown where it could be dialled under some
//! rule. What is dialled in the end is judged again, by [`super::decide`].

use std::net::IpAddr;
use std::sync::Arc;

use super::condition::{self, Truth};
use super::matcher::{self, Best};
use super::special::{self, Guard};
use super::{Denial, Facts, judge};
use crate::model::host::Host;
use crate::model::policy::{Fallback, Mode, Policy};
use crate::model::reason::Reason;
use crate::model::rule::Action;
use crate::model::target::{Ports, Scheme};
use crate::model::targets::{Covering, Rule, Targets};
use crate::model::tenant::Tenant;

/// Proof that a tenant may look one name up, or one address.
#[derive(Debug)]
pub struct NamePermit {
    tenant: Arc<Tenant>,
    executable: Box<str>,
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
        let policy = &self.tenant.policy;
        let asker = Asker {
            tenant: &self.tenant,
            executable: &self.executable,
        };
        if let Some(floor) = policy.floor.as_deref().filter(|floor| is_on(floor)) {
            bind(floor, asker.judge_closed(floor, ip), &mut self.would_deny)?;
        }
        if is_on(policy) {
            let judged = asker
                .judge_closed(policy, ip)
                .and_then(|()| asker.judge_guarded(policy, &self.host, ip));
            bind(policy, judged, &mut self.would_deny)?;
        }
        Ok(())
    }
}

/// Whether a host may be looked up by a tenant's process.
pub fn decide_name(
    tenant: &Arc<Tenant>,
    executable: &str,
    host: &Host,
) -> Result<NamePermit, Denial> {
    let policy = &tenant.policy;
    let asker = Asker { tenant, executable };
    let (mut rule, mut would_deny) = (None, None);
    if let Some(floor) = policy.floor.as_deref().filter(|floor| is_on(floor)) {
        let judged = asker.judge(floor, host, Guards::Off).map(drop);
        bind(floor, judged, &mut would_deny)?;
    }
    if is_on(policy) {
        let judged = asker.judge(policy, host, Guards::On);
        let judged = judged.map(|covering| {
            rule = covering.map(|covering| Arc::clone(&covering.rule.label));
        });
        bind(policy, judged, &mut would_deny)?;
    }
    Ok(NamePermit {
        tenant: Arc::clone(tenant),
        executable: executable.into(),
        host: host.clone(),
        rule,
        would_deny,
    })
}

fn is_on(policy: &Policy) -> bool {
    policy.mode != Mode::Off
}

fn bind(
    policy: &Policy,
    judged: Result<(), Denial>,
    would_deny: &mut Option<Denial>,
) -> Result<(), Denial> {
    match (judged, policy.mode) {
        (Err(denial), Mode::Enforce) => return Err(denial),
        (Err(denial), Mode::Audit | Mode::Off) => _ = would_deny.get_or_insert(denial),
        (Ok(()), Mode::Enforce | Mode::Audit | Mode::Off) => {}
    }
    Ok(())
}

/// Whether addresses and names that a rule has to name are refused without one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guards {
    On,
    Off,
}

/// Who looks up.
#[derive(Clone, Copy)]
struct Asker<'a> {
    tenant: &'a Tenant,
    executable: &'a str,
}

impl Asker<'_> {
    /// As for a request: deny first, then what needs a rule of its own, then allow, then the
    /// default.
    fn judge<'p>(
        self,
        policy: &'p Policy,
        host: &Host,
        guards: Guards,
    ) -> Result<Option<Covering<'p>>, Denial> {
        let mut allows = Vec::new();
        policy.allow.covering(host, |covering| {
            if self.may_open(covering.rule, host) {
                allows.push(covering);
            }
        });
        if let Some(denial) = self.silenced(policy, host) {
            return Err(denial);
        }
        let is_by_name = allows.iter().any(|allow| allow.rule.names_only);
        let is_reachable = |scheme: &Scheme| {
            policy.default == Fallback::Allow
                || allows.is_empty()
                || allows
                    .iter()
                    .any(|allow| allow.rule.schemes.contains(scheme))
        };
        let mut denies = Vec::new();
        for (list, action) in lists(policy) {
            list.covering(host, |covering| {
                denies.extend(self.closes(policy, (covering, action), host));
            });
        }
        let reachable = Scheme::ALL.into_iter().filter(is_reachable);
        if let Some(denial) = closing(reachable, denies)
            && !is_by_name
        {
            return Err(denial);
        }
        if guards == Guards::On {
            if let Host::Address(address) = host {
                self.judge_closed(policy, *address)?;
                self.judge_guarded(policy, host, *address)?;
            }
            if special::is_metadata_name(host) && !self.is_named(policy, host) {
                return Err(Denial::without_rule(Reason::MetadataAddress));
            }
        }
        let mut best = Best::default();
        allows.into_iter().for_each(|allow| best.take(allow));
        match (best.found(), policy.default) {
            (Some(allow), _) => Ok(Some(allow)),
            (None, Fallback::Allow) => Ok(None),
            (None, Fallback::Deny) => Err(Denial::without_rule(Reason::NoRule)),
        }
    }

    /// An address that no port of any protocol may be reached at.
    fn judge_closed(self, policy: &Policy, address: IpAddr) -> Result<(), Denial> {
        for form in special::forms(address) {
            let form = Host::from(form);
            let mut denies = Vec::new();
            for (list, action) in lists(policy) {
                list.naming(&form, |covering| {
                    denies.extend(self.closes(policy, (covering, action), &form));
                });
            }
            if let Some(denial) = closing(Scheme::ALL.into_iter(), denies) {
                return Err(denial);
            }
        }
        Ok(())
    }

    /// An address in each of its forms, as when it is dialled.
    fn judge_guarded(self, policy: &Policy, host: &Host, address: IpAddr) -> Result<(), Denial> {
        let literal = Host::from(address);
        let is_covered = |host: &Host| {
            let mut is_covered = false;
            policy.allow.naming(host, |covering| {
                is_covered |= self.may_open(covering.rule, host);
            });
            is_covered
        };
        for form in special::forms(address) {
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
                    let named = |host: &Host| self.is_named(policy, host);
                    let by_service_name = special::is_metadata_name(host) && named(host);
                    if !by_service_name && !named(&form) && !named(&literal) {
                        return Err(Denial::without_rule(Reason::MetadataAddress));
                    }
                }
            }
        }
        Ok(())
    }

    /// Whether an allow names this very host.
    fn is_named(self, policy: &Policy, host: &Host) -> bool {
        matcher::is_named(&policy.allow, host, |rule| self.may_open(rule, host))
    }

    /// A rule that is for look-ups alone and denies this one.
    fn silenced(self, policy: &Policy, host: &Host) -> Option<Denial> {
        let (mut best, mut broken) = (Best::default(), None);
        for (list, action) in lists(policy) {
            list.covering(host, |covering| {
                if covering.rule.names_only && judge::mode(policy, covering.rule) == policy.mode {
                    match self.denies((covering, action), host) {
                        Some(denial) if denial.failure.is_some() => broken = Some(denial),
                        Some(_) => best.take(covering),
                        None => {}
                    }
                }
            });
        }
        best.found().map(|rule| Denial::by(&rule)).or(broken)
    }

    /// Whether a rule may let something be reached.
    fn may_open(self, rule: &Rule, host: &Host) -> bool {
        let is_off = rule
            .clause
            .as_ref()
            .is_some_and(|clause| clause.mode == Some(Mode::Off));
        !is_off && matches!(self.holds(rule, host), Truth::Yes | Truth::Unknown)
    }

    /// A rule that denies whatever is asked of the host.
    fn closes<'p>(
        self,
        policy: &Policy,
        (covering, action): (Covering<'p>, Action),
        host: &Host,
    ) -> Option<(Covering<'p>, Denial)> {
        let rule = covering.rule;
        let clause = rule.clause.as_ref();
        let is_by_address = clause.is_some_and(|clause| clause.conditions.ask_address());
        let is_whole = !rule.names_only && !is_by_address;
        if !is_whole || judge::mode(policy, rule) != policy.mode {
            return None;
        }
        Some((covering, self.denies((covering, action), host)?))
    }

    /// Whether a rule denies: a deny that holds, and any that cannot be evaluated.
    fn denies(self, (covering, action): (Covering<'_>, Action), host: &Host) -> Option<Denial> {
        match (self.holds(covering.rule, host), action) {
            (Truth::Yes, Action::Deny) => Some(Denial::by(&covering)),
            (Truth::Failed(why), _) => Some(Denial::failed(&covering, why)),
            (Truth::Yes | Truth::No | Truth::Unknown, _) => None,
        }
    }

    fn holds(self, rule: &Rule, host: &Host) -> Truth {
        let Some(clause) = &rule.clause else {
            return Truth::Yes;
        };
        let facts = Facts {
            tenant: Some(self.tenant),
            executable: self.executable,
            scheme: Scheme::Tcp,
            host,
            port: 0,
            request: None,
            is_foreseen: true,
        };
        condition::holds(clause, &facts)
    }
}

/// Both lists of a policy, and what their rules do.
const fn lists(policy: &Policy) -> [(&Targets, Action); 2] {
    [(&policy.deny, Action::Deny), (&policy.allow, Action::Allow)]
}

/// What leaves no port open, where all of `schemes` have a rule that does.
fn closing(
    schemes: impl Iterator<Item = Scheme>,
    denies: Vec<(Covering<'_>, Denial)>,
) -> Option<Denial> {
    let mut first = None;
    for scheme in schemes {
        let closes = |(deny, _): &(Covering<'_>, Denial)| {
            deny.rule.ports == Ports::Every && deny.rule.schemes.contains(&scheme)
        };
        let found = denies.iter().position(closes)?;
        first.get_or_insert(found);
    }
    let mut denies = denies;
    Some(denies.swap_remove(first?).1)
}
