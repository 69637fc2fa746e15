//! What a decision leaves to the dial: rules that are judged by the address, and what they will
//! say of it.

use std::net::IpAddr;

use super::Facts;
use super::condition::{self, Truth};
use super::expression::Answers;
use crate::model::policy::{Mode, Policy};
use crate::model::rule::{Action, Clause};
use crate::model::targets::Rule;

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

/// What the rules say that are judged by an address, by their number; of one that is not there,
/// that it does not hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Holding(Box<[(u32, Answers)]>);

impl Holding {
    pub(super) fn of(policy: &Policy, facts: &Facts<'_>) -> Self {
        let mut rules = Vec::new();
        for clause in &policy.at_dial {
            hold(clause, facts, &mut rules);
        }
        if policy.asks_address {
            for list in [&policy.allow, &policy.deny] {
                list.covering(facts.host, |covering| {
                    let clause = covering.rule.clause.as_ref();
                    if let Some(clause) = clause.filter(|clause| clause.conditions.ask_address()) {
                        hold(clause, facts, &mut rules);
                    }
                });
            }
        }
        Self(rules.into())
    }

    /// What a rule says of an address that is dialled.
    pub(super) fn at(&self, rule: &Rule, address: IpAddr) -> Truth {
        let Some(clause) = rule.clause.as_deref() else {
            return Truth::Yes;
        };
        self.of_clause(clause, address)
    }

    /// As [`Self::at`], of a rule that has conditions.
    pub(super) fn of_clause(&self, clause: &Clause, address: IpAddr) -> Truth {
        let Some(answers) = answers(&self.0, clause) else {
            return Truth::No;
        };
        let is_for = Truth::from(condition::has_address(clause, address));
        is_for.and(answers.at(clause, address))
    }
}

fn answers<'a>(rules: &'a [(u32, Answers)], clause: &Clause) -> Option<&'a Answers> {
    let found = rules.iter().find(|(number, _)| *number == clause.number)?;
    Some(&found.1)
}

/// Adds what a rule says, where it may hold.
fn hold(clause: &Clause, facts: &Facts<'_>, rules: &mut Vec<(u32, Answers)>) {
    if clause.mode == Some(Mode::Off) || answers(rules, clause).is_some() {
        return;
    }
    // What may turn out to hold opens an address, and closes none yet.
    let opens = clause.action == Action::Allow;
    let unknown = Truth::from(opens == facts.is_foreseen);
    let answers = condition::answers(clause, facts).settled(unknown);
    if answers.at_best() != Truth::No {
        rules.push((clause.number, answers));
    }
}
