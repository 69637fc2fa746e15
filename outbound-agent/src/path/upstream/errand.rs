//! Requests of the agent's own: one connection, one request, the whole answer, in time.

use bytes::Bytes;
use http::header::{HOST, HeaderValue};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::super::policy::Permit;
use super::tls::{Handshake, Trust};
use super::{Upstream, dial, reason};
use crate::model::reason::Reason;

impl Upstream {
    /// Sends a request under a permit for an `https` destination; gives the status and the whole
    /// body. Never over a kept connection, never with a tenant's.
    pub async fn ask(
        &self,
        permit: Permit,
        request: Request<Bytes>,
    ) -> Result<(StatusCode, Bytes), Reason> {
        timeout(self.limits.errand, self.ask_now(permit, request))
            .await
            .unwrap_or(Err(Reason::UpstreamTimeout))
    }

    async fn ask_now(
        &self,
        mut permit: Permit,
        request: Request<Bytes>,
    ) -> Result<(StatusCode, Bytes), Reason> {
        let mut failure = Reason::UpstreamUnresolved;
        let mut connected = None;
        for address in self.addresses(&permit.destination().host).await {
            let peer = permit
                .check_address(address)
                .map_err(|denial| denial.reason)?;
            if self.is_agent(peer) {
                return Err(Reason::AgentAddress);
            }
            match dial::dial(peer, &self.limits).await {
                Ok(stream) => {
                    connected = Some(stream);
                    break;
                }
                Err(failed) => failure = failed.reason(),
            }
        }
        let stream = connected.ok_or(failure)?;
        let destination = permit.destination();
        let trust = Trust::default();
        let verifier = self.verifier.load_full();
        let handshake = Box::pin(verifier.connect(
            Handshake {
                tenant: None,
                trust: &trust,
                host: &destination.host,
                upgradable: true,
            },
            stream,
        ));
        let (stream, _is_http2) = handshake.await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| reason(&error))?;
        self.tasks
            .spawn("errand", async move { drop(connection.await) });
        let mut request = request.map(Full::new);
        let host = HeaderValue::try_from(destination.authority());
        let host = host.map_err(|_invalid| Reason::NoHost)?;
        request.headers_mut().insert(HOST, host);
        let response = sender.send_request(request).await;
        let response = response.map_err(|error| reason(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MOST_ANSWER)
            .collect()
            .await;
        let body = body.map_err(|_too_long_or_broken| Reason::UpstreamMalformed)?;
        Ok((status, body.to_bytes()))
    }
}

/// The longest answer that is read.
const MOST_ANSWER: usize = 256 << 10;
