//! The files as one tree of values, each of which knows where it is written.

mod jsonc;

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{KeyPath, Problems};
use crate::model::place::Place;

/// A value.
pub(super) struct Node {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// What TOML has, as far as we use it.
pub(super) enum Value {
    Text(String),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A number or a date that no key takes, as written.
    Other(String),
}

/// Keys and values.
#[derive(Default)]
pub(super) struct Table(pub(super) BTreeMap<String, Entry>);

/// A key's place and value.
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) node: Node,
}

impl Table {
    /// Reads one file.
    pub(super) fn parse(text: &str, file: &Path, problems: &mut Problems) -> Self {
        let source = Source::new(text, file);
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let place = source.place(&error.span().unwrap_or(0..0));
            problems.add(&place, KeyPath::Top, error.message().trim_end());
        }
        source.table(table.into_inner())
    }

    /// Adds another file's keys: tables and arrays of tables grow, any other key may be
    /// written once.
    pub(super) fn merge(&mut self, other: Self, path: &KeyPath<'_>, problems: &mut Problems) {
        for (key, entry) in other.0 {
            let slot = match self.0.entry(key) {
                btree_map::Entry::Vacant(slot) => {
                    slot.insert(entry);
                    continue;
                }
                btree_map::Entry::Occupied(slot) => slot,
            };
            let key = slot.key().clone();
            let path = KeyPath::Key(path, &key);
            let first = slot.into_mut();
            match (&mut first.node.value, entry.node.value) {
                (Value::Table(into), Value::Table(table)) => into.merge(table, &path, problems),
                (Value::Array(into), Value::Array(nodes))
                    if into.iter().chain(&nodes).all(Node::is_table) =>
                {
                    into.extend(nodes);
                }
                _ => problems.add(
                    &entry.place,
                    path,
                    format!("is also written at {}; write it once", first.place),
                ),
            }
        }
    }
}

impl Node {
    const fn is_table(&self) -> bool {
        matches!(self.value, Value::Table(_))
    }

    /// The value as an error shows it.
    pub(super) fn shown(&self) -> String {
        match &self.value {
            Value::Text(text) => format!("{text:?}"),
            Value::Integer(number) => number.to_string(),
            Value::Boolean(value) => value.to_string(),
            Value::Array(_) => "an array".to_owned(),
            Value::Table(_) => "a table".to_owned(),
            Value::Other(text) => text.clone(),
        }
    }
}

/// A file while it is read: turns octets into lines and characters.
struct Source<'a> {
    text: &'a str,
    file: Arc<Path>,
    line_starts: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(text: &'a str, file: &Path) -> Self {
        let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            file: file.into(),
            line_starts: std::iter::once(0).chain(breaks).collect(),
        }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let at = span.start.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= at);
        let before = self.text.get(self.line_starts[line - 1]..at);
        let column = 1 + before.map_or(0, |before| before.chars().count());
        Place {
            file: Arc::clone(&self.file),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
        }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let entry = |(key, value): (Spanned<_>, _)| {
            let place = self.place(&key.span());
            let node = self.node(value);
            (
                std::borrow::Cow::into_owned(key.into_inner()),
                Entry { place, node },
            )
        };
        Table(table.into_iter().map(entry).collect())
    }

    fn array(&self, array: DeArray<'_>) -> Vec<Node> {
        array.into_iter().map(|value| self.node(value)).collect()
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let place = self.place(&value.span());
        let value = match value.into_inner() {
            DeValue::String(text) => Value::Text(text.into_owned()),
            DeValue::Integer(number) => {
                match i64::from_str_radix(number.as_str(), number.radix()) {
                    Ok(value) => Value::Integer(value),
                    Err(_too_large) => Value::Other(number.as_str().to_owned()),
                }
            }
            DeValue::Float(number) => Value::Other(number.as_str().to_owned()),
            DeValue::Boolean(value) => Value::Boolean(value),
            DeValue::Datetime(date) => Value::Other(date.to_string()),
            DeValue::Array(array) => Value::Array(self.array(array)),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { place, value }
    }
}
