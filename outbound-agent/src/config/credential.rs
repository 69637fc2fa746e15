//! From what the files say about a credential to what the agent adds.

use std::ffi::OsString;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, header};

use super::kind::compound::Placed;
use super::policy::compile;
use super::problem::{KeyPath, Problems};
use super::raw::credential::{
    AwsSigV4 as RawAws, Bound, Credential as Raw, Jwt as RawJwt, Mtls as RawMtls,
    OAuth2 as RawOAuth2, Placeholder as RawPlaceholder, bearer,
};
use super::secret::SecretReference;
use super::set::Sets;
use crate::model::certificates::Identity;
use crate::model::credential::{
    AwsSigV4, Binding, Credential, Field, Jwt, Kind, OAuth2, Placeholder, Wrap,
};
use crate::model::jwt::Signer;
use crate::model::secret::{Secret, Source};
use crate::model::target::{Pattern, Scheme};
use crate::model::targets::List;
use crate::model::template::Template;

/// Compiles one; gives nothing where there is a problem, and says each.
pub(super) fn credential(
    name: &str,
    raw: &Raw,
    environment: impl Fn(&str) -> Option<OsString>,
    sets: &Sets,
    problems: &mut Problems,
) -> Option<Arc<Credential>> {
    let credentials = KeyPath::Key(&KeyPath::Top, "credentials");
    let path = KeyPath::Key(&credentials, name);
    let bound = raw.bound();
    bound_hosts(&bound, &path, problems);
    if matches!(raw, Raw::Mtls(_)) {
        needs_tls(&bound, &path, problems);
    }
    let mut secrets = Secrets {
        path: &path,
        environment: &environment,
        problems,
    };
    let kind = kind(raw, &mut secrets)?;
    let within = KeyPath::Key(&path, "hosts");
    let hosts = compile(&bound.hosts, List::Hosts, sets, &within, problems);
    Some(Arc::new(Credential {
        name: name.into(),
        binding: Binding {
            hosts,
            methods: bound.methods,
            paths: bound.paths,
            allow_plaintext: bound.allow_plaintext,
        },
        scrub_bodies: bound.scrub_bodies,
        kind,
    }))
}

fn kind(raw: &Raw, secrets: &mut Secrets<'_>) -> Option<Kind> {
    match raw {
        Raw::Header(raw) => secrets.header("secret", &raw.secret, &raw.header, &raw.value),
        Raw::Bearer(raw) => {
            secrets.header("secret", &raw.secret, &header::AUTHORIZATION, &bearer())
        }
        Raw::Basic(raw) => {
            let password = secrets.source("secret", &raw.secret, |password| {
                let is_plain = !password.expose().iter().any(u8::is_ascii_control);
                is_plain.then_some(()).ok_or(CONTROL.to_owned())
            })?;
            let username = raw.username.as_str().into();
            Some(Kind::Basic { username, password })
        }
        Raw::Jwt(raw) => jwt(raw, secrets),
        Raw::OAuth2(raw) => oauth2(raw, secrets),
        Raw::AwsSigV4(raw) => aws(raw, secrets),
        Raw::Placeholder(raw) => placeholder(raw, secrets),
        Raw::Mtls(raw) => secrets.identity(raw),
    }
}

fn jwt(raw: &RawJwt, secrets: &mut Secrets<'_>) -> Option<Kind> {
    let key_id = raw.key_id.as_deref();
    let key = secrets.source("key", &raw.key, |key| {
        let signer = Signer::new(raw.algorithm, key, key_id);
        signer.map(drop).map_err(|why| why.to_string())
    })?;
    Some(Kind::Jwt(Box::new(Jwt {
        field: Field {
            name: raw.header.clone(),
            wrap: raw.value.clone(),
        },
        key,
        algorithm: raw.algorithm,
        key_id: key_id.map(Into::into),
        claims: raw.claims.clone(),
        ttl: raw.ttl,
    })))
}

fn oauth2(raw: &RawOAuth2, secrets: &mut Secrets<'_>) -> Option<Kind> {
    let client_secret = secrets.source("client_secret", &raw.client_secret, |_any| Ok(()))?;
    let form = [("scope", &raw.scope), ("audience", &raw.audience)];
    let field = |(name, value): (&str, &Option<Template>)| Some((name.into(), value.clone()?));
    Some(Kind::OAuth2(Box::new(OAuth2 {
        field: Field {
            name: raw.header.clone(),
            wrap: raw.value.clone(),
        },
        endpoint: raw.token_url.clone(),
        client_id: raw.client_id.as_str().into(),
        client_secret,
        client_auth: raw.client_auth,
        form: form.into_iter().filter_map(field).collect(),
    })))
}

fn aws(raw: &RawAws, secrets: &mut Secrets<'_>) -> Option<Kind> {
    let access_key_id = secrets.source("access_key_id", &raw.access_key_id, fits_header);
    let secret = &raw.secret_access_key;
    let secret_access_key = secrets.source("secret_access_key", secret, |_any| Ok(()));
    let session_token = match &raw.session_token {
        None => None,
        Some(token) => Some(secrets.source("session_token", token, fits_header)?),
    };
    Some(Kind::AwsSigV4(Box::new(AwsSigV4 {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token,
        region: raw.region.as_str().into(),
        service: raw.service.as_str().into(),
        body_limit: raw.body_limit,
    })))
}

fn placeholder(raw: &RawPlaceholder, secrets: &mut Secrets<'_>) -> Option<Kind> {
    let secret = secrets.source("secret", &raw.secret, fits_header)?;
    Some(Kind::Placeholder(Box::new(Placeholder {
        placeholder: raw.placeholder.as_str().into(),
        secret,
        in_query: raw.in_query,
        in_body: raw.in_body,
        body_limit: raw.body_limit,
    })))
}

/// A credential is bound to hosts that it can really go to.
fn bound_hosts(bound: &Bound, path: &KeyPath<'_>, problems: &mut Problems) {
    let path = KeyPath::Key(path, "hosts");
    for (index, Placed { place, value }) in bound.hosts.iter().enumerate() {
        let path = KeyPath::Index(&path, index);
        let text = &value.text;
        if value.pattern == Pattern::Any {
            let message =
                format!("{text:?}: a credential for every host goes to strangers; name its hosts");
            problems.add(place, path, message);
        } else if value.scheme == Some(Scheme::Tcp) {
            let message = format!("{text:?}: nothing can be added to tcp; write http or https");
            problems.add(place, path, message);
        } else if value.scheme == Some(Scheme::Http) && !bound.allow_plaintext {
            let message = format!("{text:?}: plain HTTP needs allow_plaintext = true");
            problems.add(place, path, message);
        }
    }
}

/// A client's certificate is part of TLS.
fn needs_tls(bound: &Bound, path: &KeyPath<'_>, problems: &mut Problems) {
    let Some(first) = bound.hosts.first().filter(|_| bound.allow_plaintext) else {
        return;
    };
    let message = "there is no certificate without TLS; leave it out";
    problems.add(&first.place, KeyPath::Key(path, "allow_plaintext"), message);
}

/// The secrets of one credential, while it is compiled.
struct Secrets<'a> {
    path: &'a KeyPath<'a>,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    problems: &'a mut Problems,
}

impl Secrets<'_> {
    /// Where a secret is. What it holds is read and judged now, so that a wrong one is told before
    /// anybody needs it; a program is not run before.
    fn source(
        &mut self,
        key: &str,
        reference: &Placed<SecretReference>,
        judge: impl Fn(&Secret) -> Result<(), String>,
    ) -> Option<Source> {
        let Placed { place, value } = reference;
        let judged = match value.source(self.environment) {
            Err(why) => Err(format!(": {why}")),
            Ok(source) if matches!(value, SecretReference::Command(_)) => Ok(source),
            Ok(source) => match value.resolve(self.environment) {
                Err(why) => Err(format!(": {why}")),
                Ok(secret) => judge(&secret)
                    .map(|()| source)
                    .map_err(|why| format!(" {why}")),
            },
        };
        judged
            .map_err(|why| {
                let message = format!("{:?}{why}", value.to_string());
                self.problems
                    .add(place, KeyPath::Key(self.path, key), message);
            })
            .ok()
    }

    /// A certificate and its key. They are judged together, where both can be read now.
    fn identity(&mut self, raw: &RawMtls) -> Option<Kind> {
        let certificate = self.source("certificate", &raw.certificate, |_any| Ok(()));
        let readable = |reference: &Placed<SecretReference>| match reference.value {
            SecretReference::Command(_) => None,
            _ => reference.value.resolve(self.environment).ok(),
        };
        let shown = readable(&raw.certificate);
        let key = self.source("key", &raw.key, |key| {
            let Some(certificate) = &shown else {
                return Ok(());
            };
            let identity = Identity::read(certificate, key);
            identity.map(drop).map_err(|why| why.to_string())
        });
        Some(Kind::Mtls {
            certificate: certificate?,
            key: key?,
        })
    }

    /// A secret that goes into a header.
    fn header(
        &mut self,
        key: &str,
        reference: &Placed<SecretReference>,
        name: &HeaderName,
        wrap: &Wrap,
    ) -> Option<Kind> {
        let secret = self.source(key, reference, fits_header)?;
        let field = Field {
            name: name.clone(),
            wrap: wrap.clone(),
        };
        Some(Kind::Header { field, secret })
    }
}

fn fits_header(secret: &Secret) -> Result<(), String> {
    HeaderValue::from_bytes(secret.expose())
        .map(drop)
        .map_err(|_invalid| CONTROL.to_owned())
}

const CONTROL: &str = "holds a character that no header can carry";
