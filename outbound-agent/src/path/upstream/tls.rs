//! TLS towards upstreams: always verified, against the host's roots and the operator's own.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::model::host::Host;
use crate::model::reason::Reason;

/// Makes verified TLS connections.
#[derive(Clone)]
pub struct Verifier {
    connector: TlsConnector,
    /// Offers HTTP/1.1 alone.
    upgradable: TlsConnector,
    handshake: Duration,
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
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|source| Error::Config { source })?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let upgradable = TlsConnector::from(Arc::new(config.clone()));
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        Ok(Self {
            connector,
            upgradable,
            handshake,
        })
    }

    /// Shakes hands with `host`; its certificate must be for that very name. Fails with
    /// [`Reason::UpstreamTlsUnverified`], [`Reason::UpstreamTls`] or [`Reason::UpstreamTimeout`].
    /// Says too whether the upstream chose HTTP/2; an `upgradable` connection is HTTP/1.1.
    pub(super) async fn connect(
        &self,
        host: &Host,
        stream: TcpStream,
        upgradable: bool,
    ) -> Result<(TlsStream<TcpStream>, bool), Reason> {
        let connector = if upgradable {
            &self.upgradable
        } else {
            &self.connector
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

const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// Where distributions keep their bundle: Debian, Fedora, SUSE, Alpine.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
