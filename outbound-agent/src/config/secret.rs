//! References to secrets: the file names where a secret is, never the secret.

mod command;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use http::HeaderValue;
use serde_json::{Value as Json, json};
use zeroize::Zeroizing;

use super::document::{Node, Value};
use super::kind::Kind;
use super::problem::{KeyPath, Problems};
use crate::model::credential::Wrap;
use crate::model::secret::{MAX_SECRET_BYTES, Origin, Secret, Source};

/// Where a secret is.
#[derive(Clone, Debug)]
pub(super) enum SecretReference {
    /// The whole file, without one newline at its end.
    File(PathBuf),
    /// An environment variable of the agent.
    Environment(String),
    /// A credential that systemd handed to the unit.
    Systemd(String),
    /// What a program writes: the program and its arguments.
    Command(Vec<String>),
}

/// Why a secret cannot be read. Shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Its file.
    #[error("cannot read {path}: {source}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its variable.
    #[error("the agent's environment has no such variable")]
    NoVariable,
    /// Its unit.
    #[error("systemd handed over no credentials ($CREDENTIALS_DIRECTORY is not set)")]
    NoCredentials,
    /// Its program.
    #[error("cannot run {program}: {source}")]
    Run {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Its program, which said so.
    #[error("{program} failed: {status}")]
    Failed {
        /// Which.
        program: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// Its program, which was ended.
    #[error("{program} wrote nothing within {within:?}")]
    Late {
        /// Which.
        program: String,
        /// How long it had.
        within: Duration,
    },
    /// There is nothing.
    #[error("is empty")]
    Empty,
    /// There is more than any secret has.
    #[error("is longer than {MAX_SECRET_BYTES} bytes")]
    Long,
}

impl SecretReference {
    /// How the secret is got; `environment` looks up a variable.
    pub(super) fn source(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Source, SecretError> {
        let origin = match self {
            Self::File(path) => Origin::File(path.as_path().into()),
            Self::Environment(name) => {
                let value = environment(name).ok_or(SecretError::NoVariable)?;
                Origin::Fixed(Secret::new(value.into_encoded_bytes()))
            }
            Self::Systemd(name) => {
                let directory =
                    environment("CREDENTIALS_DIRECTORY").ok_or(SecretError::NoCredentials)?;
                Origin::File(Path::new(&directory).join(name).into())
            }
            Self::Command(words) => Origin::Command(words.as_slice().into()),
        };
        let name = self.to_string().into();
        Ok(Source { name, origin })
    }

    /// Reads the secret; `environment` looks up a variable.
    pub(super) fn resolve(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Secret, SecretError> {
        let within = super::Limits::default().secret_command;
        read(&self.source(environment)?.origin, within)
    }
}

/// Reads a secret anew; blocks, for a program up to `within`.
pub fn read(origin: &Origin, within: Duration) -> Result<Secret, SecretError> {
    let secret = match origin {
        Origin::Fixed(secret) => secret.clone(),
        Origin::File(path) => read_file(path)?,
        Origin::Command(words) => command::run(words, within)?,
    };
    match secret.expose().len() {
        0 => Err(SecretError::Empty),
        1..=MAX_SECRET_BYTES => Ok(secret),
        _ => Err(SecretError::Long),
    }
}

fn read_file(path: &Path) -> Result<Secret, SecretError> {
    let failed = |source| SecretError::File {
        path: path.into(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    read_all(file).map_err(failed)
}

/// Reads what a secret may have, and a little more, so that too much is seen. The room is there
/// from the start: a buffer that grows would leave what it held behind.
fn read_all(from: impl Read) -> io::Result<Secret> {
    let most = MAX_SECRET_BYTES as u64 + 2;
    let mut value = Zeroizing::new(Vec::with_capacity(MAX_SECRET_BYTES + 64));
    from.take(most).read_to_end(&mut value)?;
    Ok(Secret::new(value.to_vec()).without_newline())
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Systemd(name) => write!(f, "credential:{name}"),
            Self::Command(words) => write!(f, "cmd:{}", words.join(" ")),
        }
    }
}

/// A reference to a secret. What is not a reference may be the secret itself, so that no
/// error shows it.
pub(super) struct SecretText;

impl SecretText {
    fn parse(text: &str) -> Option<SecretReference> {
        let (source, name) = text.split_once(':')?;
        match source {
            "file" if name.starts_with('/') => Some(SecretReference::File(name.into())),
            "env" if !name.is_empty() && !name.contains(['=', '\0']) => {
                Some(SecretReference::Environment(name.to_owned()))
            }
            "credential" if !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']) => {
                Some(SecretReference::Systemd(name.to_owned()))
            }
            "cmd" if name.starts_with('/') && !name.contains('\0') => {
                let words = name.split_whitespace().map(str::to_owned);
                Some(SecretReference::Command(words.collect()))
            }
            _ => None,
        }
    }
}

impl Kind for SecretText {
    type Out = SecretReference;

    fn accepted() -> String {
        "a reference: \"file:/path\", \"env:NAME\", \"credential:NAME\" or \"cmd:/program argument\"".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<SecretReference> {
        let reference = match &node.value {
            Value::Text(text) => Self::parse(text),
            Value::Integer(_)
            | Value::Boolean(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Other(_) => None,
        };
        if reference.is_none() {
            let message = format!(
                "the value (not shown) is not accepted; write {}",
                Self::accepted()
            );
            problems.add(&node.place, path, message);
        }
        reference
    }

    fn show(value: &SecretReference) -> Option<String> {
        Some(format!("{:?}", value.to_string()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(file:/|env:|credential:|cmd:/)" })
    }
}

/// A template. One without a place for the secret may hold the secret itself, so that no
/// error shows it.
pub(super) struct WrapText;

impl Kind for WrapText {
    type Out = Wrap;

    fn accepted() -> String {
        "what a header can carry, with {secret} once, as in \"Bearer {secret}\"".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Wrap> {
        if let Value::Text(text) = &node.value
            && let Some((before, after)) = text.split_once("{secret}")
            && !after.contains("{secret}")
            && HeaderValue::from_str(text).is_ok()
        {
            return Some(Wrap {
                before: before.into(),
                after: after.into(),
            });
        }
        let message = format!(
            "the value (not shown) is not accepted; write {}",
            Self::accepted()
        );
        problems.add(&node.place, path, message);
        None
    }

    fn show(value: &Wrap) -> Option<String> {
        Some(format!(
            "{:?}",
            format!("{}{{secret}}{}", value.before, value.after)
        ))
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "\\{secret\\}" })
    }
}
