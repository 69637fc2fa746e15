//! The kinds of value that a key can have: how each is read, and how it is shown in documents.

pub(super) mod compound;
pub(super) mod credential;
pub(super) mod effect;
pub(super) mod rule;
pub(super) mod unit;
pub(super) mod worker;

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Component, Path, PathBuf};

use http::HeaderName;
use serde_json::{Value as Json, json};

use super::document::{Node, Value};
use super::problem::{KeyPath, Problems};
use super::schema;
use crate::model::target::{Target, TargetError};
use crate::model::tenant::TenantId;

/// A kind of value.
pub(super) trait Kind {
    /// What it is read as.
    type Out;

    /// What is accepted, as in "write …".
    fn accepted() -> String;

    /// Reads a value; says what is wrong with it where it gives none.
    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out>;

    /// As it would be written in a file; `None` for what is written by leaving the key out.
    fn show(value: &Self::Out) -> Option<String>;

    /// What an editor may check, as JSON Schema: at most what is refused here.
    fn schema() -> Json;
}

/// A kind that is written as a string.
pub(super) trait TextKind {
    type Out;
    const ACCEPTED: &str;
    /// Where it is one of a closed list.
    const WORDS: &[&str] = &[];
    /// The error says what is wrong, where there is more to say than what is accepted.
    fn parse(text: &str) -> Result<Self::Out, Option<String>>;
    fn show(value: &Self::Out) -> String;
}

impl<K: TextKind> Kind for K {
    type Out = K::Out;

    fn accepted() -> String {
        K::ACCEPTED.to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self::Out> {
        let Value::Text(text) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        match K::parse(text) {
            Ok(value) => return Some(value),
            Err(Some(why)) => problems.add(&node.place, path, format!("{text:?}: {why}")),
            Err(None) => refuse::<Self>(node, path, problems),
        }
        None
    }

    fn show(value: &Self::Out) -> Option<String> {
        Some(format!("{:?}", K::show(value)))
    }

    fn schema() -> Json {
        match K::WORDS {
            [] => schema::string(),
            words => json!({ "enum": words }),
        }
    }
}

pub(super) fn refuse<K: Kind + ?Sized>(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) {
    let message = format!("{} is not accepted; write {}", node.shown(), K::accepted());
    problems.add(&node.place, path, message);
}

/// A string.
pub(super) struct Text;

impl TextKind for Text {
    type Out = String;
    const ACCEPTED: &str = "a string that is not empty";

    fn parse(text: &str) -> Result<String, Option<String>> {
        if text.is_empty() {
            Err(None)
        } else {
            Ok(text.to_owned())
        }
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

/// A tenant's name.
pub(super) struct TenantName;

impl TextKind for TenantName {
    type Out = TenantId;
    const ACCEPTED: &str = "1 to 63 letters, digits, `.`, `_` or `-`, the first no `.`";

    fn parse(text: &str) -> Result<TenantId, Option<String>> {
        TenantId::new(text).ok_or(None)
    }

    fn show(value: &TenantId) -> String {
        value.to_string()
    }
}

/// An entry of an `allow`, `deny` or `hosts` list.
pub(super) struct TargetText;

impl TextKind for TargetText {
    type Out = Target;
    const ACCEPTED: &str = "[scheme://]host[:port], where the host is a name, \"*.name\", a glob, an address, a range, \"@set\" or \"*\"";

    fn parse(text: &str) -> Result<Target, Option<String>> {
        text.parse()
            .map_err(|why: TargetError| Some(why.to_string()))
    }

    fn show(value: &Target) -> String {
        value.to_string()
    }
}

/// A header's name.
pub(super) struct HeaderText;

impl TextKind for HeaderText {
    type Out = HeaderName;
    const ACCEPTED: &str =
        "the name of a header that is not the connection's own (such as host or content-length)";

    fn parse(text: &str) -> Result<HeaderName, Option<String>> {
        let name = HeaderName::from_bytes(text.as_bytes()).map_err(|_invalid| None)?;
        if FRAMING.contains(&name.as_str()) {
            return Err(None);
        }
        Ok(name)
    }

    fn show(value: &HeaderName) -> String {
        value.to_string()
    }
}

/// Headers that say where a message goes and where it ends (RFC 9110 sections 7.2, 7.6.1, 8.6).
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A path on this host.
pub(super) struct FilePath;

impl TextKind for FilePath {
    type Out = PathBuf;
    const ACCEPTED: &str = "an absolute path";

    fn parse(text: &str) -> Result<PathBuf, Option<String>> {
        if text.starts_with('/') {
            Ok(text.into())
        } else {
            Err(None)
        }
    }

    fn show(value: &PathBuf) -> String {
        value.display().to_string()
    }
}

/// A cgroup, given back relative to the cgroup root.
pub(super) struct CgroupPath;

impl TextKind for CgroupPath {
    type Out = PathBuf;
    const ACCEPTED: &str =
        "a cgroup below the cgroup root, without `.` and `..`, as in \"/tenants.slice/acme\"";

    fn parse(text: &str) -> Result<PathBuf, Option<String>> {
        let path = text.strip_prefix('/').unwrap_or(text);
        let path = path.strip_suffix('/').unwrap_or(path);
        let is_plain = !path.is_empty()
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && Path::new(path)
                .components()
                .all(|part| matches!(part, Component::Normal(_)));
        if is_plain && !path.contains('\0') {
            Ok(path.into())
        } else {
            Err(None)
        }
    }

    fn show(value: &PathBuf) -> String {
        format!("/{}", value.display())
    }
}

/// An address and a port to listen on.
pub(super) struct Listen;

impl TextKind for Listen {
    type Out = SocketAddr;
    const ACCEPTED: &str = "address and port, as in \"127.0.0.1:9464\" or \"[::1]:9464\"";

    fn parse(text: &str) -> Result<SocketAddr, Option<String>> {
        text.parse().map_err(|_invalid| None)
    }

    fn show(value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// A resolver's address.
pub(super) struct Server;

impl TextKind for Server {
    type Out = SocketAddr;
    const ACCEPTED: &str =
        "an address with or without port, as in \"192.0.2.53\" or \"[2001:db8::53]:5353\"";

    fn parse(text: &str) -> Result<SocketAddr, Option<String>> {
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(SocketAddr::new(address, 53));
        }
        Listen::parse(text)
    }

    fn show(value: &SocketAddr) -> String {
        value.to_string()
    }
}

/// An IP address.
pub(super) struct Address;

impl TextKind for Address {
    type Out = IpAddr;
    const ACCEPTED: &str = "an IP address";

    fn parse(text: &str) -> Result<IpAddr, Option<String>> {
        let address = text.parse::<IpAddr>().map_err(|_invalid| None)?;
        Ok(address.to_canonical())
    }

    fn show(value: &IpAddr) -> String {
        value.to_string()
    }
}

/// One of a closed list of words.
macro_rules! words {
    ($kind:ident: $out:ty, $accepted:literal, { $($word:literal => $value:path,)* }) => {
        pub(in crate::config) struct $kind;

        impl $crate::config::kind::TextKind for $kind {
            type Out = $out;
            const ACCEPTED: &str = $accepted;
            const WORDS: &[&str] = &[$($word),*];

            fn parse(text: &str) -> Result<$out, Option<String>> {
                match text { $($word => Ok($value),)* _ => Err(None) }
            }

            fn show(value: &$out) -> String {
                match value { $($value => $word.to_owned(),)* }
            }
        }
    };
}
pub(super) use words;

/// `true` or `false`.
pub(super) struct Flag;

impl Kind for Flag {
    type Out = bool;

    fn accepted() -> String {
        "true or false".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<bool> {
        let Value::Boolean(value) = node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        Some(value)
    }

    fn show(value: &bool) -> Option<String> {
        Some(value.to_string())
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }
}

/// Whole numbers of a range.
macro_rules! numbers {
    ($($(#[$doc:meta])* $kind:ident: $out:ty, $accepted:literal, $range:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $kind;

        impl Kind for $kind {
            type Out = $out;

            fn accepted() -> String {
                $accepted.to_owned()
            }

            fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<$out> {
                if let Value::Integer(number) = node.value
                    && let Ok(number) = <$out>::try_from(number)
                    && ($range).contains(&number)
                {
                    return Some(number);
                }
                refuse::<Self>(node, path, problems);
                None
            }

            fn show(value: &$out) -> Option<String> {
                Some(value.to_string())
            }

            fn schema() -> Json {
                let range: RangeInclusive<$out> = $range;
                json!({ "type": "integer", "minimum": range.start(), "maximum": range.end() })
            }
        }
    )*};
}

numbers! {
    /// A port to listen on.
    Port: u16, "a port, 1 to 65535, or 0 for any that is free", 0..=u16::MAX;
    /// How many of something that adds up over a month.
    Many: u64, "a whole number from 1 to 2^48", 1..=1 << 48;
    /// How many of something.
    Count: usize, "a whole number from 1 to 16777216", 1..=1 << 24;
}
