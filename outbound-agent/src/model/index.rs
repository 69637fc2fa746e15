//! `Index`: values by the hosts that they are for, found at a cost that does not grow with how
//! many there are: one hash look-up per label of a name, or per length of prefix.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::host::Host;
use super::target::{HostGlob, Pattern};

/// How closely a pattern names a host; the closest is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nearness(u16);

impl Nearness {
    /// That very host.
    pub const EXACT: Self = Self(0);
    const ANY: Self = Self(u16::MAX);

    /// A range of addresses.
    const fn network(length: u8) -> Self {
        Self(1 + 128 - length as u16)
    }

    /// Names below a name, or a glob that ends in one.
    fn below(parent: &str, is_glob: bool) -> Self {
        let length = u16::try_from(parent.len()).unwrap_or(u16::MAX / 4);
        Self(u16::MAX / 2 - 2 * length + u16::from(!is_glob))
    }
}

/// Values by host.
#[derive(Clone, Debug)]
pub struct Index<V> {
    exact: HashMap<Host, V>,
    below: HashMap<Box<str>, V>,
    /// By the whole labels in which they end; without any, under "".
    globs: HashMap<Box<str>, Vec<(HostGlob, V)>>,
    /// By length of prefix, the longest first.
    networks: Vec<(u8, HashMap<IpNet, V>)>,
    any: Option<V>,
}

impl<V> Default for Index<V> {
    fn default() -> Self {
        Self {
            exact: HashMap::new(),
            below: HashMap::new(),
            globs: HashMap::new(),
            networks: Vec::new(),
            any: None,
        }
    }
}

impl<V: Default> Index<V> {
    /// The value of a pattern. [`Pattern::Set`] has none of its own: that of every host.
    pub fn slot(&mut self, pattern: Pattern) -> &mut V {
        match pattern {
            Pattern::Any | Pattern::Set(_) => self.any.get_or_insert_default(),
            Pattern::Exact(host) => self.exact.entry(host).or_default(),
            Pattern::Below(name) => self.below.entry(name).or_default(),
            Pattern::Glob(glob) => {
                let globs = self.globs.entry(glob.parent().into()).or_default();
                let known = globs.iter().position(|(other, _)| *other == glob);
                let at = known.unwrap_or_else(|| {
                    globs.push((glob, V::default()));
                    globs.len() - 1
                });
                &mut globs[at].1
            }
            Pattern::Network(network) => {
                let length = network.prefix_len();
                let at = self.networks.partition_point(|(other, _)| *other > length);
                if self
                    .networks
                    .get(at)
                    .is_none_or(|(other, _)| *other != length)
                {
                    self.networks.insert(at, (length, HashMap::new()));
                }
                self.networks[at].1.entry(network).or_default()
            }
        }
    }
}

impl<V> Index<V> {
    /// Hands out every value whose pattern covers a host, the nearest first.
    pub fn covering<'a>(&'a self, host: &Host, mut found: impl FnMut(Nearness, &'a V)) {
        self.naming(host, &mut found);
        if let Host::Name(name) = host {
            self.above(name, &mut found);
        }
        if let Some(value) = &self.any {
            found(Nearness::ANY, value);
        }
    }

    /// Hands out every value whose pattern is this very host, or a network that contains it.
    pub fn naming<'a>(&'a self, host: &Host, mut found: impl FnMut(Nearness, &'a V)) {
        if let Some(value) = self.exact.get(host) {
            found(Nearness::EXACT, value);
        }
        if let Host::Address(address) = host {
            self.networks_of(*address, found);
        }
    }

    /// The value of this very host.
    pub fn exact(&self, host: &Host) -> Option<&V> {
        self.exact.get(host)
    }

    /// The names that stand there as they are.
    pub fn names(&self) -> impl ExactSizeIterator<Item = (&Host, &V)> {
        self.exact.iter()
    }

    /// Every value, in no order.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        let globs = self.globs.values().flatten().map(|(_, value)| value);
        let networks = self.networks.iter().flat_map(|(_, values)| values.values());
        self.exact
            .values()
            .chain(self.below.values())
            .chain(globs)
            .chain(networks)
            .chain(&self.any)
    }

    /// The values of addresses and networks.
    pub fn addresses(&self) -> impl Iterator<Item = &V> {
        let exact = self.exact.iter();
        let exact = exact.filter_map(|(host, value)| match host {
            Host::Address(_) => Some(value),
            Host::Name(_) => None,
        });
        let networks = self.networks.iter().flat_map(|(_, values)| values.values());
        exact.chain(networks)
    }

    /// How many patterns there are.
    pub fn len(&self) -> usize {
        self.values().count()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    fn networks_of<'a>(&'a self, address: IpAddr, mut found: impl FnMut(Nearness, &'a V)) {
        for (length, networks) in &self.networks {
            let network = IpNet::new(address, *length).ok().map(|net| net.trunc());
            if let Some(value) = network.and_then(|network| networks.get(&network)) {
                found(Nearness::network(*length), value);
            }
        }
    }

    fn above<'a>(&'a self, name: &str, mut found: impl FnMut(Nearness, &'a V)) {
        if self.below.is_empty() && self.globs.is_empty() {
            return;
        }
        let parents = std::iter::successors(Some(name), |name| Some(name.split_once('.')?.1));
        for parent in parents.skip(1).chain([""]) {
            for (glob, value) in self.globs.get(parent).into_iter().flatten() {
                if glob.matches(name) {
                    found(Nearness::below(parent, true), value);
                }
            }
            if let Some(value) = self.below.get(parent) {
                found(Nearness::below(parent, false), value);
            }
        }
    }
}
