//! Tokens that somebody else gives out: the client credentials of OAuth 2.0 (RFC 6749 section 4.4).

use std::pin::Pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};
use serde::Deserialize;

use super::percent::encode;
use crate::model::credential::{ClientAuth, Endpoint, OAuth2};
use crate::model::reason::Reason;
use crate::model::secret::Secret;

/// Asks a token endpoint.
pub trait Ask: Sync {
    /// Sends `request` to `endpoint` over verified TLS, and gives the status and the whole body.
    fn ask<'a>(&'a self, endpoint: &'a Endpoint, request: Request<Bytes>) -> Asked<'a>;
}

/// What comes back, in time.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<(StatusCode, Bytes), Reason>> + Send + 'a>>;

/// Why there is no token. Shows nothing of what was sent or of what came back.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The endpoint was not reached.
    #[error("the token endpoint cannot be asked: {}", .0.label())]
    Unreachable(Reason),
    /// The endpoint said no.
    #[error("the token endpoint answered {status}{}", said(.error))]
    Refused {
        /// The status.
        status: StatusCode,
        /// One of the words of RFC 6749 section 5.2, where it used one.
        error: Option<&'static str>,
    },
    /// The endpoint said something else.
    #[error("the token endpoint's answer is none of RFC 6749 section 5.1")]
    Malformed,
}

fn said(error: &Option<&'static str>) -> String {
    error.map_or_else(String::new, |error| format!(": {error}"))
}

/// A successful answer (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<Lifetime>,
}

/// Seconds; some servers write them as a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Lifetime {
    Number(u64),
    Text(String),
}

/// An answer that is no token (RFC 6749 section 5.2).
#[derive(Deserialize)]
struct Denied {
    error: String,
}

/// Fetches a token; gives it and how long it is good.
pub(super) async fn fetch(
    oauth2: &OAuth2,
    form: &[(Box<str>, String)],
    client_secret: &Secret,
    ask: &dyn Ask,
) -> Result<(Secret, Duration), Refusal> {
    let request = request(oauth2, form, client_secret).ok_or(Refusal::Malformed)?;
    let answer = ask.ask(&oauth2.endpoint, request).await;
    let (status, body) = answer.map_err(Refusal::Unreachable)?;
    if status != StatusCode::OK {
        let denied = serde_json::from_slice::<Denied>(&body).ok();
        let error = denied.and_then(|denied| {
            let mut known = ERRORS.into_iter();
            known.find(|known| *known == denied.error)
        });
        return Err(Refusal::Refused { status, error });
    }
    let granted: Granted =
        serde_json::from_slice(&body).map_err(|_malformed| Refusal::Malformed)?;
    let token = Secret::new(granted.access_token.into_bytes());
    if !granted.token_type.eq_ignore_ascii_case("bearer") || token.expose().is_empty() {
        return Err(Refusal::Malformed);
    }
    let seconds = match granted.expires_in {
        None => UNSAID,
        Some(Lifetime::Number(seconds)) => seconds,
        Some(Lifetime::Text(text)) => text.parse().map_err(|_invalid| Refusal::Malformed)?,
    };
    Ok((token, Duration::from_secs(seconds.min(LONGEST))))
}

fn request(
    oauth2: &OAuth2,
    form: &[(Box<str>, String)],
    secret: &Secret,
) -> Option<Request<Bytes>> {
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let form_type = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form_type);
    let mut body = String::from("grant_type=client_credentials");
    let mut field = |name: &str, value: &str| {
        body.push('&');
        body.push_str(&encode(name.as_bytes(), b""));
        body.push('=');
        body.push_str(value);
    };
    for (name, value) in form {
        field(name, &encode(value.as_bytes(), b""));
    }
    let id = encode(oauth2.client_id.as_bytes(), b"");
    let secret = encode(secret.expose(), b"");
    match oauth2.client_auth {
        ClientAuth::Basic => {
            let pair = STANDARD.encode(format!("{id}:{secret}"));
            let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        ClientAuth::Post => {
            field("client_id", &id);
            field("client_secret", &secret);
        }
    }
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from(oauth2.endpoint.path.clone());
    *request.headers_mut() = headers;
    Some(request)
}

/// The words of RFC 6749 section 5.2. Others are not shown: a server may say anything.
const ERRORS: [&str; 6] = [
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
];
/// Seconds for a token that does not say how long it is good.
const UNSAID: u64 = 300;
/// Seconds after which any token is fetched anew.
const LONGEST: u64 = 24 * 3600;
