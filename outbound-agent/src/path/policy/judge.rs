//! The judgement: deny first, then what needs a rule of its own, then allow, then the default.

use std::net::IpAddr;

use super::condition::{self, Truth};
use super::denied::Denied;
use super::held::Holding;
use super::matcher::{self, Best, Way};
use super::special::{self, Guard};
use super::{Denial, Facts};
use crate::model::host::Host;
use crate::model::index::Nearness;
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

/// What cannot be told is no to an allow, and yes to a deny.
pub(super) fn binds(clause: &Clause, holds: Truth) -> bool {
    match (clause.action, holds) {
        (_, Truth::Yes) | (Action::Deny, Truth::Unknown) => true,
        (_, Truth::No | Truth::Failed(_)) | (Action::Allow, Truth::Unknown) => false,
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
    let denied = denied(policy, facts);
    if let Some(denial) = denied.binding() {
        return Judged::denied(denial, Mode::Enforce, None);
    }
    let mut watched = denied.watching();
    if let Host::Address(address) = facts.host {
        let (judged, watching) = judge_address(policy, way, facts.host, *address, holding);
        watched = watched.or(watching);
        if let Err(denial) = judged {
            // A rule has denied it in its own mode.
            let mode = if denial.is_by_rule() {
                Mode::Enforce
            } else {
                policy.mode
            };
            return Judged::denied(denial, mode, watched);
        }
    }
    let Allowed {
        found,
        named,
        failing,
    } = allowed(policy, facts);
    if let Some(denial) = failing.binding() {
        return Judged::denied(denial, Mode::Enforce, watched);
    }
    watched = watched.or(failing.watching());
    if special::is_metadata_name(facts.host) && !named {
        let denial = Denial::without_rule(Reason::MetadataAddress);
        return Judged::denied(denial, policy.mode, watched);
    }
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
    let Allowed { found, failing, .. } = allowed(floor, facts);
    let all = [&denied, &by_address, &failing];
    if let Some(denial) = all.into_iter().find_map(Denied::binding) {
        return Judged::denied(denial, Mode::Enforce, None);
    }
    let watched = all.into_iter().find_map(Denied::watching);
    if floor.default == Fallback::Deny && found.is_none() {
        let denial = Denial::without_rule(Reason::NoRule);
        return Judged::denied(denial, floor.mode, watched);
    }
    Judged {
        verdict: Ok(None),
        would_deny: watched,
    }
}

/// What the allow rules say.
#[derive(Default)]
struct Allowed<'a> {
    /// The one that decides.
    found: Option<Covering<'a>>,
    /// Whether one of those that hold names this very host.
    named: bool,
    /// Those that cannot be evaluated: they deny, be they the ones that decide or not.
    failing: Denied<'a>,
}

fn allowed<'a>(policy: &'a Policy, facts: &Facts<'_>) -> Allowed<'a> {
    let way = facts.way();
    let mut best = Best::default();
    let mut allowed = Allowed::default();
    policy.allow.covering(facts.host, |covering| {
        if !way.fits(covering.rule) {
            return;
        }
        match holds(covering.rule, facts) {
            None => {}
            Some(Truth::Failed(why)) => allowed.failing.fail(policy, covering, why),
            Some(Truth::Unknown) if !facts.is_foreseen => {}
            Some(Truth::No) => {}
            // Of what is only foreseen, it may come to hold.
            Some(Truth::Yes | Truth::Unknown) => {
                allowed.named |= covering.nearness == Nearness::EXACT;
                best.take(covering);
            }
        }
    });
    allowed.found = best.found();
    allowed
}

/// Whether a rule's conditions hold; nothing where it is off.
fn holds(rule: &Rule, facts: &Facts<'_>) -> Option<Truth> {
    match &rule.clause {
        None => Some(Truth::Yes),
        Some(clause) if clause.mode == Some(Mode::Off) => None,
        Some(clause) => Some(condition::holds(clause, facts)),
    }
}

/// Whether a rule may deny it once more is known.
pub(super) fn is_open(policy: &Policy, facts: &Facts<'_>) -> bool {
    let policies = std::iter::once(policy).chain(policy.floor.as_deref());
    let mut binding = policies.filter(|policy| policy.mode != Mode::Off);
    binding.any(|policy| denied(policy, facts).is_open || may_allow(policy, facts))
}

/// Whether the allow that it would be may turn out not to hold.
fn may_allow(policy: &Policy, facts: &Facts<'_>) -> bool {
    let found = allowed(policy, facts).found;
    let clause = found.and_then(|covering| covering.rule.clause.as_ref());
    clause.is_some_and(|clause| condition::holds(clause, facts) == Truth::Unknown)
}

fn denied<'a>(policy: &'a Policy, facts: &Facts<'_>) -> Denied<'a> {
    let way = facts.way();
    let mut denied = Denied::default();
    policy.deny.covering(facts.host, |covering| {
        if !way.fits(covering.rule) {
            return;
        }
        let Some(clause) = &covering.rule.clause else {
            return denied.take(policy, covering);
        };
        // What address a name has is not known yet.
        let is_later = clause.conditions.ask_address() && matches!(facts.host, Host::Name(_));
        let holds = condition::holds(clause, facts);
        denied.is_open |= holds == Truth::Unknown || (is_later && holds != Truth::No);
        let is_foreseen = facts.is_foreseen && holds == Truth::Unknown;
        if is_later || is_foreseen {
            return;
        }
        match holds {
            Truth::Failed(why) => denied.fail(policy, covering, why),
            holds if binds(clause, holds) => denied.take(policy, covering),
            Truth::Yes | Truth::No | Truth::Unknown => {}
        }
    });
    denied
}

/// The deny rules that are for an address in one of its forms, or for the host where it has
/// that address; and the rules of either kind that cannot be evaluated for it.
fn denied_address<'a>(
    policy: &'a Policy,
    way: Way,
    host: &Host,
    address: IpAddr,
    holding: &Holding,
) -> Denied<'a> {
    let mut denied = Denied::default();
    let mut judge = |covering: Covering<'a>, action| {
        if !way.fits(covering.rule) {
            return;
        }
        match (holding.at(covering.rule, address), action) {
            (Truth::Yes, Action::Deny) => denied.take(policy, covering),
            (Truth::Failed(why), _) => denied.fail(policy, covering, why),
            (Truth::Yes | Truth::No | Truth::Unknown, _) => {}
        }
    };
    let lists = [(&policy.allow, Action::Allow), (&policy.deny, Action::Deny)];
    for (list, action) in lists {
        for form in special::forms(address) {
            list.naming(&Host::from(form), |covering| judge(covering, action));
        }
        if policy.asks_address {
            list.covering(host, |covering| {
                let clause = covering.rule.clause.as_ref();
                if clause.is_some_and(|clause| clause.conditions.ask_address()) {
                    judge(covering, action);
                }
            });
        }
    }
    denied
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
    (denied.binding().map_or(Ok(()), Err), denied.watching())
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
    let watched = denied.watching();
    if let Some(denial) = denied.binding() {
        return (Err(denial), watched);
    }
    let opens = |rule: &Rule| way.fits(rule) && holding.at(rule, address) == Truth::Yes;
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
