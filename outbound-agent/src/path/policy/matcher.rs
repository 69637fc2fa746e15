//! Finds the most specific rule of a list that covers a destination.
//!
//! Exact host before suffix or network, the longer suffix or prefix before the shorter,
//! `*` last; among rules for the same hosts a written scheme and a narrower port first.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::host::Host;
use crate::model::target::{Ports, Rule, Scheme, Targets};

/// What a rule is asked about, beside the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    pub(super) scheme: Scheme,
    pub(super) port: u16,
}

/// The rule for a host, in whatever way it is named.
pub(super) fn find<'a>(targets: &'a Targets, way: Way, host: &Host) -> Option<&'a Rule> {
    let named = match host {
        Host::Name(name) => {
            find_name(targets, way, host).or_else(|| find_below(targets, way, name))
        }
        Host::Address(address) => find_address(targets, way, *address),
    };
    named.or_else(|| best(&targets.any, way))
}

/// The rule that names this very host.
pub(super) fn find_name<'a>(targets: &'a Targets, way: Way, host: &Host) -> Option<&'a Rule> {
    best(targets.exact.get(host)?, way)
}

/// The rule that names this very address, or a network that contains it.
pub(super) fn find_address(targets: &Targets, way: Way, address: IpAddr) -> Option<&Rule> {
    find_name(targets, way, &Host::from(address)).or_else(|| {
        targets.networks.iter().find_map(|(length, networks)| {
            let network = IpNet::new(address, *length).ok()?.trunc();
            best(networks.get(&network)?, way)
        })
    })
}

fn find_below<'a>(targets: &'a Targets, way: Way, name: &str) -> Option<&'a Rule> {
    if targets.below.is_empty() {
        return None;
    }
    let mut rest = name;
    while let Some((_label, parent)) = rest.split_once('.') {
        if let Some(rule) = targets.below.get(parent).and_then(|rules| best(rules, way)) {
            return Some(rule);
        }
        rest = parent;
    }
    None
}

/// Among rules for the same hosts.
fn best(rules: &[Rule], way: Way) -> Option<&Rule> {
    rules
        .iter()
        .filter(|rule| rule.schemes.contains(&way.scheme) && rule.ports.contain(way.port))
        .min_by_key(|rule| {
            let width = match rule.ports {
                Ports::One(_) => 0_u8,
                Ports::Web => 1,
                Ports::Every => 2,
            };
            (rule.schemes.len(), width)
        })
}
