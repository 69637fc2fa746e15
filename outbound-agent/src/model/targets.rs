//! `Targets`: a list of targets, compiled.

use std::collections::HashSet;
use std::sync::Arc;

use super::host::Host;
use super::index::{Index, Nearness};
use super::place::Place;
use super::rule::Clause;
use super::set::HostSet;
use super::target::{Pattern, Ports, Scheme, Target};

/// Which list a target stands in: what an unwritten scheme or port means there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Unwritten: `http` and `https`, ports 80 and 443.
    Allow,
    /// Unwritten: every scheme, every port.
    Deny,
    /// Where a credential may go; unwritten as in [`List::Allow`].
    Hosts,
}

impl List {
    /// The key of the list in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hosts => "hosts",
        }
    }
}

/// A target in its list: nothing is left unwritten.
#[derive(Clone, Debug)]
pub struct Rule {
    /// How logs and replies name it: `deny *.evil.example`, or a rule's own name.
    pub label: Arc<str>,
    /// Where it is written, when that is known.
    pub place: Option<Place>,
    /// The schemes.
    pub schemes: &'static [Scheme],
    /// The ports.
    pub ports: Ports,
    /// Whether it is for look-ups of names, and nothing else.
    pub names_only: bool,
    /// What else it asks and does, where it is one of `rules`.
    pub clause: Option<Arc<Clause>>,
}

/// A list of targets, compiled so that a look-up costs as much in a list of ten as in one of
/// a hundred thousand.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    index: Index<Vec<Rule>>,
    sets: Vec<(Arc<HostSet>, Rule)>,
    /// The exact names for `tcp`, with their ports.
    pub(crate) opaque: Vec<(Host, Ports)>,
    /// Every port that some rule is for.
    pub(crate) ports: HashSet<Ports>,
}

/// A rule that covers a host.
#[derive(Clone, Copy, Debug)]
pub struct Covering<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// How closely it names the host.
    pub nearness: Nearness,
    /// Of a set that it is for: which entry has the host.
    pub entry: Option<(&'a HostSet, u32)>,
}

impl Covering<'_> {
    /// Where the rule is written.
    pub fn place(&self) -> Option<Place> {
        self.rule.place.clone()
    }

    /// Where the entry of the set is written.
    pub fn entry(&self) -> Option<Place> {
        let (set, line) = self.entry?;
        set.place_of(line)
    }
}

impl Targets {
    /// Compiles a list, without sets.
    pub fn compile(targets: impl IntoIterator<Item = Target>, list: List) -> Self {
        let mut compiled = Self::default();
        for target in targets {
            let rule = Rule::new(&target, None, list);
            compiled.insert(target.pattern, rule);
        }
        compiled
    }

    /// Adds a rule. One for a set goes to [`Self::insert_set`].
    pub fn insert(&mut self, pattern: Pattern, rule: Rule) {
        if let Pattern::Exact(host @ Host::Name(_)) = &pattern
            && rule.schemes.contains(&Scheme::Tcp)
        {
            self.opaque.push((host.clone(), rule.ports));
        }
        self.ports.insert(rule.ports);
        self.index.slot(pattern).push(rule);
    }

    /// Adds a rule for every host of a set.
    pub fn insert_set(&mut self, set: Arc<HostSet>, rule: Rule) {
        if rule.schemes.contains(&Scheme::Tcp) && set.hosts.names().len() <= MAX_OPAQUE {
            let names = set.hosts.names().map(|(host, _line)| host);
            let names = names.filter(|host| matches!(host, Host::Name(_)));
            self.opaque
                .extend(names.map(|host| (host.clone(), rule.ports)));
        }
        self.ports.insert(rule.ports);
        self.sets.push((set, rule));
    }

    /// Hands out every rule that covers a host in some way.
    pub fn covering<'a>(&'a self, host: &Host, mut found: impl FnMut(Covering<'a>)) {
        self.index.covering(host, |nearness, rules| {
            plain(nearness, rules, &mut found);
        });
        for (set, rule) in &self.sets {
            set.hosts.covering(host, |nearness, line| {
                found(of_set(nearness, rule, set, *line));
            });
        }
    }

    /// Hands out every rule that names this very host, or a network that contains it.
    pub fn naming<'a>(&'a self, host: &Host, mut found: impl FnMut(Covering<'a>)) {
        self.index.naming(host, |nearness, rules| {
            plain(nearness, rules, &mut found);
        });
        for (set, rule) in &self.sets {
            set.hosts.naming(host, |nearness, line| {
                found(of_set(nearness, rule, set, *line));
            });
        }
    }

    /// The names that stand there as they are, each with its rules; in no order.
    pub fn names(&self) -> impl Iterator<Item = (&Host, &[Rule])> {
        let own = self.index.names();
        let own = own.map(|(host, rules)| (host, rules.as_slice()));
        let sets = self.sets.iter().flat_map(|(set, rule)| {
            let names = set.hosts.names();
            names.map(move |(host, _line)| (host, std::slice::from_ref(rule)))
        });
        own.chain(sets)
    }

    /// How many [`Self::names`] gives.
    pub fn count_names(&self) -> usize {
        let sets = self.sets.iter().map(|(set, _)| set.hosts.names().len());
        self.index.names().len() + sets.sum::<usize>()
    }

    /// Every rule, in no order; one for a set once.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let sets = self.sets.iter().map(|(_, rule)| rule);
        self.index.values().flatten().chain(sets)
    }

    /// The rules that name an address or a network.
    pub fn address_rules(&self) -> impl Iterator<Item = &Rule> {
        let sets = self.sets.iter();
        let sets = sets.filter(|(set, _)| set.hosts.addresses().next().is_some());
        let own = self.index.addresses().flatten();
        own.chain(sets.map(|(_, rule)| rule))
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.index.is_empty()
    }
}

fn plain<'a>(nearness: Nearness, rules: &'a [Rule], found: &mut impl FnMut(Covering<'a>)) {
    for rule in rules {
        found(Covering {
            rule,
            nearness,
            entry: None,
        });
    }
}

const fn of_set<'a>(
    nearness: Nearness,
    rule: &'a Rule,
    set: &'a HostSet,
    line: u32,
) -> Covering<'a> {
    Covering {
        rule,
        nearness,
        entry: Some((set, line)),
    }
}

impl Rule {
    /// What a target says in a list.
    pub fn new(target: &Target, place: Option<Place>, list: List) -> Self {
        let (schemes, ports): (&[Scheme], _) = match list {
            List::Allow | List::Hosts => (&[Scheme::Http, Scheme::Https], Ports::Web),
            List::Deny => (&[Scheme::Http, Scheme::Https, Scheme::Tcp], Ports::Every),
        };
        Self {
            label: format!("{} {target}", list.label()).into(),
            place,
            schemes: target
                .scheme
                .map_or(schemes, |scheme| Scheme::among(&[scheme])),
            ports: target.port.unwrap_or(ports),
            names_only: false,
            clause: None,
        }
    }
}

/// Larger sets are for `tcp` only by what a tenant was told of their names.
const MAX_OPAQUE: usize = 64;
