//! What denies: the rules that do, and what a denial says of them.

use std::sync::Arc;

use super::Denial;
use super::judge::mode;
use super::matcher::Best;
use crate::model::expression::Failure;
use crate::model::policy::{Mode, Policy};
use crate::model::reason::Reason;
use crate::model::targets::Covering;

/// The rules that deny something: deny rules, and whatever cannot be evaluated.
#[derive(Default)]
pub(super) struct Denied<'a> {
    /// One that binds.
    enforced: Best<'a>,
    /// One that watches.
    watched: Best<'a>,
    /// Those that cannot be evaluated, as above, and why.
    broken: [Option<(Covering<'a>, Failure)>; 2],
    /// Whether there are some of which it cannot be told.
    pub(super) is_open: bool,
}

impl<'a> Denied<'a> {
    pub(super) fn take(&mut self, policy: &Policy, covering: Covering<'a>) {
        match mode(policy, covering.rule) {
            Mode::Enforce => self.enforced.take(covering),
            Mode::Audit => self.watched.take(covering),
            Mode::Off => {}
        }
    }

    pub(super) fn fail(&mut self, policy: &Policy, covering: Covering<'a>, why: Failure) {
        let [enforced, watched] = &mut self.broken;
        let broken = match mode(policy, covering.rule) {
            Mode::Enforce => enforced,
            Mode::Audit => watched,
            Mode::Off => return,
        };
        broken.get_or_insert((covering, why));
    }

    pub(super) fn binding(&self) -> Option<Denial> {
        let [broken, _] = &self.broken;
        denial(&self.enforced, broken.as_ref())
    }

    pub(super) fn watching(&self) -> Option<Denial> {
        let [_, broken] = &self.broken;
        denial(&self.watched, broken.as_ref())
    }
}

fn denial(best: &Best<'_>, broken: Option<&(Covering<'_>, Failure)>) -> Option<Denial> {
    let by = best.found().map(|rule| Denial::by(&rule));
    by.or_else(|| broken.map(|(rule, why)| Denial::failed(rule, *why)))
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
            failure: None,
        }
    }

    /// A rule that cannot be evaluated denies, whatever it would do.
    pub(super) fn failed(covering: &Covering<'_>, why: Failure) -> Self {
        Self {
            reason: Reason::ConditionFailed,
            face: None,
            failure: Some(why),
            ..Self::by(covering)
        }
    }

    /// Whether a rule denies it, in the rule's own mode.
    pub(super) const fn is_by_rule(&self) -> bool {
        matches!(self.reason, Reason::RuleDeny | Reason::ConditionFailed)
    }

    /// What only an allow that is being tried out lets through.
    pub(super) fn tried(covering: &Covering<'_>) -> Self {
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
            failure: None,
        }
    }
}
