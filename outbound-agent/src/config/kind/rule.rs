//! The kinds of value that rules are made of.

use std::marker::PhantomData;
use std::sync::Arc;

use http::{HeaderName, StatusCode};
use ipnet::IpNet;
use serde_json::{Value as Json, json};

use super::compound::Placed;
use super::{Kind, TextKind, refuse};
use crate::config::document::{Node, Value};
use crate::config::expression;
use crate::config::problem::{KeyPath, Problems};
use crate::config::schema;
use crate::config::section::Section;
use crate::model::expression::When;
use crate::model::pattern::Glob;
use crate::model::rule::Presence;
use crate::model::target::{Pattern, Ports, Scheme, Target};

/// One, or an array of them.
pub(in crate::config) struct Few<K>(PhantomData<K>);

impl<K: Kind> Kind for Few<K> {
    type Out = Vec<K::Out>;

    fn accepted() -> String {
        format!("one or an array; each {}", K::accepted())
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        let Value::Array(nodes) = &node.value else {
            return K::read(node, path, problems).map(|one| vec![one]);
        };
        if nodes.is_empty() {
            problems.add(
                &node.place,
                path,
                "is empty, which nothing can meet; leave it out",
            );
            return None;
        }
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
        (!members.is_empty()).then(|| format!("[{}]", members.join(", ")))
    }

    fn schema() -> Json {
        let mut several = schema::array(K::schema());
        several["minItems"] = 1.into();
        json!({ "anyOf": [K::schema(), several] })
    }
}

/// An array of tables.
pub(in crate::config) struct Tables<S>(PhantomData<S>);

impl<S: Section> Kind for Tables<S> {
    type Out = Vec<Placed<S>>;

    fn accepted() -> String {
        "tables of their own, below".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        let Value::Array(nodes) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        let read = nodes.iter().enumerate().map(|(index, node)| {
            let value = S::read(node, &KeyPath::Index(path, index), problems)?;
            let place = node.place.clone();
            Some(Placed { place, value })
        });
        let read: Vec<_> = read.collect();
        read.into_iter().collect()
    }

    fn show(_value: &Self::Out) -> Option<String> {
        None
    }

    fn schema() -> Json {
        schema::array(schema::section::<S>())
    }
}

/// A port, or every.
pub(in crate::config) struct PortText;

impl Kind for PortText {
    type Out = Ports;

    fn accepted() -> String {
        "a port, 1 to 65535, or \"*\" for every".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Ports> {
        match &node.value {
            Value::Text(text) if text == "*" => Some(Ports::Every),
            Value::Integer(number) => u16::try_from(*number)
                .ok()
                .filter(|port| *port > 0)
                .map(Ports::One),
            Value::Text(_)
            | Value::Boolean(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Other(_) => None,
        }
        .or_else(|| {
            refuse::<Self>(node, path, problems);
            None
        })
    }

    fn show(value: &Ports) -> Option<String> {
        match value {
            Ports::Every => Some("\"*\"".to_owned()),
            Ports::Web => None,
            Ports::One(port) => Some(port.to_string()),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "const": "*" }, { "type": "integer", "minimum": 1, "maximum": 65535 }] })
    }
}

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Spoken {
    Http,
    Https,
    Tcp,
    /// Look-ups of names.
    Names,
}

super::words!(SpokenText: Spoken, "\"http\", \"https\", \"tcp\" or \"dns\"", {
    "http" => Spoken::Http,
    "https" => Spoken::Https,
    "tcp" => Spoken::Tcp,
    "dns" => Spoken::Names,
});

impl Spoken {
    /// The scheme, of what is not a look-up.
    pub(in crate::config) const fn scheme(self) -> Option<Scheme> {
        match self {
            Self::Http => Some(Scheme::Http),
            Self::Https => Some(Scheme::Https),
            Self::Tcp => Some(Scheme::Tcp),
            Self::Names => None,
        }
    }
}

/// Texts that one function reads.
macro_rules! texts {
    ($($(#[$doc:meta])* $kind:ident: $out:ty, $accepted:literal, $parse:expr, $show:expr;)*) => {$(
        $(#[$doc])*
        pub(in crate::config) struct $kind;

        impl TextKind for $kind {
            type Out = $out;
            const ACCEPTED: &str = $accepted;

            fn parse(text: &str) -> Result<$out, Option<String>> {
                let parse: fn(&str) -> Option<$out> = $parse;
                parse(text).ok_or(None)
            }

            fn show(value: &$out) -> String {
                let show: fn(&$out) -> String = $show;
                show(value)
            }
        }
    )*};
}

texts! {
    /// A text with stars.
    GlobText: Glob, "a text, in which `*` is any run of characters",
        |text| (!text.is_empty()).then(|| Glob::new(text)), ToString::to_string;
    /// Addresses.
    NetworkText: IpNet, "an address or a range of them, as in \"192.0.2.0/24\"",
        |text| match text.parse::<Target>().ok()? {
            Target { scheme: None, port: None, pattern: Pattern::Network(network), .. } => Some(network),
            Target { scheme: None, port: None, pattern: Pattern::Exact(crate::model::host::Host::Address(address)), .. } => Some(IpNet::from(address)),
            _ => None,
        },
        ToString::to_string;
}

/// An expression.
pub(in crate::config) struct WhenText;

impl TextKind for WhenText {
    type Out = Arc<When>;
    const ACCEPTED: &str = "an expression of CEL, as in \"method == 'GET' && 'x-id' in headers\"";

    fn parse(text: &str) -> Result<Arc<When>, Option<String>> {
        expression::compile(text).map(Arc::new).map_err(Some)
    }

    fn show(value: &Arc<When>) -> String {
        value.to_string()
    }
}

/// The status of a denial.
pub(in crate::config) struct StatusCodeText;

impl Kind for StatusCodeText {
    type Out = StatusCode;

    fn accepted() -> String {
        "a status from 400 to 499".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<StatusCode> {
        if let Value::Integer(number @ 400..=499) = node.value
            && let Ok(number) = u16::try_from(number)
            && let Ok(status) = StatusCode::from_u16(number)
        {
            return Some(status);
        }
        refuse::<Self>(node, path, problems);
        None
    }

    fn show(value: &StatusCode) -> Option<String> {
        Some(value.as_u16().to_string())
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": 400, "maximum": 499 })
    }
}

/// A table of names and what is asked of each.
pub(in crate::config) struct Presences<K>(PhantomData<K>);

impl<K: TextKind> Kind for Presences<K> {
    type Out = Vec<(K::Out, Presence)>;

    fn accepted() -> String {
        "a table: true for one that is there, false for one that is not, or a text for its value, in which `*` is any run of characters".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        let Value::Table(table) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        let mut read = Vec::new();
        for (key, entry) in &table.0 {
            let path = KeyPath::Key(path, key);
            let presence = match &entry.node.value {
                Value::Boolean(true) => Presence::Present,
                Value::Boolean(false) => Presence::Absent,
                Value::Text(text) => Presence::Value(Glob::new(text.as_str())),
                Value::Integer(_) | Value::Array(_) | Value::Table(_) | Value::Other(_) => {
                    let shown = entry.node.shown();
                    let message = format!("{shown} is not accepted; write true, false or a text");
                    problems.add(&entry.node.place, path, message);
                    continue;
                }
            };
            match K::parse(key) {
                Ok(name) => read.push((name, presence)),
                Err(_) => {
                    problems.add(&entry.place, path, format!("write {}", K::ACCEPTED));
                }
            }
        }
        Some(read)
    }

    fn show(value: &Self::Out) -> Option<String> {
        value.is_empty().then(|| "{}".to_owned())
    }

    fn schema() -> Json {
        schema::table_of(json!({ "type": ["boolean", "string"] }))
    }
}

texts! {
    /// A key of a query.
    QueryKey: Box<str>, "the key, decoded", |text| Some(text.into()), ToString::to_string;
    /// Any header's name.
    AnyHeader: HeaderName, "the name of a header",
        |text| HeaderName::from_bytes(text.as_bytes()).ok(), ToString::to_string;
}
