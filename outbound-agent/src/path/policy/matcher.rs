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

/// Every rule that covers this host in some way, the most specific first.
pub(super) fn covering<'a>(
    targets: &'a Targets,
    host: &Host,
) -> impl Iterator<Item = &'a Rule> + use<'a> {
    let below: Vec<&Rule> = match host {
        Host::Name(name) => above(name)
            .filter_map(|parent| targets.below.get(parent))
            .flatten()
            .collect(),
        Host::Address(_) => Vec::new(),
    };
    naming(targets, host).chain(below).chain(&targets.any)
}

/// Every rule that names this very host, or a network that contains it.
pub(super) fn naming<'a>(
    targets: &'a Targets,
    host: &Host,
) -> impl Iterator<Item = &'a Rule> + use<'a> {
    let networks: Vec<&Rule> = match host {
        Host::Name(_) => Vec::new(),
        Host::Address(address) => targets
            .networks
            .iter()
            .filter_map(|(length, networks)| {
                let network = IpNet::new(*address, *length).ok()?.trunc();
                networks.get(&network)
            })
            .flatten()
            .collect(),
    };
    let exact = targets.exact.get(host);
    exact.into_iter().flatten().chain(networks)
}

/// The names above a name, the longest first.
fn above(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| Some(name.split_once('.')?.1)).skip(1)
}

fn find_below<'a>(targets: &'a Targets, way: Way, name: &str) -> Option<&'a Rule> {
    if targets.below.is_empty() {
        return None;
    }
    above(name).find_map(|parent| best(targets.below.get(parent)?, way))
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
