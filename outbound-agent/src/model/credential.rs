//! What is added to a request to prove the tenant's right upstream.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, Method};

use super::host::Host;
use super::jwt;
use super::pattern::PathPattern;
use super::secret::{Secret, Source};
use super::targets::Targets;
use super::template::{Claims, Template};

/// A credential, bound to where it may go. Values are wiped on drop and never printed.
pub struct Credential {
    /// Its name: all that logs show of it.
    pub name: Arc<str>,
    /// Where it may go.
    pub binding: Binding,
    /// Whether response bodies are searched for it, besides response headers.
    pub scrub_bodies: bool,
    /// What is added.
    pub kind: Kind,
}

/// Where a credential may go.
#[derive(Clone, Debug, Default)]
pub struct Binding {
    /// To which hosts.
    pub hosts: Targets,
    /// With which methods; without one, with any.
    pub methods: Vec<Method>,
    /// To which paths; without one, to any.
    pub paths: Vec<PathPattern>,
    /// Whether it may go over plain HTTP.
    pub allow_plaintext: bool,
}

/// The kinds of credential.
pub enum Kind {
    /// A secret in a header.
    Header {
        /// Where it goes.
        field: Field,
        /// What goes there.
        secret: Source,
    },
    /// A user's name and password (RFC 7617).
    Basic {
        /// The name.
        username: Box<str>,
        /// The password.
        password: Source,
    },
    /// A token that the agent signs itself.
    Jwt(Box<Jwt>),
    /// A token that the agent fetches (RFC 6749 section 4.4).
    OAuth2(Box<OAuth2>),
    /// A signature over the request (AWS Signature Version 4).
    AwsSigV4(Box<AwsSigV4>),
    /// A secret in the place of a text that the tenant holds.
    Placeholder(Box<Placeholder>),
    /// A client's certificate (RFC 8446 section 4.4.2), which goes with the connection.
    Mtls {
        /// The certificate, and the chain behind it.
        certificate: Source,
        /// Its key.
        key: Source,
    },
}

impl Kind {
    /// Whether it has to see the request as it leaves: what else is added comes before it.
    pub const fn is_last(&self) -> bool {
        match self {
            Self::AwsSigV4(_) => true,
            Self::Header { .. }
            | Self::Basic { .. }
            | Self::Jwt(_)
            | Self::OAuth2(_)
            | Self::Placeholder(_)
            | Self::Mtls { .. } => false,
        }
    }
}

/// A header that the agent alone writes: the tenant's own of that name is removed.
#[derive(Clone, Debug)]
pub struct Field {
    /// Its name.
    pub name: HeaderName,
    /// What its value is put into.
    pub wrap: Wrap,
}

/// What a secret is put into, as in `Bearer {secret}`; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wrap {
    /// In front of it.
    pub before: Box<str>,
    /// Behind it.
    pub after: Box<str>,
}

impl Wrap {
    /// The text around the secret.
    pub fn fill(&self, secret: &Secret) -> Secret {
        let parts = [
            self.before.as_bytes(),
            secret.expose(),
            self.after.as_bytes(),
        ];
        Secret::new(parts.concat())
    }
}

/// How a token is minted.
pub struct Jwt {
    /// Where it goes.
    pub field: Field,
    /// What signs it.
    pub key: Source,
    /// How.
    pub algorithm: jwt::Algorithm,
    /// Which key it is, for a verifier that has several.
    pub key_id: Option<Box<str>>,
    /// What it says.
    pub claims: Claims,
    /// For how long.
    pub ttl: Duration,
}

/// How a token is fetched.
pub struct OAuth2 {
    /// Where it goes.
    pub field: Field,
    /// Who gives it out.
    pub endpoint: Endpoint,
    /// Who the agent is there.
    pub client_id: Box<str>,
    /// What proves it.
    pub client_secret: Source,
    /// How it is proven.
    pub client_auth: ClientAuth,
    /// What else is asked for, as in `scope`: fields of the form and their values.
    pub form: Vec<(Box<str>, Template)>,
}

/// An `https` URL that the agent itself asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Whom.
    pub host: Host,
    /// On which port.
    pub port: u16,
    /// For what.
    pub path: PathAndQuery,
}

/// How a client proves itself to a token endpoint (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// In the `authorization` header.
    #[default]
    Basic,
    /// In the form.
    Post,
}

/// What signs requests to AWS, and to what speaks like it.
pub struct AwsSigV4 {
    /// The public half of the key.
    pub access_key_id: Source,
    /// The secret half.
    pub secret_access_key: Source,
    /// What makes a temporary key valid.
    pub session_token: Option<Source>,
    /// The region that the signature is for.
    pub region: Box<str>,
    /// The service that the signature is for, as in `s3`.
    pub service: Box<str>,
    /// The longest body that is held back for its hash.
    pub body_limit: usize,
}

/// What is swapped for what, and where.
pub struct Placeholder {
    /// The text that the tenant holds.
    pub placeholder: Box<str>,
    /// What takes its place.
    pub secret: Source,
    /// Whether query strings are searched, besides headers.
    pub in_query: bool,
    /// Whether bodies are.
    pub in_body: bool,
    /// The longest body of known length that is searched.
    pub body_limit: usize,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
