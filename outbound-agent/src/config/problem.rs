//! What is wrong with a configuration: everything at once, each with its place.

use std::fmt;

use crate::model::place::Place;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// The key, as in `policies.standard.allow[2]`; empty where there is none.
    pub key: String,
    /// The value and what is accepted.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            place,
            key,
            message,
        } = self;
        if key.is_empty() {
            write!(f, "{place}: {message}")
        } else {
            write!(f, "{place}: {key}: {message}")
        }
    }
}

/// All that is wrong, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn add(
        &mut self,
        place: &Place,
        key: impl fmt::Display,
        message: impl Into<String>,
    ) {
        self.0.push(Problem {
            place: place.clone(),
            key: key.to_string(),
            message: message.into(),
        });
    }

    /// Gives the value where nothing is wrong.
    pub(super) fn none_or<T>(mut self, value: Option<T>) -> Result<T, Self> {
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
        match value {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(self),
        }
    }

    /// Each of them, in the order of the files.
    pub(super) fn sorted(mut self) -> Vec<Problem> {
        self.0.sort_by(|a, b| a.place.cmp(&b.place));
        self.0
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl fmt::Display for Problems {
    /// One per line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// The way to a value, from the top of the file.
#[derive(Clone, Copy)]
pub(super) enum KeyPath<'a> {
    /// The file itself.
    Top,
    /// A key of a table.
    Key(&'a Self, &'a str),
    /// A member of an array.
    Index(&'a Self, usize),
}

impl fmt::Display for KeyPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Top => Ok(()),
            Self::Key(Self::Top, key) => write_key(f, key),
            Self::Key(parent, key) => {
                write!(f, "{parent}.")?;
                write_key(f, key)
            }
            Self::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// Quoted where TOML wants quotes.
fn write_key(f: &mut fmt::Formatter<'_>, key: &str) -> fmt::Result {
    let is_bare = !key.is_empty()
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_bare {
        f.write_str(key)
    } else {
        write!(f, "{key:?}")
    }
}
