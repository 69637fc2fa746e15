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
pub(super) struct Holding {
    rules: Vec<(u32, Answers)>,
    is_foreseen: bool,
}

impl Holding {
    pub(super) fn of(policy: &Policy, facts: &Facts<'_>) -> Self {
        let mut holding = Self {
            rules: Vec::new(),
            is_foreseen: facts.is_foreseen,
        };
        for clause in &policy.at_dial {
            holding.hold(clause, facts);
        }
        if policy.asks_address {
            for list in [&policy.allow, &policy.deny] {
                list.covering(facts.host, |covering| {
                    let clause = covering.rule.clause.as_ref();
                    if let Some(clause) = clause.filter(|clause| clause.conditions.ask_address()) {
                        holding.hold(clause, facts);
                    }
                });
            }
        }
        holding
    }

    fn hold(&mut self, clause: &Clause, facts: &Facts<'_>) {
        let is_off = clause.mode == Some(Mode::Off);
        if !is_off && self.answers(clause).is_none() {
            let answers = condition::answers(clause, facts);
            if answers.at_best() != Truth::No {
                self.rules.push((clause.number, answers));
            }
        }
    }

    fn answers(&self, clause: &Clause) -> Option<&Answers> {
        let mut rules = self.rules.iter();
        let found = rules.find(|(number, _answers)| *number == clause.number)?;
        Some(&found.1)
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
        let Some(answers) = self.answers(clause) else {
            return Truth::No;
        };
        let is_for = Truth::from(condition::has_address(clause, address));
        match is_for.and(answers.at(clause, address)) {
            // What may turn out to hold opens an address, and closes none yet.
            Truth::Unknown if self.is_foreseen => Truth::from(clause.action == Action::Allow),
            Truth::Unknown => Truth::from(clause.action == Action::Deny),
            told @ (Truth::Yes | Truth::No | Truth::Failed(_)) => told,
        }
    }
}
