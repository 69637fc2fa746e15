//! Policies: what they extend is put together, rules and lists are compiled.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::check::refer;
use super::kind::compound::Placed;
use super::problem::{KeyPath, Problems};
use super::raw;
use super::roots::roots;
use super::rule;
use super::service::Services;
use super::set::Sets;
use crate::model::credential::Credential;
use crate::model::limits::Limits;
use crate::model::place::Place;
use crate::model::policy::Policy;
use crate::model::target::{Pattern, Target};
use crate::model::targets::{List, Rule, Targets};

/// What a tenant gets from its policy.
pub(super) type Compiled = (Arc<Policy>, Vec<Arc<Credential>>, Limits);

/// Every policy, by name; `None` where it has a problem of its own.
pub(super) fn policies(
    raw: &BTreeMap<String, Option<raw::Policy>>,
    sets: &Sets,
    credentials: &BTreeMap<String, Option<Arc<Credential>>>,
    services: &Services,
    problems: &mut Problems,
) -> BTreeMap<String, Option<Compiled>> {
    let mut compiler = Compiler {
        raw,
        sets,
        credentials,
        services,
        problems,
    };
    let floor = compiler.floor();
    let mut compiled = BTreeMap::new();
    for (name, policy) in raw {
        let policy = policy.as_ref().and_then(|policy| {
            let (mut built, credentials) = compiler.policy(name, policy)?;
            if !is_floor(policy) {
                built.floor = floor.as_ref().map(Arc::clone);
            }
            Some((Arc::new(built), credentials, policy.limits.compile()))
        });
        compiled.insert(name.clone(), policy);
    }
    compiled
}

/// Compiles a list that has a key of its own.
pub(super) fn compile(
    targets: &[Placed<Target>],
    list: List,
    sets: &Sets,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Targets {
    let mut compiled = Targets::default();
    add_targets(&mut compiled, targets, list, sets, path, problems);
    compiled
}

fn add_targets(
    compiled: &mut Targets,
    targets: &[Placed<Target>],
    list: List,
    sets: &Sets,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) {
    for (index, Placed { place, value }) in targets.iter().enumerate() {
        let rule = Rule::new(value, Some(place.clone()), list);
        let path = KeyPath::Index(path, index);
        insert(compiled, &value.pattern, rule, sets, &path, problems);
    }
}

/// Adds a rule for a host or for a set.
pub(super) fn insert(
    compiled: &mut Targets,
    pattern: &Pattern,
    rule: Rule,
    sets: &Sets,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) {
    let Pattern::Set(name) = pattern else {
        return compiled.insert(pattern.clone(), rule);
    };
    let Some(place) = rule.place.clone() else {
        return;
    };
    if let Some(set) = sets.find(name, &place, path, problems) {
        compiled.insert_set(set, rule);
    }
}

fn is_floor(policy: &raw::Policy) -> bool {
    policy.floor.as_ref().is_some_and(|floor| floor.value)
}

struct Compiler<'a, 'p> {
    raw: &'a BTreeMap<String, Option<raw::Policy>>,
    sets: &'a Sets,
    credentials: &'a BTreeMap<String, Option<Arc<Credential>>>,
    services: &'a Services,
    problems: &'p mut Problems,
}

impl<'a> Compiler<'a, '_> {
    /// The policy below all others, where one says that it is.
    fn floor(&mut self) -> Option<Arc<Policy>> {
        let floors = self.raw.iter().filter_map(|(name, policy)| {
            let policy = policy.as_ref()?;
            is_floor(policy).then_some((name, policy))
        });
        let floors: Vec<_> = floors.collect();
        let policies = KeyPath::Key(&KeyPath::Top, "policies");
        for (name, policy) in floors.iter().skip(1) {
            let path = KeyPath::Key(&policies, name);
            let message = format!("the floor is {:?} already; there is one", floors[0].0);
            if let Some(floor) = &policy.floor {
                let path = KeyPath::Key(&path, "floor");
                self.problems.add(&floor.place, path, message);
            }
        }
        let (name, policy) = floors.first()?;
        let mut quiet = Problems::default();
        let mut compiler = Compiler {
            problems: &mut quiet,
            ..*self
        };
        let (floor, _credentials) = compiler.policy(name, policy)?;
        Some(Arc::new(floor))
    }

    fn policy(
        &mut self,
        name: &str,
        raw: &'a raw::Policy,
    ) -> Option<(Policy, Vec<Arc<Credential>>)> {
        let parts = self.parts(name, raw)?;
        let policies = KeyPath::Key(&KeyPath::Top, "policies");
        let path = KeyPath::Key(&policies, name);
        let path = KeyPath::Key(&path, "roots");
        let mut policy = Policy {
            roots: roots(&raw.roots, &path, self.problems),
            name: name.into(),
            mode: raw.mode,
            default: raw.default,
            tls: raw.tls,
            destination: raw.destination,
            true_errors: raw.true_errors,
            ..Policy::default()
        };
        let mut attached = Vec::new();
        let mut names = HashMap::new();
        for part in parts {
            attached.extend(self.part(part, raw, &mut policy, &mut names));
        }
        let mut attached: Vec<Arc<Credential>> = attached.into_iter().collect::<Option<_>>()?;
        let mut seen = Vec::new();
        attached.retain(|credential| {
            let is_new = !seen.contains(&Arc::as_ptr(credential));
            seen.push(Arc::as_ptr(credential));
            is_new
        });
        self.refer_rules(name, raw, &attached);
        Some((policy.ready(), attached))
    }

    /// What a policy's rules say of its credentials are names of such.
    fn refer_rules(&mut self, name: &str, raw: &raw::Policy, attached: &[Arc<Credential>]) {
        let known = attached.iter().map(|credential| &*credential.name);
        let known: Vec<&str> = known.collect();
        let policies = KeyPath::Key(&KeyPath::Top, "policies");
        let path = KeyPath::Key(&policies, name);
        let rules = KeyPath::Key(&path, "rules");
        for (index, rule) in raw.rules.iter().enumerate() {
            let path = KeyPath::Index(&rules, index);
            let path = KeyPath::Key(&path, "credentials");
            let named = rule.value.credentials.iter().flatten().enumerate();
            for (index, Placed { place, value }) in named {
                if !known.contains(&value.as_str()) {
                    let hint = match known.join(", ") {
                        none if none.is_empty() => "it has none".to_owned(),
                        names => format!("it has {names}"),
                    };
                    let message = format!("{value:?} is no credential of this policy; {hint}");
                    self.problems
                        .add(place, KeyPath::Index(&path, index), message);
                }
            }
        }
    }

    /// Adds one of a policy's parts to it; gives the part's credentials.
    fn part(
        &mut self,
        (name, part): (&str, &'a raw::Policy),
        own: &raw::Policy,
        policy: &mut Policy,
        names: &mut HashMap<&'a str, &'a Place>,
    ) -> Vec<Option<Arc<Credential>>> {
        let policies = KeyPath::Key(&KeyPath::Top, "policies");
        let path = KeyPath::Key(&policies, name);
        // What is wrong with a part is said where it is a policy of its own.
        let mut quiet = Problems::default();
        let problems = if std::ptr::eq(part, own) {
            &mut *self.problems
        } else {
            &mut quiet
        };
        for (list, key, targets) in [
            (List::Allow, "allow", &part.allow),
            (List::Deny, "deny", &part.deny),
            (List::Hosts, "passthrough", &part.passthrough),
        ] {
            let path = KeyPath::Key(&path, key);
            let into = match list {
                List::Allow => &mut policy.allow,
                List::Deny => &mut policy.deny,
                List::Hosts => &mut policy.passthrough,
            };
            add_targets(into, targets, list, self.sets, &path, problems);
        }
        let rules = KeyPath::Key(&path, "rules");
        for (index, written) in part.rules.iter().enumerate() {
            let path = KeyPath::Index(&rules, index);
            let own = &written.value.name;
            if let Some(first) = names.insert(own.value.as_str(), &own.place) {
                let message = format!("{:?} is already the rule at {first}", own.value);
                problems.add(&own.place, KeyPath::Key(&path, "name"), message);
            }
            let number = u32::try_from(names.len()).unwrap_or(u32::MAX);
            let known = (self.sets, self.services);
            rule::compile(written, number, policy, known, &path, problems);
        }
        let path = KeyPath::Key(&path, "credentials");
        let wanted = part.credentials.iter().enumerate();
        let attached = wanted.map(|(index, wanted)| {
            let path = KeyPath::Index(&path, index);
            refer(wanted, self.credentials, "credential", &path, problems).cloned()
        });
        attached.collect()
    }

    /// A policy and all that it extends, each once, its own first.
    fn parts(
        &mut self,
        name: &str,
        raw: &'a raw::Policy,
    ) -> Option<Vec<(&'a str, &'a raw::Policy)>> {
        let known = self.raw;
        let own = known.get_key_value(name).map_or("", |(name, _)| name);
        let mut parts: Vec<(&'a str, &'a raw::Policy)> = vec![(own, raw)];
        let policies = KeyPath::Key(&KeyPath::Top, "policies");
        let mut at = 0;
        while let Some((within, part)) = parts.get(at).copied() {
            at += 1;
            let path = KeyPath::Key(&policies, within);
            let path = KeyPath::Key(&path, "extends");
            for (index, wanted) in part.extends.iter().enumerate() {
                let path = KeyPath::Index(&path, index);
                if wanted.value == name {
                    let message = format!("{name:?} would extend itself");
                    self.problems.add(&wanted.place, path, message);
                    return None;
                }
                if parts.iter().any(|(part, _)| *part == wanted.value) {
                    continue;
                }
                let mut quiet = Problems::default();
                let problems = if std::ptr::eq(part, raw) {
                    &mut *self.problems
                } else {
                    &mut quiet
                };
                refer(wanted, known, "policy", &path, problems)?;
                let (name, extended) = known.get_key_value(&wanted.value)?;
                parts.push((name, extended.as_ref()?));
            }
        }
        Some(parts)
    }
}
