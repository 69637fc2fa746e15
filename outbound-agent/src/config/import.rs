//! A Wrangler configuration, as far as it speaks of dispatch and outbound workers, as one of ours.

mod write;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use super::document::{Entry, Node, Table, Value};
use super::problem::{KeyPath, Problem, Problems};
use super::{Error, parse};
use crate::model::place::Place;
use write::Written;

/// What was taken over, and what was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A file of the configuration.
    pub text: String,
    /// What it does not have, each with its place in the other.
    pub left: Vec<Problem>,
}

/// Reads `wrangler.toml`, `wrangler.json` or `wrangler.jsonc`.
pub fn import(path: &Path) -> Result<Imported, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    read(&text, path)
}

fn read(text: &str, path: &Path) -> Result<Imported, Error> {
    let mut problems = Problems::default();
    let is_toml = path.extension().is_some_and(|kind| kind == "toml");
    let table = match is_toml {
        true => Table::parse(text, path, &mut problems),
        false => Table::parse_jsonc(text, path, &mut problems),
    };
    problems.none_or(Some(())).map_err(Error::Invalid)?;
    let mut import = Import::new(path);
    import.all(table);
    let Import { written, left, .. } = import;
    let text = written.text(path);
    // What is printed is right, or is not printed.
    parse(&text, Path::new("what would be printed"))?;
    Ok(Imported {
        text,
        left: left.sorted(),
    })
}

/// An import under way.
struct Import {
    /// Where the other's relative paths begin.
    directory: PathBuf,
    written: Written,
    left: Problems,
}

/// The worker that the file itself configures.
struct Own {
    name: Option<(Entry, String)>,
    main: Option<Entry>,
    vars: Option<Entry>,
    limits: Option<Entry>,
}

/// A service to which a namespace's requests go.
struct Wanted {
    name: String,
    parameters: Vec<String>,
    /// Where it is named.
    place: Place,
    key: String,
}

impl Import {
    fn new(path: &Path) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_unreadable| path.to_owned());
        Self {
            directory: path.parent().unwrap_or(Path::new("/")).to_owned(),
            written: Written::default(),
            left: Problems::default(),
        }
    }

    fn all(&mut self, mut table: Table) {
        let name = table.0.remove("name");
        let own = Own {
            name: name.and_then(|name| {
                let text = text(&name.node)?.to_owned();
                Some((name, text))
            }),
            main: table.0.remove("main"),
            vars: table.0.remove("vars"),
            limits: table.0.remove("limits"),
        };
        let namespaces = table.0.remove("dispatch_namespaces");
        let wanted = match namespaces {
            Some(namespaces) => self.namespaces(namespaces),
            None => Vec::new(),
        };
        self.services(own, wanted);
        for (key, entry) in table.0 {
            let message = match key.as_str() {
                "$schema" | "compatibility_date" | "compatibility_flags" => "means nothing here",
                "env" => "environments are not read; import a file that has this one at its top",
                _ => NO_COUNTERPART,
            };
            self.leave(&entry, KeyPath::Key(&KeyPath::Top, &key), message);
        }
    }

    fn namespaces(&mut self, entry: Entry) -> Vec<Wanted> {
        let path = KeyPath::Key(&KeyPath::Top, "dispatch_namespaces");
        let Value::Array(nodes) = entry.node.value else {
            self.left.add(&entry.place, path, "is no list of tables");
            return Vec::new();
        };
        let mut wanted = Vec::new();
        for (index, node) in nodes.into_iter().enumerate() {
            let path = KeyPath::Index(&path, index);
            let Value::Table(mut table) = node.value else {
                self.left.add(&node.place, path, "is no table");
                continue;
            };
            let binding = self.text(&mut table, "binding", &path);
            let namespace = self.text(&mut table, "namespace", &path);
            let outbound = table.0.remove("outbound");
            let outbound = outbound.and_then(|outbound| self.outbound(outbound, &path));
            self.leave_all(table, &path);
            let (Some(binding), Some(namespace)) = (binding, namespace) else {
                let message = "needs the keys `binding` and `namespace`, each a text";
                self.left.add(&node.place, path, message);
                continue;
            };
            let bound = outbound.as_ref().map(|(wanted, entrypoint)| {
                (
                    wanted.name.as_str(),
                    entrypoint.as_deref(),
                    &*wanted.parameters,
                )
            });
            self.written.namespace(&binding, &namespace, bound);
            wanted.extend(outbound.map(|(outbound, _)| outbound));
        }
        wanted
    }

    fn outbound(&mut self, entry: Entry, path: &KeyPath<'_>) -> Option<(Wanted, Option<String>)> {
        let path = KeyPath::Key(path, "outbound");
        let Value::Table(mut table) = entry.node.value else {
            self.left.add(&entry.place, path, "is no table");
            return None;
        };
        let place = table.0.get("service").map(|service| service.place.clone());
        let service = self.text(&mut table, "service", &path);
        let entrypoint = self.text(&mut table, "entrypoint", &path);
        let parameters = self.parameters(&mut table, &path);
        self.leave_all(table, &path);
        let Some((name, place)) = service.zip(place) else {
            let message = "needs the key `service`, a text";
            self.left.add(&entry.place, path, message);
            return None;
        };
        let wanted = Wanted {
            name,
            parameters,
            place,
            key: KeyPath::Key(&path, "service").to_string(),
        };
        Some((wanted, entrypoint))
    }

    fn parameters(&mut self, table: &mut Table, path: &KeyPath<'_>) -> Vec<String> {
        let Some(entry) = table.0.remove("parameters") else {
            return Vec::new();
        };
        let path = KeyPath::Key(path, "parameters");
        let Value::Array(nodes) = &entry.node.value else {
            self.left.add(&entry.place, path, "is no list of names");
            return Vec::new();
        };
        let mut names = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            match text(node) {
                Some(name) => names.push(name.to_owned()),
                None => self
                    .left
                    .add(&node.place, KeyPath::Index(&path, index), "is no name"),
            }
        }
        names
    }

    /// The file's own worker where a namespace names it, or where there is no namespace; of the
    /// others there is only the name.
    fn services(&mut self, own: Own, wanted: Vec<Wanted>) {
        let name = own.name.as_ref().map(|(_, name)| name.clone());
        let is_own = |service: &Wanted| Some(&service.name) == name.as_ref();
        let is_alone = wanted.is_empty() && own.main.is_some();
        let mut parameters: Vec<String> = Vec::new();
        let mut others: Vec<Wanted> = Vec::new();
        let mut is_wanted = false;
        for service in wanted {
            if is_own(&service) {
                is_wanted = true;
                parameters.extend(service.parameters);
            } else if others.iter().all(|other| other.name != service.name) {
                others.push(service);
            }
        }
        match name {
            Some(name) if is_wanted || is_alone => self.own(&name, own, &parameters),
            Some(_) | None => self.leave_own(own, is_alone),
        }
        for Wanted {
            name, place, key, ..
        } in others
        {
            let message = format!(
                "{name:?} is configured elsewhere: its `main` is to be named in what is printed"
            );
            self.left.add(&place, key, message);
            self.written.elsewhere(&name);
        }
    }

    fn own(&mut self, name: &str, own: Own, parameters: &[String]) {
        let Own {
            main, vars, limits, ..
        } = own;
        let main = main.and_then(|main| self.main(&main));
        let vars = vars.map(|vars| self.vars(vars, parameters));
        let cpu = limits.and_then(|limits| self.limits(limits));
        self.written.service(name, main.as_deref(), vars, cpu);
    }

    fn main(&mut self, entry: &Entry) -> Option<String> {
        let path = KeyPath::Key(&KeyPath::Top, "main");
        let Some(main) = text(&entry.node) else {
            self.left.add(&entry.place, path, "is no path");
            return None;
        };
        let absolute = self.directory.join(main);
        let kind = absolute.extension().and_then(|kind| kind.to_str());
        if !matches!(kind, Some("js" | "mjs")) {
            let message = format!(
                "{main:?} is no JavaScript; compile it (`wrangler deploy --dry-run --outdir dist`) \
                 and name what that gives"
            );
            self.left.add(&entry.place, path, message);
            return None;
        }
        Some(absolute.display().to_string())
    }

    fn vars(&mut self, entry: Entry, parameters: &[String]) -> toml::Table {
        let path = KeyPath::Key(&KeyPath::Top, "vars");
        let Value::Table(table) = entry.node.value else {
            self.left.add(&entry.place, path, "is no table");
            return toml::Table::new();
        };
        let mut vars = toml::Table::new();
        for (name, entry) in table.0 {
            let path = KeyPath::Key(&path, &name);
            if parameters.contains(&name) {
                let message = "is a parameter as well, which is what the worker finds";
                self.left.add(&entry.place, path, message);
                continue;
            }
            match write::value(&entry.node) {
                Ok(value) => {
                    vars.insert(name, value);
                }
                Err(place) => {
                    let message = "has a value that no configuration of ours can hold (null or a \
                                   date); write it as a text";
                    self.left.add(&place, path, message);
                }
            }
        }
        vars
    }

    fn limits(&mut self, entry: Entry) -> Option<i64> {
        let path = KeyPath::Key(&KeyPath::Top, "limits");
        let Value::Table(mut table) = entry.node.value else {
            self.left.add(&entry.place, path, "is no table");
            return None;
        };
        let cpu = table.0.remove("cpu_ms");
        self.leave_all(table, &path);
        let cpu = cpu?;
        let Value::Integer(millis @ 1..) = cpu.node.value else {
            let message = "is no number of milliseconds";
            self.left
                .add(&cpu.place, KeyPath::Key(&path, "cpu_ms"), message);
            return None;
        };
        Some(millis)
    }

    /// The file's worker is the dispatcher, or has no name.
    fn leave_own(&mut self, own: Own, is_alone: bool) {
        let (main, others) = match is_alone {
            true => (
                "belongs to a worker without a `name`",
                "belongs to a worker without a `name`",
            ),
            false => (
                "is the dispatcher, which is a program of your own here: docs/workers.md",
                "belongs to the dispatcher, which is a program of your own here: docs/workers.md",
            ),
        };
        let of = |key| KeyPath::Key(&KeyPath::Top, key);
        for (key, entry) in [("vars", own.vars), ("limits", own.limits)] {
            if let Some(entry) = entry {
                self.leave(&entry, of(key), others);
            }
        }
        if let Some(entry) = own.main {
            self.leave(&entry, of("main"), main);
        }
        if let Some((entry, _name)) = own.name {
            self.leave(
                &entry,
                of("name"),
                "is the dispatcher's, and means nothing here",
            );
        }
    }

    fn text(&mut self, table: &mut Table, key: &str, path: &KeyPath<'_>) -> Option<String> {
        let entry = table.0.remove(key)?;
        let found = text(&entry.node).map(str::to_owned);
        if found.is_none() {
            let message = format!("{} is no text", entry.node.shown());
            self.left
                .add(&entry.place, KeyPath::Key(path, key), message);
        }
        found
    }

    fn leave_all(&mut self, table: Table, path: &KeyPath<'_>) {
        for (key, entry) in table.0 {
            self.leave(&entry, KeyPath::Key(path, &key), NO_COUNTERPART);
        }
    }

    fn leave(&mut self, entry: &Entry, path: KeyPath<'_>, message: &str) {
        self.left.add(&entry.place, path, message);
    }
}

const NO_COUNTERPART: &str = "has no counterpart here";

fn text(node: &Node) -> Option<&str> {
    match &node.value {
        Value::Text(text) => Some(text),
        Value::Integer(_)
        | Value::Boolean(_)
        | Value::Array(_)
        | Value::Table(_)
        | Value::Other(_) => None,
    }
}
