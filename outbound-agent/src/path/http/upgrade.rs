//! What a connection becomes after `101 Switching Protocols` (RFC 9110 section 7.8).

use http::{Request, Response};
use hyper::upgrade::{self, OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;

use super::super::accept::Downlink;

/// A connection that was HTTP, and now is what both sides agreed on.
pub type Switched = TokioIo<Upgraded>;

impl Downlink for Switched {
    fn abort(&self) {
        // What carried it ends with it.
    }

    fn settle(&self) {
        // As above.
    }
}

/// One side of an upgrade that is under way.
#[derive(Debug)]
pub struct Upgrade(OnUpgrade);

/// The side went away before it had changed its protocol.
#[derive(Debug, thiserror::Error)]
#[error("the connection ended before it was upgraded")]
pub struct Gone;

impl Upgrade {
    /// Of the workload's connection, over which `request` came.
    pub fn of_request<B>(request: &mut Request<B>) -> Self {
        Self(upgrade::on(request))
    }

    /// Of the upstream's connection, over which `response` came.
    pub fn of_response<B>(response: &mut Response<B>) -> Self {
        Self(upgrade::on(response))
    }

    /// The connection, once it speaks the other protocol.
    pub async fn stream(self) -> Result<Switched, Gone> {
        self.0.await.map(TokioIo::new).map_err(|_error| Gone)
    }
}
