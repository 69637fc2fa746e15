//! What differs between two configurations and cannot be changed while the agent runs.

use std::collections::HashMap;
use std::path::Path;

use super::Config;
use super::document::{Table, Value};
use super::problem::Problems;
use super::section::Section;
use crate::model::place::Place;

/// Keys of `[agent]` and `[tls]` that take effect while the agent runs.
const LIVE: [&str; 3] = ["agent.log_level", "agent.watch", "tls.roots"];

/// Each key in which `new` differs from `now` and that only a start brings into effect; each is
/// told with its place.
pub fn needs_restart(now: &Config, new: &Config) -> Result<(), Problems> {
    let mut problems = Problems::default();
    let mut differ = |key: String| {
        let message = "cannot change while the agent runs: it needs a restart";
        problems.add(&new.place_of(&key), key, message);
    };
    for (before, after) in fixed(now).into_iter().zip(fixed(new)) {
        if before != after && !LIVE.contains(&after.0.as_str()) {
            differ(after.0);
        }
    }
    let is_watched = |cgroup| new.agent.watch.contains(cgroup);
    if !now.agent.watch.iter().all(is_watched) {
        differ("agent.watch".to_owned());
    }
    let waits = |config: &Config| config.policies.iter().any(|policy| policy.true_errors);
    if !waits(now)
        && let Some(policy) = new.policies.iter().find(|policy| policy.true_errors)
    {
        let table = format!("policies.{}", policy.name);
        let message = "needs a restart, because no policy had it when the agent started";
        problems.add(
            &new.place_of(&table),
            format!("{table}.true_errors"),
            message,
        );
    }
    problems.none_or(Some(()))
}

/// The keys of the tables of which most are read once, and their values.
fn fixed(config: &Config) -> Vec<(String, Option<String>)> {
    let mut keys = Vec::new();
    let Config {
        agent,
        access_log,
        limits,
        tls,
        ..
    } = config;
    add(&mut keys, "agent", agent);
    add(&mut keys, "access_log", access_log);
    add(&mut keys, "limits", limits);
    add(&mut keys, "tls", tls);
    keys
}

fn add<S: Section>(keys: &mut Vec<(String, Option<String>)>, table: &str, section: &S) {
    let shown = section.shown().into_iter();
    keys.extend(shown.map(|(key, value)| (format!("{table}.{key}"), value)));
}

/// Where the keys of every table are written, as in `agent.port`.
pub(super) fn places(table: &Table) -> HashMap<String, Place> {
    let mut places = HashMap::new();
    for (name, section) in &table.0 {
        let Value::Table(keys) = &section.node.value else {
            continue;
        };
        places.insert(name.clone(), section.place.clone());
        for (key, entry) in &keys.0 {
            places.insert(format!("{name}.{key}"), entry.place.clone());
        }
    }
    places
}

impl Config {
    /// The file that it stands in, drop-ins aside.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Where a key is written; where it is not, its table, or the beginning of the file.
    fn place_of(&self, key: &str) -> Place {
        let table = key.split('.').next().unwrap_or_default();
        let place = self.written.get(key).or_else(|| self.written.get(table));
        place.cloned().unwrap_or_else(|| Place {
            file: self.file.as_path().into(),
            line: 1,
            column: 1,
        })
    }
}
