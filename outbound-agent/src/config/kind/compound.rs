//! Kinds made of kinds.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::net::IpAddr;

use serde_json::Value as Json;

use super::{Address, Kind, refuse};
use crate::config::document::{Node, Value};
use crate::config::problem::{KeyPath, Problems};
use crate::config::schema;
use crate::config::section::Section;
use crate::model::host::Host;
use crate::model::place::Place;

/// An array.
pub(in crate::config) struct List<K>(PhantomData<K>);

impl<K: Kind> Kind for List<K> {
    type Out = Vec<K::Out>;

    fn accepted() -> String {
        format!("an array; each of it {}", K::accepted())
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        let Value::Array(nodes) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        let read = nodes
            .iter()
            .enumerate()
            .map(|(index, node)| K::read(node, &KeyPath::Index(path, index), problems));
        // All of them first: each says what is wrong with it.
        let read: Vec<_> = read.collect();
        read.into_iter().collect()
    }

    fn show(value: &Self::Out) -> Option<String> {
        let members: Vec<_> = value.iter().filter_map(K::show).collect();
        Some(format!("[{}]", members.join(", ")))
    }

    fn schema() -> Json {
        schema::array(K::schema())
    }
}

/// A key that has no value where it is left out.
pub(in crate::config) struct Optional<K>(PhantomData<K>);

impl<K: Kind> Kind for Optional<K> {
    type Out = Option<K::Out>;

    fn accepted() -> String {
        K::accepted()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        K::read(node, path, problems).map(Some)
    }

    fn show(value: &Self::Out) -> Option<String> {
        value.as_ref().and_then(K::show)
    }

    fn schema() -> Json {
        K::schema()
    }
}

/// A table within a table.
pub(in crate::config) struct Nested<S>(PhantomData<S>);

impl<S: Section> Kind for Nested<S> {
    type Out = S;

    fn accepted() -> String {
        "a table".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<S> {
        S::read(node, path, problems)
    }

    /// Only a table without keys is ever shown: that is the default.
    fn show(_value: &S) -> Option<String> {
        Some("{}".to_owned())
    }

    fn schema() -> Json {
        schema::section::<S>()
    }
}

/// A value that knows where it is written.
#[derive(Clone, Debug)]
pub(in crate::config) struct Placed<T> {
    pub(in crate::config) place: Place,
    pub(in crate::config) value: T,
}

/// A kind whose place is kept.
pub(in crate::config) struct InPlace<K>(PhantomData<K>);

impl<K: Kind> Kind for InPlace<K> {
    type Out = Placed<K::Out>;

    fn accepted() -> String {
        K::accepted()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        let value = K::read(node, path, problems)?;
        let place = node.place.clone();
        Some(Placed { place, value })
    }

    fn show(value: &Self::Out) -> Option<String> {
        K::show(&value.value)
    }

    fn schema() -> Json {
        K::schema()
    }
}

/// A table from names to their addresses.
pub(in crate::config) struct HostTable;

impl Kind for HostTable {
    type Out = HashMap<Host, Vec<IpAddr>>;

    fn accepted() -> String {
        "a table from names to arrays of addresses, as in { \"db.internal\" = [\"192.0.2.7\"] }"
            .to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        let Value::Table(table) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        let mut hosts = HashMap::new();
        for (key, entry) in &table.0 {
            let path = KeyPath::Key(path, key);
            let addresses = List::<Address>::read(&entry.node, &path, problems);
            match key.parse() {
                Ok(Host::Address(_)) => problems.add(
                    &entry.place,
                    path,
                    "an address needs no look-up; write a name",
                ),
                Err(why) => problems.add(&entry.place, path, format!("{why}; write a name")),
                Ok(host) => {
                    if hosts.insert(host, addresses.unwrap_or_default()).is_some() {
                        problems.add(
                            &entry.place,
                            path,
                            "is there in another spelling; write it once",
                        );
                    }
                }
            }
        }
        Some(hosts)
    }

    fn show(value: &Self::Out) -> Option<String> {
        let mut members: Vec<_> = value
            .iter()
            .filter_map(|(host, addresses)| {
                let addresses = List::<Address>::show(addresses)?;
                Some(format!("\"{host}\" = {addresses}"))
            })
            .collect();
        members.sort();
        let members = members.join(", ");
        Some(if members.is_empty() {
            "{}".to_owned()
        } else {
            format!("{{ {members} }}")
        })
    }

    fn schema() -> Json {
        schema::table_of(List::<Address>::schema())
    }
}
