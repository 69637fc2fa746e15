//! The judgement: deny first, then what needs a rule of its own, then allow, then the default.

use std::net::IpAddr;
use std::sync::Arc;

use super::condition::{self, Truth};
use super::matcher::{self, Best, Way};
use super::special::{self, Guard};
use super::{Denial, Facts};
use crate::model::host::Host;
use crate::model::policy::{Fallback, Mode, Policy};
use crate::model::reason::Reason;
use crate::model::rule::{Action, Clause};
use crate::model::targets::{Covering, Rule};

/// What a policy says.
pub(super) struct Judged<'a> {
    /// The rule that allows it, none where the default does; or what binds.
    pub(super) verdict: Result<Option<Covering<'a>>, Denial>,
    /// What would bind, did it do more than watch.
    pub(super) would_deny: Option<Denial>,
}

impl Judged<'_> {
    const ALLOWED: Self = Self {
        verdict: Ok(None),
        would_deny: None,
    };

    fn denied(denial: Denial, mode: Mode, watched: Option<Denial>) -> Self {
        match mode {
            Mode::Enforce => Self {
                verdict: Err(denial),
                would_deny: watched,
            },
            Mode::Audit | Mode::Off => Self {
                verdict: Ok(None),
                would_deny: Some(watched.unwrap_or(denial)),
            },
        }
    }
}

/// The rules with conditions that hold, of those that are judged by an address: by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding(Box<[u32]>);

impl Holding {
    pub(super) fn of(policy: &Policy, facts: &Facts<'_>) -> Self {
        let clauses = policy.at_dial.iter();
        let holding = clauses.filter(|clause| match condition::holds(clause, facts) {
            // What may turn out to hold opens an address, and closes none yet.
            Truth::Unknown if facts.is_foreseen => clause.action == Action::Allow,
            holds => binds(clause, holds),
        });
        Self(holding.map(|clause| clause.number).collect())
    }

    fn has(&self, rule: &Rule) -> bool {
        let clause = rule.clause.as_ref();
        clause.is_none_or(|clause| self.0.contains(&clause.number))
    }
}

/// What cannot be told is no to an allow, and yes to a deny.
pub(super) fn binds(clause: &Clause, holds: Truth) -> bool {
    match (clause.action, holds) {
        (_, Truth::Yes) | (Action::Deny, Truth::Unknown) => true,
        (_, Truth::No) | (Action::Allow, Truth::Unknown) => false,
    }
}

/// How a rule binds.
pub(super) fn mode(policy: &Policy, rule: &Rule) -> Mode {
    let clause = rule.clause.as_ref();
    clause.and_then(|clause| clause.mode).unwrap_or(policy.mode)
}

/// What a policy says of these facts; nothing where it is off.
pub(super) fn judge<'a>(policy: &'a Policy, facts: &Facts<'_>, holding: &Holding) -> Judged<'a> {
    if policy.mode == Mode::Off {
        return Judged::ALLOWED;
    }
    let way = facts.way();
    let Denied {
        enforced, watched, ..
    } = denied(policy, facts);
    if let Some(rule) = enforced {
        return Judged::denied(Denial::by(&rule), Mode::Enforce, None);
    }
    let mut watched = watched.map(|rule| Denial::by(&rule));
    if let Host::Address(address) = facts.host {
        let (judged, watching) = judge_address(policy, way, facts.host, *address, holding);
        watched = watched.or(watching);
        if let Err(denial) = judged {
            // A rule has denied it in its own mode.
            let mode = if denial.reason == Reason::RuleDeny {
                Mode::Enforce
            } else {
                policy.mode
            };
            return Judged::denied(denial, mode, watched);
        }
    }
    let allows = |rule: &Rule| is_allowing(rule, facts);
    if special::is_metadata_name(facts.host)
        && !matcher::is_named(&policy.allow, facts.host, |rule| {
            way.fits(rule) && allows(rule)
        })
    {
        let denial = Denial::without_rule(Reason::MetadataAddress);
        return Judged::denied(denial, policy.mode, watched);
    }
    let found = matcher::find(&policy.allow, way, facts.host, allows);
    match (found, policy.default) {
        (Some(covering), default) => {
            let is_tried = mode(policy, covering.rule) != Mode::Enforce
                && policy.mode == Mode::Enforce
                && default == Fallback::Deny;
            let tried = is_tried.then(|| Denial::tried(&covering));
            Judged {
                verdict: Ok(Some(covering)),
                would_deny: watched.or(tried),
            }
        }
        (None, Fallback::Allow) => Judged {
            verdict: Ok(None),
            would_deny: watched,
        },
        (None, Fallback::Deny) => {
            let denial = Denial::without_rule(Reason::NoRule);
            Judged::denied(denial, policy.mode, watched)
        }
    }
}

/// What a floor says: what it denies, and where it denies by default, what it does not allow.
/// Addresses that need a rule of their own are the tenant's policy's to open.
pub(super) fn judge_floor<'a>(
    floor: &'a Policy,
    facts: &Facts<'_>,
    holding: &Holding,
) -> Judged<'a> {
    if floor.mode == Mode::Off {
        return Judged::ALLOWED;
    }
    let denied = denied(floor, facts);
    let by_address = match facts.host {
        Host::Address(address) => denied_address(floor, facts.way(), facts.host, *address, holding),
        Host::Name(_) => Denied::default(),
    };
    if let Some(rule) = denied.enforced.or(by_address.enforced) {
        return Judged::denied(Denial::by(&rule), Mode::Enforce, None);
    }
    let watched = denied.watched.or(by_address.watched);
    let watched = watched.map(|rule| Denial::by(&rule));
    let allows = |rule: &Rule| is_allowing(rule, facts);
    if floor.default == Fallback::Deny
        && matcher::find(&floor.allow, facts.way(), facts.host, allows).is_none()
    {
        let denial = Denial::without_rule(Reason::NoRule);
        return Judged::denied(denial, floor.mode, watched);
    }
    Judged {
        verdict: Ok(None),
        would_deny: watched,
    }
}

/// Whether an allow holds; of what is only foreseen, whether it may come to hold.
fn is_allowing(rule: &Rule, facts: &Facts<'_>) -> bool {
    let clause = rule.clause.as_ref();
    clause.is_none_or(|clause| {
        let holds = condition::holds(clause, facts);
        let may_hold = facts.is_foreseen && holds == Truth::Unknown;
        clause.mode != Some(Mode::Off) && (may_hold || binds(clause, holds))
    })
}

/// The deny rules that cover something.
#[derive(Default)]
struct Denied<'a> {
    /// One that binds.
    enforced: Option<Covering<'a>>,
    /// One that watches.
    watched: Option<Covering<'a>>,
    /// Whether there are some of which it cannot be told.
    is_open: bool,
}

/// Whether a rule may deny it once more is known.
pub(super) fn is_open(policy: &Policy, facts: &Facts<'_>) -> bool {
    let policies = std::iter::once(policy).chain(policy.floor.as_deref());
    let mut binding = policies.filter(|policy| policy.mode != Mode::Off);
    binding.any(|policy| denied(policy, facts).is_open || may_allow(policy, facts))
}

/// Whether the allow that it would be may turn out not to hold.
fn may_allow(policy: &Policy, facts: &Facts<'_>) -> bool {
    let allows = |rule: &Rule| is_allowing(rule, facts);
    let found = matcher::find(&policy.allow, facts.way(), facts.host, allows);
    let clause = found.and_then(|covering| covering.rule.clause.as_ref());
    clause.is_some_and(|clause| condition::holds(clause, facts) == Truth::Unknown)
}

fn denied<'a>(policy: &'a Policy, facts: &Facts<'_>) -> Denied<'a> {
    let way = facts.way();
    let (mut enforced, mut watched) = (Best::default(), Best::default());
    let mut is_open = false;
    policy.deny.covering(facts.host, |covering| {
        if !way.fits(covering.rule) {
            return;
        }
        if let Some(clause) = &covering.rule.clause {
            // What address a name has is not known yet.
            let is_later =
                !clause.conditions.addresses.is_empty() && matches!(facts.host, Host::Name(_));
            let holds = condition::holds(clause, facts);
            is_open |= holds == Truth::Unknown || (is_later && holds != Truth::No);
            let is_foreseen = facts.is_foreseen && holds == Truth::Unknown;
            if is_later || is_foreseen || !binds(clause, holds) {
                return;
            }
        }
        match mode(policy, covering.rule) {
            Mode::Enforce => enforced.take(covering),
            Mode::Audit => watched.take(covering),
            Mode::Off => {}
        }
    });
    Denied {
        enforced: enforced.found(),
        watched: watched.found(),
        is_open,
    }
}

/// The deny rules that are for an address in one of its forms, or for the host where it has
/// that address.
fn denied_address<'a>(
    policy: &'a Policy,
    way: Way,
    host: &Host,
    address: IpAddr,
    holding: &Holding,
) -> Denied<'a> {
    let (mut enforced, mut watched) = (Best::default(), Best::default());
    let mut take = |covering: Covering<'a>| match mode(policy, covering.rule) {
        Mode::Enforce => enforced.take(covering),
        Mode::Audit => watched.take(covering),
        Mode::Off => {}
    };
    let is_for = |rule: &Rule| {
        let clause = rule.clause.as_ref();
        way.fits(rule)
            && holding.has(rule)
            && clause.is_none_or(|clause| condition::has_address(clause, address))
    };
    for form in special::forms(address) {
        policy.deny.naming(&Host::from(form), |covering| {
            if is_for(covering.rule) {
                take(covering);
            }
        });
    }
    if !policy.at_dial.is_empty() {
        policy.deny.covering(host, |covering| {
            let clause = covering.rule.clause.as_ref();
            if clause.is_some_and(|clause| !clause.conditions.addresses.is_empty())
                && is_for(covering.rule)
            {
                take(covering);
            }
        });
    }
    Denied {
        enforced: enforced.found(),
        watched: watched.found(),
        is_open: false,
    }
}

/// A floor's word on the address that a host turned out to have.
pub(super) fn judge_floor_address(
    floor: &Policy,
    way: Way,
    host: &Host,
    address: IpAddr,
    holding: &Holding,
) -> (Result<(), Denial>, Option<Denial>) {
    if floor.mode == Mode::Off {
        return (Ok(()), None);
    }
    let denied = denied_address(floor, way, host, address, holding);
    let watched = denied.watched.map(|rule| Denial::by(&rule));
    let enforced = denied.enforced.map(|rule| Denial::by(&rule));
    (enforced.map_or(Ok(()), Err), watched)
}

/// An address is judged in each of its forms, so that none hides another. A rule that opens
/// it names the form in question or the address as it is dialled. Gives what binds where the
/// policy does, and what a rule that only watches would have denied.
pub(super) fn judge_address(
    policy: &Policy,
    way: Way,
    host: &Host,
    address: IpAddr,
    holding: &Holding,
) -> (Result<(), Denial>, Option<Denial>) {
    let denied = denied_address(policy, way, host, address, holding);
    let watched = denied.watched.map(|rule| Denial::by(&rule));
    if let Some(rule) = denied.enforced {
        return (Err(Denial::by(&rule)), watched);
    }
    let opens = |rule: &Rule| way.fits(rule) && holding.has(rule);
    let literal = address.to_canonical();
    for form in special::forms(address) {
        let reason = match special::guard(form) {
            Guard::Ordinary => continue,
            Guard::Private => {
                let named = |ip| matcher::find_address(&policy.allow, ip, opens).is_some();
                if named(form) || named(literal) {
                    continue;
                }
                Reason::PrivateAddress
            }
            Guard::Metadata => {
                let named = |host: &Host| matcher::is_named(&policy.allow, host, opens);
                let by_service_name = special::is_metadata_name(host) && named(host);
                if by_service_name || named(&form.into()) || named(&literal.into()) {
                    continue;
                }
                Reason::MetadataAddress
            }
        };
        return (Err(Denial::without_rule(reason)), watched);
    }
    (Ok(()), watched)
}

/// Everything that rules may ask of one decision, held for the dial.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    pub(super) own: Holding,
    pub(super) floor: Holding,
}

impl Held {
    pub(super) fn of(policy: &Policy, facts: &Facts<'_>) -> Self {
        let floor = policy.floor.as_ref();
        Self {
            own: Holding::of(policy, facts),
            floor: floor.map_or_else(Holding::default, |floor| Holding::of(floor, facts)),
        }
    }
}

impl Denial {
    pub(super) fn by(covering: &Covering<'_>) -> Self {
        let rule = covering.rule;
        let clause = rule.clause.as_ref();
        Self {
            reason: Reason::RuleDeny,
            rule: Some(rule.label.as_ref().into()),
            place: covering.place(),
            entry: covering.entry(),
            face: clause.and_then(|clause| clause.face.as_ref().map(Arc::clone)),
        }
    }

    /// What only an allow that is being tried out lets through.
    fn tried(covering: &Covering<'_>) -> Self {
        Self {
            reason: Reason::NoRule,
            ..Self::by(covering)
        }
    }

    pub(super) const fn without_rule(reason: Reason) -> Self {
        Self {
            reason,
            rule: None,
            place: None,
            entry: None,
            face: None,
        }
    }
}
