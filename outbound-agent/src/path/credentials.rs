//! Stage 8, `credentials`: what the tenant never holds, added last.
//!
//! Takes a permitted request and the credentials that policy says go with it. The tenant's own
//! header of that name goes first, so that it cannot stand beside ours. What cannot be obtained
//! fails the request: nothing goes out without.

mod identities;
pub mod oauth2;
mod percent;
mod secrets;
mod slot;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use tokio::task::JoinError;

use self::identities::Identities;
use self::oauth2::Ask;
use self::secrets::Secrets;
use self::tokens::Tokens;
use crate::config::secret::SecretError;
use crate::model::certificates::{self, Identity};
use crate::model::credential::{Credential, Kind};
use crate::model::jwt;
use crate::model::reason::Reason;
use crate::model::secret::Secret;
use crate::model::template::{FillError, Subject};

/// What the agent holds of every credential: secrets as they were last read, and tokens until
/// shortly before they expire.
pub struct Credentials {
    secrets: Secrets,
    tokens: Tokens,
    identities: Identities,
}

/// How long to wait for secrets, and how long to use them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a program that a secret's reference names.
    pub command: Duration,
    /// How long what it wrote is used.
    pub command_ttl: Duration,
}

/// Why a credential is not there. Shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its secret.
    #[error("{name}")]
    Secret {
        /// The reference.
        name: Arc<str>,
        /// Why.
        source: SecretError,
    },
    /// Whoever was to read it.
    #[error("nobody reads it")]
    Task(#[from] JoinError),
    /// It failed a moment ago, and that was told.
    #[error("it failed a moment ago")]
    Lately,
    /// The tenant.
    #[error("it says something of the tenant that is not known")]
    Fill(#[from] FillError),
    /// The key.
    #[error("its key signs nothing")]
    Key(#[from] jwt::KeyError),
    /// The signature.
    #[error("no token could be signed")]
    Sign(#[from] jwt::SignError),
    /// Whoever gives it out.
    #[error(transparent)]
    Token(#[from] oauth2::Refusal),
    /// The client's certificate.
    #[error("its certificate cannot be shown")]
    Identity(#[from] certificates::Error),
    /// The header.
    #[error("it holds a character that no header can carry")]
    NoHeader,
}

impl Error {
    /// Tells the operator, once for every time that something was tried; gives the reason.
    pub fn report(&self, credential: &str) -> Reason {
        let error = self as &dyn std::error::Error;
        match self {
            Self::Lately | Self::Fill(_) => {
                tracing::debug!(credential, error, "credential unavailable");
            }
            Self::Secret { .. }
            | Self::Task(_)
            | Self::Key(_)
            | Self::Sign(_)
            | Self::Token(_)
            | Self::Identity(_)
            | Self::NoHeader => {
                tracing::warn!(credential, error, "credential unavailable");
            }
        }
        Reason::CredentialUnavailable
    }
}

impl Credentials {
    /// Holds nothing yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            secrets: Secrets::new(limits),
            tokens: Tokens::default(),
            identities: Identities::default(),
        }
    }

    /// Adds one credential to a request of `subject`; `ask` is the way to those who give tokens
    /// out. What goes with the connection instead is given back.
    pub async fn add(
        &self,
        credential: &Credential,
        subject: Subject<'_>,
        headers: &mut HeaderMap,
        ask: &dyn Ask,
    ) -> Result<Option<Identity>, Error> {
        let (name, value) = match &credential.kind {
            Kind::Header { field, secret } => {
                let secret = self.secrets.get(secret).await?;
                (&field.name, field.wrap.fill(&secret))
            }
            Kind::Basic { username, password } => {
                let password = self.secrets.get(password).await?;
                (&AUTHORIZATION, basic(username, &password))
            }
            Kind::Jwt(jwt) => {
                let key = self.secrets.get(&jwt.key).await?;
                let token = self.tokens.jwt(&credential.name, jwt, key, subject).await?;
                (&jwt.field.name, jwt.field.wrap.fill(&token))
            }
            Kind::OAuth2(oauth2) => {
                let secret = self.secrets.get(&oauth2.client_secret).await?;
                let name = &credential.name;
                let token = self
                    .tokens
                    .oauth2(name, oauth2, secret, subject, ask)
                    .await?;
                (&oauth2.field.name, oauth2.field.wrap.fill(&token))
            }
            Kind::Mtls { certificate, key } => {
                let (certificate, key) =
                    tokio::try_join!(self.secrets.get(certificate), self.secrets.get(key))?;
                let identity = self.identities.get(&credential.name, certificate, key)?;
                return Ok(Some(identity));
            }
        };
        insert(headers, name, &value).map(|()| None)
    }

    /// Forgets tokens that nobody can use any more.
    pub fn forget_expired(&self) {
        self.tokens.forget_expired();
    }
}

/// Puts a value in the place of whatever stood under that name.
fn insert(headers: &mut HeaderMap, name: &HeaderName, value: &Secret) -> Result<(), Error> {
    let mut value = HeaderValue::from_bytes(value.expose()).map_err(|_invalid| Error::NoHeader)?;
    value.set_sensitive(true);
    headers.insert(name, value);
    Ok(())
}

/// Name and password as RFC 7617 section 2 writes them.
fn basic(username: &str, password: &Secret) -> Secret {
    let pair = Secret::new([username.as_bytes(), b":", password.expose()].concat());
    let mut value = b"Basic ".to_vec();
    value.resize(value.len() + pair.expose().len().div_ceil(3) * 4, 0);
    let encoded = STANDARD.encode_slice(pair.expose(), &mut value[b"Basic ".len()..]);
    debug_assert!(
        encoded.is_ok(),
        "there is room for four octets for every three"
    );
    Secret::new(value)
}

#[cfg(test)]
mod tests;
