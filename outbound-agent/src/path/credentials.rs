//! Stage 8, `credentials`: what the tenant never holds, added last.
//!
//! Takes a permitted request and the credentials that policy says go with it. The tenant's own
//! header of that name goes first, so that it cannot stand beside ours. What cannot be obtained
//! fails the request: nothing goes out without.

mod identities;
pub mod oauth2;
mod percent;
mod placeholder;
mod replace;
mod scrub;
mod secrets;
mod sigv4;
mod slot;
mod tokens;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue,
};
use http::{Method, Uri};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use tokio::task::JoinError;
use tokio::time::timeout;

use self::identities::Identities;
use self::oauth2::Ask;
use self::placeholder::Swap;
use self::secrets::Secrets;
use self::sigv4::{AMZ_SHA256, Chunks, Moment, Payload, Signed, Signing};
use self::tokens::Tokens;
use crate::config::secret::SecretError;
use crate::model::certificates::{self, Identity};
use crate::model::credential::{AwsSigV4, Credential, Kind, Placeholder};
use crate::model::jwt;
use crate::model::reason::Reason;
use crate::model::secret::Secret;
use crate::model::template::{FillError, Subject};
use crate::path::http::body::Source;
use crate::path::http::filter::{Filter, Filtered};

pub use self::placeholder::is_readable;
pub use self::scrub::Scrub;

/// What the agent holds of every credential: secrets as they were last read, and tokens until
/// shortly before they expire.
pub struct Credentials {
    secrets: Secrets,
    tokens: Tokens,
    limits: Limits,
    identities: Identities,
}

/// How long to wait for secrets, and how long to use them.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a program that a secret's reference names.
    pub command: Duration,
    /// How long what it wrote is used.
    pub command_ttl: Duration,
    /// For the whole of a body that is held back.
    pub body: Duration,
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
    /// A body that is held back.
    #[error("the body did not come whole")]
    Body,
    /// A body that is held back.
    #[error("the body is longer than `body_limit`")]
    Long,
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
            Self::Body => return Reason::DownstreamAborted,
            Self::Lately | Self::Fill(_) | Self::Long => {
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
            limits,
            identities: Identities::default(),
        }
    }

    /// Adds one credential to a request of `subject`, and has `scrub` look for it in the response;
    /// `ask` is the way to those who give tokens out.
    pub async fn add(
        &self,
        credential: &Credential,
        subject: Subject<'_>,
        leaving: &mut Leaving<'_>,
        scrub: &mut Scrub,
        ask: &dyn Ask,
    ) -> Result<Added, Error> {
        let bodies = credential.scrub_bodies;
        if bodies {
            for name in scrub::HIDING {
                leaving.headers.remove(name);
            }
            let identity = HeaderValue::from_static("identity");
            leaving.headers.insert(ACCEPT_ENCODING, identity);
        }
        let (field, secret) = match &credential.kind {
            Kind::Header { field, secret } => (field, self.secrets.get(secret).await?),
            Kind::Jwt(jwt) => {
                let key = self.secrets.get(&jwt.key).await?;
                let token = self.tokens.jwt(&credential.name, jwt, key, subject).await?;
                (&jwt.field, Arc::new(token))
            }
            Kind::OAuth2(oauth2) => {
                let secret = self.secrets.get(&oauth2.client_secret).await?;
                let name = &credential.name;
                let token = self
                    .tokens
                    .oauth2(name, oauth2, secret, subject, ask)
                    .await?;
                (&oauth2.field, Arc::new(token))
            }
            Kind::Basic { username, password } => {
                let password = self.secrets.get(password).await?;
                let value = basic(username, &password);
                insert(leaving.headers, &AUTHORIZATION, &value)?;
                scrub.add(Secret::new(value.expose()[BASIC.len()..].to_vec()), bodies);
                scrub.add(Secret::clone(&password), bodies);
                return Ok(Added::Injected);
            }
            Kind::Mtls { certificate, key } => {
                // A connection shows one certificate.
                if leaving.identity.is_some() {
                    return Ok(Added::Skipped);
                }
                let (certificate, key) =
                    tokio::try_join!(self.secrets.get(certificate), self.secrets.get(key))?;
                let identity = self.identities.get(&credential.name, certificate, key)?;
                *leaving.identity = Some(identity);
                return Ok(Added::Injected);
            }
            Kind::AwsSigV4(aws) => return self.sign(aws, leaving, scrub, bodies).await,
            Kind::Placeholder(swap) => return self.swap(swap, leaving, scrub, bodies).await,
        };
        insert(leaving.headers, &field.name, &field.wrap.fill(&secret))?;
        scrub.add(Secret::clone(&secret), bodies);
        Ok(Added::Injected)
    }

    async fn swap(
        &self,
        swap: &Placeholder,
        leaving: &mut Leaving<'_>,
        scrub: &mut Scrub,
        bodies: bool,
    ) -> Result<Added, Error> {
        let secret = self.secrets.get(&swap.secret).await?;
        let with = Swap {
            placeholder: &swap.placeholder,
            secret: &secret,
        };
        let mut is_there = with.headers(leaving.headers)?;
        if swap.in_query {
            is_there |= with.query(leaving.uri);
        }
        let has_body = !leaving.body.is_end_stream();
        if swap.in_body && has_body && is_readable(leaving.headers) {
            let length = leaving.body.size_hint().exact();
            if length.is_some_and(|length| length <= swap.body_limit as u64) {
                let body = self.whole(leaving.body, swap.body_limit).await?;
                if let Some(swapped) = with.whole(leaving.headers, &body) {
                    let length = HeaderValue::from(swapped.len());
                    leaving.headers.insert(CONTENT_LENGTH, length);
                    *leaving.body = Source::Whole(swapped);
                    is_there = true;
                }
            } else if length.is_none() {
                // Whether it is in there shows once it has gone.
                is_there = true;
                filter(leaving.body, with.streamed(leaving.headers));
            }
        }
        if !is_there {
            return Ok(Added::Skipped);
        }
        scrub.add(Secret::clone(&secret), bodies);
        Ok(Added::Injected)
    }

    async fn sign(
        &self,
        aws: &AwsSigV4,
        leaving: &mut Leaving<'_>,
        scrub: &mut Scrub,
        bodies: bool,
    ) -> Result<Added, Error> {
        if sigv4::is_presigned(leaving.uri) {
            return Ok(Added::Skipped);
        }
        let access_key_id = self.secrets.get(&aws.access_key_id).await?;
        let secret_access_key = self.secrets.get(&aws.secret_access_key).await?;
        let session_token = match &aws.session_token {
            Some(source) => Some(self.secrets.get(source).await?),
            None => None,
        };
        let declared = leaving.headers.get(AMZ_SHA256);
        let payload = match declared.and_then(Payload::declared) {
            Some(payload) => payload,
            None if leaving.body.is_end_stream() => Payload::of(b""),
            None if *aws.service == *"s3" && leaving.is_secure => Payload::Word(sigv4::UNSIGNED),
            None => Payload::of(&self.whole(leaving.body, aws.body_limit).await?),
        };
        // The upstream is told the name that is signed.
        leaving.headers.remove(HOST);
        let signing = Signing {
            access_key_id: str::from_utf8(access_key_id.expose())
                .map_err(|_invalid| Error::NoHeader)?,
            secret_access_key: &secret_access_key,
            session_token: session_token.as_deref(),
            region: &aws.region,
            service: &aws.service,
        };
        let signed = Signed {
            method: leaving.method,
            uri: leaving.uri,
            host: leaving.authority,
            headers: leaving.headers,
        };
        let moment = Moment::of(SystemTime::now());
        let signature = sigv4::sign(signed, signing, &payload, moment).ok_or(Error::NoHeader)?;
        scrub.add(Secret::new(signature.text.clone().into_bytes()), bodies);
        if let Some(token) = session_token {
            scrub.add(Secret::clone(&token), bodies);
        }
        if payload.is_chunked() {
            filter(
                leaving.body,
                Box::new(Chunks::after(signature, aws.body_limit)),
            );
        }
        Ok(Added::Injected)
    }

    /// Holds a body back until all of it is here.
    async fn whole(&self, body: &mut Source, limit: usize) -> Result<Bytes, Error> {
        if body.size_hint().lower() > limit as u64 {
            return Err(Error::Long);
        }
        let all = Limited::new(std::mem::replace(body, Source::empty()), limit).collect();
        let all = timeout(self.limits.body, all).await;
        let all = all.map_err(|_elapsed| Error::Body)?.map_err(|error| {
            let is_long = error.is::<http_body_util::LengthLimitError>();
            if is_long { Error::Long } else { Error::Body }
        })?;
        let all = all.to_bytes();
        *body = Source::Whole(all.clone());
        Ok(all)
    }

    /// Forgets tokens that nobody can use any more.
    pub fn forget_expired(&self) {
        self.tokens.forget_expired();
    }
}

/// A request as it leaves: what a credential may look at and change.
pub struct Leaving<'a> {
    /// Its method.
    pub method: &'a Method,
    /// The upstream's name, as it will read it: `host[:port]`.
    pub authority: &'a str,
    /// Whether it goes over TLS.
    pub is_secure: bool,
    /// Its target.
    pub uri: &'a mut Uri,
    /// Its fields.
    pub headers: &'a mut HeaderMap,
    /// Its body.
    pub body: &'a mut Source,
    /// What goes with its connection.
    pub identity: &'a mut Option<Identity>,
}

/// What became of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It goes out.
    Injected,
    /// There was no place for it.
    Skipped,
}

fn filter(body: &mut Source, filter: Box<dyn Filter>) {
    let inner = std::mem::replace(body, Source::empty());
    *body = Source::Made(Box::pin(Filtered::new(inner, filter)));
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
    let mut value = BASIC.to_vec();
    value.resize(value.len() + pair.expose().len().div_ceil(3) * 4, 0);
    let encoded = STANDARD.encode_slice(pair.expose(), &mut value[BASIC.len()..]);
    debug_assert!(
        encoded.is_ok(),
        "there is room for four octets for every three"
    );
    Secret::new(value)
}

const BASIC: &[u8] = b"Basic ";

#[cfg(test)]
mod tests;
