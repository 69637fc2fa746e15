//! `Secret`: a value that must not be seen; `Source`: where one is.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

/// Has no `Display` and no `Serialize`, hides itself in `Debug`, and is wiped on drop.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the value over.
    pub fn new(value: Vec<u8>) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Takes off one newline at the end: files and programs write one that is not meant.
    #[must_use]
    pub fn without_newline(mut self) -> Self {
        if self.0.last() == Some(&b'\n') {
            self.0.pop();
            if self.0.last() == Some(&b'\r') {
                self.0.pop();
            }
        }
        self
    }
}

impl PartialEq for Secret {
    /// Tells whether a value has changed; not for values that a stranger chose.
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// Where a secret is.
#[derive(Clone, Debug)]
pub struct Source {
    /// The reference, as in `file:/etc/outbound/api.token`: all that is ever shown.
    pub name: Arc<str>,
    /// How it is got.
    pub origin: Origin,
}

/// How a secret is got.
#[derive(Clone, Debug)]
pub enum Origin {
    /// It was read when the agent started, and stays as it is.
    Fixed(Secret),
    /// The whole file, read again when it has changed.
    File(Arc<Path>),
    /// What a program writes to its standard output: the program and its arguments.
    Command(Arc<[String]>),
}

/// The longest secret that is read.
pub const MAX_SECRET_BYTES: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_nothing_of_the_value() {
        assert_eq!(
            format!("{:?}", Secret::new(b"hunter2".to_vec())),
            "Secret(redacted)"
        );
    }

    #[test]
    fn one_newline_is_not_meant() {
        for (read, meant) in [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a")] {
            let secret = Secret::new(read.into()).without_newline();
            assert_eq!(secret.expose(), meant.as_bytes(), "{read:?}");
        }
    }
}
