//! TLS towards upstreams: always verified, against the host's roots and the operator's own.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::certificates::{Identity, Roots};
use crate::model::host::Host;
use crate::model::reason::Reason;
use crate::model::tenant::TenantId;

/// Makes verified TLS connections.
pub struct Verifier {
    roots: Arc<RootCertStore>,
    handshake: Duration,
    made: Mutex<Made>,
}

#[derive(Default)]
struct Made {
    connectors: HashMap<(Option<TenantId>, Trust), Connectors>,
    /// Shared by all tenants that trust them.
    stores: HashMap<Roots, Arc<RootCertStore>>,
}

/// Whose word counts for an upstream besides whom all trust, and who the agent says it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Trust {
    /// Who vouches for upstreams.
    pub roots: Option<Roots>,
    /// Who the agent is, where it is asked.
    pub identity: Option<Identity>,
}

/// With whom, for whom, and in which way.
#[derive(Clone, Copy)]
pub(super) struct Handshake<'a> {
    /// Whose connection it is; none for the agent's own.
    pub(super) tenant: Option<&'a TenantId>,
    /// Whose word counts.
    pub(super) trust: &'a Trust,
    /// Who has to be there.
    pub(super) host: &'a Host,
    /// Whether it has to be HTTP/1.1, which alone can be upgraded.
    pub(super) upgradable: bool,
}

/// Made once, and with them the sessions that they resume: within one tenant, never across.
#[derive(Clone)]
struct Connectors {
    any: TlsConnector,
    /// Offers HTTP/1.1 alone.
    upgradable: TlsConnector,
}

/// Why there are no roots.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of certificates.
    #[error("cannot read certificates from {path}")]
    Roots {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in it.
    #[error("a certificate in {path} cannot be a root")]
    Root {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// rustls.
    #[error("cannot set up TLS towards upstreams")]
    Config {
        /// What it says.
        source: rustls::Error,
    },
}

impl Verifier {
    /// Trusts the host's bundle and `extra`. `SSL_CERT_FILE` and the like do not count: who
    /// starts the agent must not thereby choose whom it trusts.
    pub fn new(extra: &[PathBuf], handshake: Duration) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        match system_bundle() {
            Some(bundle) => {
                let (_good, ignored) = roots.add_parsable_certificates(read(bundle)?);
                if ignored > 0 {
                    tracing::warn!(bundle = %bundle.display(), ignored, "some of the host's root certificates cannot be used");
                }
            }
            None => tracing::warn!(
                "the host has no bundle of root certificates: only the operator's own are trusted"
            ),
        }
        for path in extra {
            for certificate in read(path)? {
                roots.add(certificate).map_err(|source| Error::Root {
                    path: path.clone(),
                    source,
                })?;
            }
        }
        let verifier = Self {
            roots: Arc::new(roots),
            handshake,
            made: Mutex::default(),
        };
        // What would not work for anybody is told at once.
        Connectors::new(Arc::clone(&verifier.roots), None)
            .map_err(|source| Error::Config { source })?;
        Ok(verifier)
    }

    /// Whether it takes the same word for upstreams as another.
    pub(super) fn trusts_as(&self, other: &Self) -> bool {
        self.roots.roots == other.roots.roots
    }

    fn connectors(&self, with: Handshake<'_>) -> Result<Connectors, rustls::Error> {
        let whose = (with.tenant.cloned(), with.trust.clone());
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connectors) = made.connectors.get(&whose) {
            return Ok(connectors.clone());
        }
        if made.connectors.len() >= MOST {
            // Certificates that were replaced would stay for ever; what is needed is made anew.
            *made = Made::default();
        }
        let store = match &with.trust.roots {
            None => Arc::clone(&self.roots),
            Some(roots) => made.store(roots, &self.roots)?,
        };
        let connectors = Connectors::new(store, with.trust.identity.as_ref())?;
        made.connectors.insert(whose, connectors.clone());
        Ok(connectors)
    }

    /// Shakes hands with a host; its certificate must be for that very name. Fails with
    /// [`Reason::UpstreamTlsUnverified`], [`Reason::UpstreamTls`] or [`Reason::UpstreamTimeout`].
    /// Says too whether the upstream chose HTTP/2.
    pub(super) async fn connect(
        &self,
        with: Handshake<'_>,
        stream: TcpStream,
    ) -> Result<(TlsStream<TcpStream>, bool), Reason> {
        let host = with.host;
        let connectors = self.connectors(with).map_err(|error| {
            tracing::error!(%error, "cannot set up TLS towards upstreams");
            Reason::Internal
        })?;
        let connector = if with.upgradable {
            connectors.upgradable
        } else {
            connectors.any
        };
        let name = match host {
            Host::Name(name) => {
                ServerName::try_from(name.to_string()).map_err(|_invalid| Reason::UpstreamTls)?
            }
            Host::Address(address) => ServerName::from(*address),
        };
        match timeout(self.handshake, connector.connect(name, stream)).await {
            Err(_elapsed) => Err(Reason::UpstreamTimeout),
            Ok(Err(error)) => {
                tracing::debug!(%error, %host, "no TLS with the upstream");
                Err(reason(&error))
            }
            Ok(Ok(stream)) => {
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                Ok((stream, is_http2))
            }
        }
    }
}

impl Made {
    /// `all` and these.
    fn store(
        &mut self,
        roots: &Roots,
        all: &RootCertStore,
    ) -> Result<Arc<RootCertStore>, rustls::Error> {
        if let Some(store) = self.stores.get(roots) {
            return Ok(Arc::clone(store));
        }
        let mut store = all.clone();
        for root in roots.certificates() {
            store.add(root.clone())?;
        }
        let store = Arc::new(store);
        self.stores.insert(roots.clone(), Arc::clone(&store));
        Ok(store)
    }
}

impl Connectors {
    fn new(roots: Arc<RootCertStore>, identity: Option<&Identity>) -> Result<Self, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let identity = Arc::clone(identity.certified_key());
                config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
            }
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let upgradable = TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        let any = TlsConnector::from(Arc::new(config));
        Ok(Self { any, upgradable })
    }
}

/// The host's own roots, where it has any.
pub fn system_bundle() -> Option<&'static Path> {
    SYSTEM_BUNDLES
        .iter()
        .map(Path::new)
        .find(|path| path.exists())
}

fn reason(error: &io::Error) -> Reason {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented) => {
            Reason::UpstreamTlsUnverified
        }
        Some(_) => Reason::UpstreamTls,
        None => Reason::UpstreamReset,
    }
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let failed = |source| Error::Roots {
        path: path.to_owned(),
        source,
    };
    CertificateDer::pem_file_iter(path)
        .map_err(failed)?
        .collect::<Result<_, _>>()
        .map_err(failed)
}

/// Of one tenant.
const SESSIONS: usize = 32;
/// Tenants with what they trust.
const MOST: usize = 16_384;
const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Where distributions keep their bundle: Debian, Fedora, SUSE, Alpine.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
