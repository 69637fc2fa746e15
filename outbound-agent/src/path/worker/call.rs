//! The wire to a worker that is a server: HTTP/1.1, the request as the tenant sent it, and the
//! agent's words in headers.

mod egress;
mod sign;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, Version};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

pub(super) use self::egress::Egress;
use self::egress::Pass;
use self::sign::{Said, Signer};
use super::{Failure, Invocation};
use crate::drain::Tasks;
use crate::model::reason::Reason;
use crate::model::secret::Secret;
use crate::model::traffic::Traffic;
use crate::model::worker::Values;
use crate::path::http::body::{Source, Streamed};

/// A worker that somebody else runs.
pub(super) struct Server {
    host: Box<str>,
    port: u16,
    signer: Signer,
    body_idle: Duration,
    idle: Mutex<Vec<SendRequest<Source>>>,
    tasks: Tasks,
}

/// The URL that the tenant asked for; in a worker's own request, the one that it asks for.
const URL: HeaderName = HeaderName::from_static("outbound-url");
/// Which invocation a worker's request is for.
const INVOCATION: HeaderName = HeaderName::from_static("outbound-invocation");
const TENANT: HeaderName = HeaderName::from_static("outbound-tenant");
const PARAMETERS: HeaderName = HeaderName::from_static("outbound-parameters");
const EGRESS: HeaderName = HeaderName::from_static("outbound-egress");
const SIGNATURE: HeaderName = HeaderName::from_static("outbound-signature");

/// Connections that are kept for the next requests.
const KEPT: usize = 64;

impl Server {
    pub(super) fn new(address: &Uri, key: &Secret, body_idle: Duration, tasks: Tasks) -> Self {
        let host = address.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Self {
            host: host.into(),
            port: address.port_u16().unwrap_or(80),
            signer: Signer::new(key),
            body_idle,
            idle: Mutex::default(),
            tasks,
        }
    }

    /// Sends the request there and gives the head of the response; its body streams.
    pub(super) async fn call(
        &self,
        invocation: Invocation,
        env: &Values,
        egress: &Egress,
    ) -> Result<Response<Source>, Failure> {
        let Invocation {
            tenant,
            mut request,
            errands,
        } = invocation;
        let pass = egress.admit(errands);
        let pass = pass.map_err(|error| Failure::new(Reason::Internal, error.to_string()))?;
        self.say(&mut request, tenant.id.as_str(), env, &pass)
            .map_err(|invalid| Failure::new(Reason::Internal, invalid.to_string()))?;
        let response = self.exchange(request).await?;
        let (mut head, body) = response.into_parts();
        forget_agent_fields(&mut head.headers);
        let on_end = Box::new(move |_ending| drop(pass));
        let body = Streamed::new(body, Arc::new(Uncounted), self.body_idle, on_end);
        Ok(Response::from_parts(head, Source::Streamed(Box::new(body))))
    }

    /// Puts the agent's words into the header; none of the tenant's may look like one.
    fn say(
        &self,
        request: &mut Request<Source>,
        tenant: &str,
        env: &Values,
        pass: &Pass,
    ) -> Result<(), http::header::InvalidHeaderValue> {
        let url = request.uri().to_string();
        let parameters = ascii(&Value::from(env.clone()).to_string());
        let signature = self.signer.sign(&Said {
            method: request.method().as_str(),
            url: &url,
            tenant,
            invocation: pass.token(),
            parameters: &parameters,
        });
        let mark = request.headers_mut().remove(super::REQUEST);
        forget_agent_fields(request.headers_mut());
        let said = [
            (URL, url.as_str()),
            (TENANT, tenant),
            (PARAMETERS, &parameters),
            (EGRESS, &pass.url()),
            (INVOCATION, pass.token()),
            (SIGNATURE, &signature),
        ];
        for (name, value) in said {
            request.headers_mut().insert(name, value.parse()?);
        }
        request
            .headers_mut()
            .extend(mark.map(|mark| (super::REQUEST, mark)));
        if let Some(authority) = request.uri().authority() {
            let host = HeaderValue::from_str(authority.as_str())?;
            request.headers_mut().insert(HOST, host);
        }
        // Framing follows from the body.
        request.headers_mut().remove(CONTENT_LENGTH);
        let target = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
        *request.version_mut() = Version::HTTP_11;
        Ok(())
    }

    /// A kept connection may have been closed since; what was not written is sent again.
    async fn exchange(&self, mut request: Request<Source>) -> Result<Response<Source>, Failure> {
        while let Some(mut kept) = self.take() {
            match kept.try_send_request(request).await {
                Ok(response) => return Ok(self.keep(kept, response)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(failed(error.into_error())),
                },
            }
        }
        let mut fresh = match self.connect().await {
            Ok(fresh) => fresh,
            Err(error) => {
                let text = format!("cannot reach {}:{}: {error}", self.host, self.port);
                return Err(Failure {
                    unused: Some(request.into_body()),
                    ..Failure::new(Reason::WorkerUnavailable, text)
                });
            }
        };
        let answered = fresh.try_send_request(request).await;
        let response = answered.map_err(|error| failed(error.into_error()))?;
        Ok(self.keep(fresh, response))
    }

    /// Keeps no connection for later.
    pub(super) fn close_idle(&self) {
        self.lock().clear();
    }

    async fn connect(
        &self,
    ) -> Result<SendRequest<Source>, Box<dyn std::error::Error + Send + Sync>> {
        let stream = TcpStream::connect((&*self.host, self.port)).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // What goes wrong there is seen by whoever waits for the response.
        self.tasks
            .spawn("worker", async move { drop(connection.await) });
        Ok(sender)
    }

    /// A connection is ready again once the response's body has ended.
    fn take(&self) -> Option<SendRequest<Source>> {
        let mut idle = self.lock();
        idle.retain(|sender| !sender.is_closed());
        let ready = idle.iter().position(SendRequest::is_ready)?;
        Some(idle.swap_remove(ready))
    }

    fn keep<B>(&self, sender: SendRequest<Source>, response: Response<B>) -> Response<Source>
    where
        Source: From<B>,
    {
        let mut idle = self.lock();
        if idle.len() < KEPT {
            idle.push(sender);
        }
        response.map(Source::from)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<SendRequest<Source>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: hyper::Error) -> Failure {
    let reason = if error.is_user() {
        // The workload's body broke off.
        Reason::DownstreamAborted
    } else {
        Reason::WorkerException
    };
    Failure::new(
        reason,
        format!("the exchange with the worker failed: {error}"),
    )
}

/// Takes out what only the agent says.
fn forget_agent_fields(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with("outbound-"))
        .cloned()
        .collect();
    for name in ours {
        headers.remove(name);
    }
}

/// JSON that a header can carry: what is not printable ASCII is escaped (RFC 8259 section 7).
fn ascii(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if matches!(character, ' '..='~') {
            text.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            text.push_str(&format!("\\u{unit:04x}"));
        }
    }
    text
}

/// What goes between agent and worker is no traffic of the tenant's.
pub struct Uncounted;

impl Traffic for Uncounted {
    fn count_sent(&self, _bytes: usize) {}

    fn count_received(&self, _bytes: usize) {}

    fn passed(&self) -> u64 {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_fit_a_header_and_mean_the_same() {
        let value = serde_json::json!({"name": "Zoë 🦀\u{1}\n", "n": 1});
        let text = ascii(&value.to_string());
        assert!(
            text.bytes().all(|byte| matches!(byte, b' '..=b'~')),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
