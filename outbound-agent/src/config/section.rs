//! A table of the file and its keys, written down once: what it is read as, what is accepted,
//! the default and the text of the documents.

use serde_json::Value as Json;

use super::document::{Node, Table, Value};
use super::problem::{KeyPath, Problems};
use crate::model::place::Place;

/// A table of the file.
pub(super) trait Section: Sized {
    /// What it is for.
    const ABOUT: &str;

    /// Its keys.
    fn keys() -> Vec<Key>;

    /// Each key as it would be written; without a text what is written by leaving it out.
    fn shown(&self) -> Vec<(&'static str, Option<String>)>;

    /// Reads its keys.
    fn read_keys(site: Site<'_>, problems: &mut Problems) -> Option<Self>;

    /// Reads it from a value that has to be a table.
    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self> {
        let table = as_table(node, path, problems)?;
        let place = &node.place;
        Self::read_keys(Site { table, place, path }, problems)
    }
}

/// What stands below a name: a section, or one of several.
pub(super) trait FromNode: Sized {
    /// Reads it; says what is wrong with it where it gives none.
    fn from_node(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self>;
}

impl<S: Section> FromNode for S {
    fn from_node(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Self> {
        Self::read(node, path, problems)
    }
}

/// A table while it is read.
#[derive(Clone, Copy)]
pub(super) struct Site<'a> {
    pub(super) table: &'a Table,
    pub(super) place: &'a Place,
    pub(super) path: &'a KeyPath<'a>,
}

/// A key, as the documents tell of it.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) accepted: String,
    pub(super) unwritten: Unwritten,
    pub(super) schema: Json,
}

/// What holds where a key is not written.
pub(super) enum Unwritten {
    /// It has to be.
    Refused,
    /// It has no value.
    Nothing,
    /// The default, as it would be written.
    Default(String),
}

/// Declares sections. A key is `field [as "key"]: Type as Kind [= default];`
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident {$(
            $(#[doc = $doc:literal])+
            $field:ident $(as $key:literal)?: $type:ty as $kind:ty $(= $default:expr)?;
        )+}
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        $vis struct $name {$(
            $(#[doc = $doc])+
            $vis $field: $type,
        )+}

        impl $crate::config::section::Section for $name {
            const ABOUT: &str = concat!($($about, "\n"),+);

            fn keys() -> Vec<$crate::config::section::Key> {
                vec![$($crate::config::section::Key {
                    name: $crate::config::section::section!(@key $field $($key)?),
                    about: concat!($($doc, "\n"),+),
                    accepted: <$kind as $crate::config::kind::Kind>::accepted(),
                    unwritten: $crate::config::section::section!(@unwritten $kind $(, $default)?),
                    schema: <$kind as $crate::config::kind::Kind>::schema(),
                }),+]
            }

            fn shown(&self) -> Vec<(&'static str, Option<String>)> {
                vec![$((
                    $crate::config::section::section!(@key $field $($key)?),
                    <$kind as $crate::config::kind::Kind>::show(&self.$field),
                )),+]
            }

            fn read_keys(
                site: $crate::config::section::Site<'_>,
                problems: &mut $crate::config::problem::Problems,
            ) -> Option<Self> {
                let known = [$($crate::config::section::section!(@key $field $($key)?)),+];
                $crate::config::section::refuse_unknown_keys(site.table, &known, site.path, problems);
                $(
                    let key = $crate::config::section::section!(@key $field $($key)?);
                    let $field = match site.table.0.get(key) {
                        Some(entry) => <$kind as $crate::config::kind::Kind>::read(
                            &entry.node,
                            &$crate::config::problem::KeyPath::Key(site.path, key),
                            problems,
                        ),
                        None => $crate::config::section::section!(@absent key $kind, site, problems $(, $default)?),
                    };
                )+
                Some(Self { $($field: $field?),+ })
            }
        }
    };
    (@key $field:ident) => { stringify!($field) };
    (@key $field:ident $key:literal) => { $key };
    (@unwritten $kind:ty) => { $crate::config::section::Unwritten::Refused };
    (@unwritten $kind:ty, $default:expr) => {
        match <$kind as $crate::config::kind::Kind>::show(&$default) {
            Some(default) => $crate::config::section::Unwritten::Default(default),
            None => $crate::config::section::Unwritten::Nothing,
        }
    };
    (@absent $key:ident $kind:ty, $site:ident, $problems:ident) => {{
        let accepted = <$kind as $crate::config::kind::Kind>::accepted();
        let message = format!("the key `{}` is missing; write {accepted}", $key);
        $problems.add($site.place, $site.path, message);
        None
    }};
    (@absent $key:ident $kind:ty, $site:ident, $problems:ident, $default:expr) => {
        Some($default)
    };
}
pub(super) use section;

/// Declares a section that may be left out as a whole: every key has a default.
macro_rules! settings {
    (
        $(#[doc = $about:literal])+
        $vis:vis struct $name:ident {$(
            $(#[doc = $doc:literal])+
            $field:ident $(as $key:literal)?: $type:ty as $kind:ty = $default:expr;
        )+}
    ) => {
        $crate::config::section::section! {
            $(#[doc = $about])+
            $vis struct $name {$(
                $(#[doc = $doc])+
                $field $(as $key)?: $type as $kind = $default;
            )+}
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default),+ }
            }
        }
    };
}
pub(super) use settings;

/// The table that a value has to be.
pub(super) fn as_table<'a>(
    node: &'a Node,
    path: &KeyPath<'_>,
    problems: &mut Problems,
) -> Option<&'a Table> {
    let Value::Table(table) = &node.value else {
        let message = format!("{} is not accepted; write a table", node.shown());
        problems.add(&node.place, path, message);
        return None;
    };
    Some(table)
}

/// Each key that is not among `known` is an error, which names the nearest that is.
pub(super) fn refuse_unknown_keys(
    table: &Table,
    known: &[&str],
    path: &KeyPath<'_>,
    problems: &mut Problems,
) {
    for (key, entry) in &table.0 {
        if known.contains(&key.as_str()) {
            continue;
        }
        let message = match nearest(key, known) {
            Some(nearest) => format!("unknown key; did you mean `{nearest}`?"),
            None => format!("unknown key; known here: {}", known.join(", ")),
        };
        problems.add(&entry.place, KeyPath::Key(path, key), message);
    }
}

/// What was probably meant, where something is near enough.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let similarity = |known: &str| strsim::normalized_damerau_levenshtein(word, known);
    let best = known
        .iter()
        .copied()
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)))?;
    let is_near = similarity(best) >= 0.5 || best.starts_with(word) || word.starts_with(best);
    is_near.then_some(best)
}
