//! Sets of hosts: those of the configuration, of files, and built in.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::group;
use super::kind::compound::Placed;
use super::problem::{KeyPath, Problems};
use super::raw;
use super::section::nearest;
use crate::model::place::Place;
use crate::model::set::HostSet;
use crate::model::target::{Pattern, Target};

/// Every set, by name. One that has a problem of its own is `None`.
pub(super) struct Sets {
    by_name: HashMap<String, Option<Arc<HostSet>>>,
    built_in: HashMap<&'static str, Arc<HostSet>>,
}

impl Sets {
    /// Reads every set, and its file.
    pub(super) fn read(
        raw: impl IntoIterator<Item = (String, Option<raw::Set>)>,
        problems: &mut Problems,
    ) -> Self {
        let sets = KeyPath::Key(&KeyPath::Top, "sets");
        let mut by_name = HashMap::new();
        for (name, raw) in raw {
            let path = KeyPath::Key(&sets, &name);
            let set = raw.and_then(|raw| read(&name, raw, &path, problems));
            by_name.insert(name, set);
        }
        let built_in = group::all();
        Self { by_name, built_in }
    }

    /// The set that a target names; says what is wrong where there is none.
    pub(super) fn find(
        &self,
        name: &str,
        place: &Place,
        path: &KeyPath<'_>,
        problems: &mut Problems,
    ) -> Option<Arc<HostSet>> {
        if let Some(known) = self.by_name.get(name) {
            return known.clone();
        }
        if let Some(built_in) = self.built_in.get(name) {
            return Some(Arc::clone(built_in));
        }
        let mut names: Vec<_> = self.by_name.keys().map(String::as_str).collect();
        names.extend(self.built_in.keys());
        names.sort_unstable();
        let hint = match nearest(name, &names) {
            Some(nearest) => format!("did you mean \"@{nearest}\"?"),
            None => format!("there is {}", names.join(", ")),
        };
        problems.add(place, path, format!("no set is called {name:?}; {hint}"));
        None
    }
}

fn read(
    name: &str,
    raw: raw::Set,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<Arc<HostSet>> {
    let mut set = HostSet {
        name: name.into(),
        place: raw.hosts.first().map(|first| first.place.clone()),
        hosts: Default::default(),
    };
    let within = KeyPath::Key(path, "hosts");
    for (index, Placed { place, value }) in raw.hosts.into_iter().enumerate() {
        match bare(value) {
            Ok(pattern) => *set.hosts.slot(pattern) = place.line,
            Err(why) => problems.add(&place, KeyPath::Index(&within, index), why),
        }
    }
    if let Some(Placed { place, value }) = raw.file {
        read_file(
            &mut set,
            &value,
            &place,
            &KeyPath::Key(path, "file"),
            problems,
        )?;
    }
    Some(Arc::new(set))
}

/// What stands in a set: hosts and nothing else.
fn bare(target: Target) -> Result<Pattern, String> {
    let text = &target.text;
    if target.scheme.is_some() || target.port.is_some() {
        return Err(format!(
            "{text:?}: a set is of hosts; scheme and port stand where it is used, as in \"https://@name:8443\""
        ));
    }
    match target.pattern {
        Pattern::Any | Pattern::Set(_) => Err(format!("{text:?} is no host of a set")),
        pattern @ (Pattern::Exact(_)
        | Pattern::Below(_)
        | Pattern::Glob(_)
        | Pattern::Network(_)) => Ok(pattern),
    }
}

fn read_file(
    set: &mut HostSet,
    file: &Path,
    place: &Place,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<()> {
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            let message = format!("cannot read {}: {error}", file.display());
            problems.add(place, path, message);
            return None;
        }
    };
    let start = Place {
        file: file.into(),
        line: 1,
        column: 1,
    };
    let mut amiss = 0;
    for (number, line) in (1..).zip(text.lines()) {
        let entry = line.split('#').next().unwrap_or_default().trim();
        if entry.is_empty() {
            continue;
        }
        let target = entry.parse::<Target>();
        let pattern = target
            .map_err(|why| format!("{entry:?}: {why}"))
            .and_then(bare);
        match pattern {
            Ok(pattern) => *set.hosts.slot(pattern) = number,
            Err(why) => {
                amiss += 1;
                let place = Place {
                    line: number,
                    ..start.clone()
                };
                // A file of another kind is wrong in every line.
                if amiss <= MAX_PROBLEMS {
                    problems.add(&place, path, why);
                }
            }
        }
    }
    set.place = Some(start);
    (amiss == 0).then_some(())
}

const MAX_PROBLEMS: usize = 10;
