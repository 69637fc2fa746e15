//! Finds the most specific rule of a list that covers a destination.
//!
//! Exact host before suffix or network, the longer suffix or prefix before the shorter,
//! `*` last; among rules for the same hosts a written scheme and a narrower port first, then
//! the one that asks more, then the one that is written first.

use std::cmp::Reverse;
use std::net::IpAddr;

use crate::model::host::Host;
use crate::model::index::Nearness;
use crate::model::target::{Ports, Scheme};
use crate::model::targets::{Covering, Rule, Targets};

/// What a rule is asked about, beside the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) scheme: Scheme,
    pub(super) port: u16,
}

impl Way {
    pub(super) fn fits(self, rule: &Rule) -> bool {
        !rule.names_only && rule.schemes.contains(&self.scheme) && rule.ports.contain(self.port)
    }
}

/// The most specific of the rules that it is shown.
#[derive(Default)]
pub(super) struct Best<'a>(Option<Covering<'a>>);

impl<'a> Best<'a> {
    pub(super) fn take(&mut self, covering: Covering<'a>) {
        let is_better = match &self.0 {
            Some(best) => precedence(&covering) < precedence(best),
            None => true,
        };
        if is_better {
            self.0 = Some(covering);
        }
    }

    pub(super) const fn found(&self) -> Option<Covering<'a>> {
        self.0
    }
}

fn precedence(covering: &Covering<'_>) -> impl Ord + use<> {
    let Covering { rule, nearness, .. } = covering;
    let width = match rule.ports {
        Ports::One(_) => 0_u8,
        Ports::Web => 1,
        Ports::Every => 2,
    };
    let weight = rule
        .clause
        .as_ref()
        .map_or(0, |clause| clause.conditions.weight());
    (*nearness, rule.schemes.len(), width, Reverse(weight))
}

/// The rule for a host, in whatever way it is named, of those for which `holds` is so.
pub(super) fn find<'a>(
    targets: &'a Targets,
    way: Way,
    host: &Host,
    holds: impl Fn(&Rule) -> bool,
) -> Option<Covering<'a>> {
    let mut best = Best::default();
    targets.covering(host, |covering| {
        if way.fits(covering.rule) && holds(covering.rule) {
            best.take(covering);
        }
    });
    best.found()
}

/// Whether a rule names this very host.
pub(super) fn is_named(targets: &Targets, host: &Host, holds: impl Fn(&Rule) -> bool) -> bool {
    let mut is_named = false;
    targets.naming(host, |covering| {
        is_named |= covering.nearness == Nearness::EXACT && holds(covering.rule);
    });
    is_named
}

/// The rule that names this very address, or a network that contains it.
pub(super) fn find_address(
    targets: &Targets,
    address: IpAddr,
    holds: impl Fn(&Rule) -> bool,
) -> Option<Covering<'_>> {
    let mut best = Best::default();
    targets.naming(&Host::from(address), |covering| {
        if holds(covering.rule) {
            best.take(covering);
        }
    });
    best.found()
}
