//! References to secrets: the file names where a secret is, never the secret.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use http::HeaderValue;

use super::document::{Node, Value};
use super::kind::Kind;
use super::problem::{KeyPath, Problems};
use crate::model::secret::Secret;

/// Where a secret is.
#[derive(Clone, Debug)]
pub(super) enum SecretReference {
    /// The whole file, without one newline at its end.
    File(PathBuf),
    /// An environment variable of the agent.
    Environment(String),
    /// A credential that systemd handed to the unit.
    Systemd(String),
}

/// Why a secret cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum SecretError {
    #[error("cannot read {path}: {source}", path = path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("the agent's environment has no such variable")]
    NoVariable,
    #[error("systemd handed over no credentials ($CREDENTIALS_DIRECTORY is not set)")]
    NoCredentials,
    #[error("is empty")]
    Empty,
}

impl SecretReference {
    /// Reads the secret; `environment` looks up a variable.
    pub(super) fn resolve(
        &self,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Secret, SecretError> {
        let secret = match self {
            Self::File(path) => read(path)?,
            Self::Environment(name) => {
                let value = environment(name).ok_or(SecretError::NoVariable)?;
                Secret::new(value.into_encoded_bytes())
            }
            Self::Systemd(name) => {
                let directory =
                    environment("CREDENTIALS_DIRECTORY").ok_or(SecretError::NoCredentials)?;
                read(&Path::new(&directory).join(name))?
            }
        };
        if secret.expose().is_empty() {
            return Err(SecretError::Empty);
        }
        Ok(secret)
    }
}

fn read(path: &Path) -> Result<Secret, SecretError> {
    let mut value = std::fs::read(path).map_err(|source| SecretError::File {
        path: path.into(),
        source,
    })?;
    if value.ends_with(b"\n") {
        value.pop();
    }
    Ok(Secret::new(value))
}

impl fmt::Display for SecretReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::Systemd(name) => write!(f, "credential:{name}"),
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
            _ => None,
        }
    }
}

impl Kind for SecretText {
    type Out = SecretReference;

    fn accepted() -> String {
        "a reference: \"file:/path\", \"env:NAME\" or \"credential:NAME\"".to_owned()
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
}

/// What a secret is put into, as in `Bearer {secret}`; by default nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Template {
    before: String,
    after: String,
}

impl Template {
    /// The text around the secret.
    pub(super) fn fill(&self, secret: &Secret) -> Secret {
        Secret::new(
            [
                self.before.as_bytes(),
                secret.expose(),
                self.after.as_bytes(),
            ]
            .concat(),
        )
    }
}

/// A template. One without a place for the secret may hold the secret itself, so that no
/// error shows it.
pub(super) struct TemplateText;

impl Kind for TemplateText {
    type Out = Template;

    fn accepted() -> String {
        "what a header can carry, with {secret} once, as in \"Bearer {secret}\"".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Template> {
        if let Value::Text(text) = &node.value
            && let Some((before, after)) = text.split_once("{secret}")
            && !after.contains("{secret}")
            && HeaderValue::from_str(text).is_ok()
        {
            return Some(Template {
                before: before.to_owned(),
                after: after.to_owned(),
            });
        }
        let message = format!(
            "the value (not shown) is not accepted; write {}",
            Self::accepted()
        );
        problems.add(&node.place, path, message);
        None
    }

    fn show(value: &Template) -> Option<String> {
        Some(format!(
            "{:?}",
            format!("{}{{secret}}{}", value.before, value.after)
        ))
    }
}
