//! Stage 4, `terminate`: the workload's TLS ends at the agent.
//!
//! Takes the stream whose ClientHello was read, gives what is inside it. Only reached where
//! policy needs to see requests; everything else is passed through as it is.

pub mod authority;
pub mod issuers;
pub mod trust;
mod leaf;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use self::issuers::Issuers;
use self::trust::Store;
use crate::model::host::Host;
use crate::model::reason::Reason;
use crate::model::tenant::TenantId;

/// Ends TLS for all tenants.
pub struct Terminator {
    issuers: Issuers,
    handshake: Duration,
    /// Sessions are resumed within one tenant, never across.
    by_tenant: Mutex<HashMap<TenantId, Arc<ServerConfig>>>,
}

/// What is inside.
#[derive(Debug)]
pub struct Plain<S> {
    /// The stream.
    pub stream: TlsStream<S>,
    /// Whether both sides agreed on HTTP/2.
    pub is_http2: bool,
}

impl Terminator {
    /// A handshake may take `handshake`.
    pub fn new(issuers: Issuers, handshake: Duration) -> Self {
        Self {
            issuers,
            handshake,
            by_tenant: Mutex::default(),
        }
    }

    /// What the workloads of a tenant have to trust; see [`Issuers::store`].
    pub fn trust(&self, tenant: Option<&TenantId>) -> Result<Option<Store>, authority::Error> {
        self.issuers.store(tenant)
    }

    /// Answers as `host`. Fails with [`Reason::DownstreamTls`] where the workload does not take
    /// the certificate, with [`Reason::DownstreamTlsTimeout`] or with [`Reason::Internal`].
    pub async fn terminate<S>(
        &self,
        tenant: &TenantId,
        host: &Host,
        stream: S,
    ) -> Result<Plain<S>, Reason>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let config = self.config(tenant, host).map_err(|error| {
            tracing::error!(%error, "cannot terminate TLS");
            Reason::Internal
        })?;
        match timeout(self.handshake, TlsAcceptor::from(config).accept(stream)).await {
            Err(_elapsed) => Err(Reason::DownstreamTlsTimeout),
            Ok(Err(error)) => {
                tracing::debug!(%error, %host, "the workload broke off its TLS handshake");
                Err(Reason::DownstreamTls)
            }
            Ok(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                Ok(Plain { stream, is_http2 })
            }
        }
    }

    fn config(
        &self,
        tenant: &TenantId,
        host: &Host,
    ) -> Result<Arc<ServerConfig>, authority::Error> {
        let leaf = self.issuers.leaf(tenant, host)?;
        let mut config = ServerConfig::clone(&*self.tenant_config(tenant)?);
        config.cert_resolver = Arc::new(Always(leaf));
        Ok(Arc::new(config))
    }

    fn tenant_config(&self, tenant: &TenantId) -> Result<Arc<ServerConfig>, authority::Error> {
        let mut by_tenant = self
            .by_tenant
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = by_tenant.get(tenant) {
            return Ok(Arc::clone(config));
        }
        let failed = |source| authority::Error::Key { source };
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Never));
        config.alpn_protocols = [HTTP2, b"http/1.1", b"http/1.0"].map(Vec::from).to_vec();
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
        config.ticketer = ring::Ticketer::new().map_err(failed)?;
        let config = Arc::new(config);
        by_tenant.insert(tenant.clone(), Arc::clone(&config));
        Ok(config)
    }
}

/// The name was known before the handshake: it is what policy judged.
#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesServerCert for Always {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

#[derive(Debug)]
struct Never;

impl ResolvesServerCert for Never {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        None
    }
}

/// ALPN of HTTP/2 over TLS (RFC 9113 section 3.2).
pub const HTTP2: &[u8] = b"h2";
const SESSIONS: usize = 256;
