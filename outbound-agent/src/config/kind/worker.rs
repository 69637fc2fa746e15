//! Kinds that only outbound workers have.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use http::Uri;
use serde_json::{Number, Value as Json};

use super::compound::{InPlace, Placed};
use super::{Kind, TextKind, refuse};
use crate::config::document::{Entry, Node, Table, Value};
use crate::config::problem::{KeyPath, Problems};
use crate::config::raw::Network;
use crate::config::schema;
use crate::config::secret::{SecretReference, SecretText};
use crate::config::section::Section;
use crate::model::worker::Values;

/// A table within a table.
pub(in crate::config) struct Inline<S>(PhantomData<S>);

impl<S: Section> Kind for Inline<S> {
    type Out = S;

    fn accepted() -> String {
        let keys: Vec<_> = S::keys().iter().map(|key| key.name).collect();
        format!("a table of {}", keys.join(", "))
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<S> {
        S::read(node, path, problems)
    }

    fn show(_value: &S) -> Option<String> {
        None
    }

    fn schema() -> Json {
        schema::section::<S>()
    }
}

/// A table of whatever JSON can say.
pub(in crate::config) struct Members;

impl Kind for Members {
    type Out = Values;

    fn accepted() -> String {
        "a table of strings, numbers, booleans, arrays and tables".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Values> {
        let Value::Table(table) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        members(table, path, problems)
    }

    fn show(value: &Values) -> Option<String> {
        value.is_empty().then(|| "{}".to_owned())
    }

    fn schema() -> Json {
        schema::table_of(true.into())
    }
}

fn members(table: &Table, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Values> {
    let read = |(name, entry): (&String, &Entry)| {
        Some((
            name.clone(),
            json(&entry.node, &KeyPath::Key(path, name), problems)?,
        ))
    };
    // All of them first: each says what is wrong with it.
    let read: Vec<_> = table.0.iter().map(read).collect();
    read.into_iter().collect()
}

fn json(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Json> {
    Some(match &node.value {
        Value::Text(text) => text.clone().into(),
        Value::Integer(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
        Value::Array(nodes) => {
            let read = nodes
                .iter()
                .enumerate()
                .map(|(index, node)| json(node, &KeyPath::Index(path, index), problems));
            let read: Vec<_> = read.collect();
            Json::Array(read.into_iter().collect::<Option<_>>()?)
        }
        Value::Table(table) => members(table, path, problems)?.into(),
        Value::Other(text) => {
            let number = text
                .replace('_', "")
                .parse()
                .ok()
                .and_then(Number::from_f64);
            let Some(number) = number else {
                let message = format!("{text} is not accepted; write it as a string");
                problems.add(&node.place, path, message);
                return None;
            };
            number.into()
        }
    })
}

/// Secrets by their names on `env`.
pub(in crate::config) type WrittenSecrets = Vec<(String, Placed<SecretReference>)>;

/// A table from names to references.
pub(in crate::config) struct Secrets;

impl Kind for Secrets {
    type Out = WrittenSecrets;

    fn accepted() -> String {
        format!("a table; each of it {}", SecretText::accepted())
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<WrittenSecrets> {
        let Value::Table(table) = &node.value else {
            let message = format!(
                "the value (not shown) is not accepted; write {}",
                Self::accepted()
            );
            problems.add(&node.place, path, message);
            return None;
        };
        let mut secrets = Vec::new();
        for (name, entry) in &table.0 {
            let path = KeyPath::Key(path, name);
            let read = InPlace::<SecretText>::read(&entry.node, &path, problems);
            secrets.push(read.map(|secret| (name.clone(), secret)));
        }
        secrets.into_iter().collect()
    }

    fn show(value: &WrittenSecrets) -> Option<String> {
        value.is_empty().then(|| "{}".to_owned())
    }

    fn schema() -> Json {
        schema::table_of(SecretText::schema())
    }
}

/// The path of a module, from the directory of the file that names it.
pub(in crate::config) struct ModulePath;

impl ModulePath {
    /// The path from the directory that the agent was started in, or from the root.
    pub(in crate::config) fn resolve(written: &Placed<PathBuf>) -> PathBuf {
        let directory = written.place.file.parent().unwrap_or(Path::new(""));
        directory.join(&written.value)
    }
}

impl TextKind for ModulePath {
    type Out = PathBuf;
    const ACCEPTED: &str = "the path of a .js, .mjs or .ts file, from the directory of this file";

    fn parse(text: &str) -> Result<PathBuf, Option<String>> {
        let path = PathBuf::from(text);
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension {
            Some("js" | "mjs" | "ts") if !text.contains('\0') => Ok(path),
            _ => Err(None),
        }
    }

    fn show(value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// Where a worker that somebody else runs is reached.
pub(in crate::config) struct WorkerUrl;

impl TextKind for WorkerUrl {
    type Out = Uri;
    const ACCEPTED: &str =
        "http://host:port without a path or query, as in \"http://127.0.0.1:8787\"";

    fn parse(text: &str) -> Result<Uri, Option<String>> {
        let uri: Uri = text.parse().map_err(|_invalid| None)?;
        let is_bare = uri.path() == "/" && uri.query().is_none();
        let is_named = uri.host().is_some_and(|host| !host.is_empty());
        let has_user = uri.authority().is_some_and(|a| a.as_str().contains('@'));
        if uri.scheme_str() == Some("http") && is_bare && is_named && !has_user {
            Ok(uri)
        } else {
            Err(None)
        }
    }

    fn show(value: &Uri) -> String {
        value.to_string()
    }
}

/// What a worker may reach by itself.
pub(in crate::config) struct NetworkText;

impl TextKind for NetworkText {
    type Out = Network;
    const ACCEPTED: &str = "\"public\", or \"private:\" and a range, as in \"private:10.0.0.0/8\"";

    fn parse(text: &str) -> Result<Network, Option<String>> {
        match text.split_once(':') {
            None if text == "public" => Ok(Network::Public),
            Some(("private", range)) => match range.parse::<ipnet::IpNet>() {
                Ok(network) if network.trunc() == network => Ok(Network::Private(network)),
                Ok(network) => Err(Some(format!(
                    "has bits set behind its prefix; write private:{}",
                    network.trunc()
                ))),
                Err(_invalid) => Err(None),
            },
            Some(_) | None => Err(None),
        }
    }

    fn show(value: &Network) -> String {
        match value {
            Network::Public => "public".to_owned(),
            Network::Private(network) => format!("private:{network}"),
        }
    }
}
