//! Certificates towards upstreams: who the agent says it is, and whose word it takes.
//!
//! Both are compared by which one they are: what was read anew is another one, so that nothing
//! that was done under the old one counts under the new.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::secret::Secret;

/// A client's certificate with the chain behind it, and its key.
#[derive(Clone)]
pub struct Identity(Arc<CertifiedKey>);

/// Certificates that vouch for upstreams besides those of the host.
#[derive(Clone)]
pub struct Roots(Arc<[CertificateDer<'static>]>);

/// Why something is not what it should be. Shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No certificate.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// No key.
    #[error("holds no private key in PEM")]
    NoKey,
    /// One of another.
    #[error("holds a key that is not its certificate's: {source}")]
    Key {
        /// What rustls says.
        source: rustls::Error,
    },
    /// A root that rustls does not take.
    #[error("holds a certificate that cannot be a root: {source}")]
    Root {
        /// What rustls says.
        source: rustls::Error,
    },
}

impl Identity {
    /// Takes a certificate, the chain behind it, and its key; all in PEM, which may be one text.
    pub fn read(certificate: &Secret, key: &Secret) -> Result<Self, Error> {
        let chain = certificates(certificate.expose())?;
        let key = PrivateKeyDer::from_pem_slice(key.expose()).map_err(|_no_key| Error::NoKey)?;
        let certified = CertifiedKey::from_der(chain, key, &ring::default_provider());
        certified
            .map(|certified| Self(Arc::new(certified)))
            .map_err(|source| Error::Key { source })
    }

    /// What shakes hands.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.0
    }
}

impl Roots {
    /// Takes certificates in PEM.
    pub fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
        let certificates = certificates(pem)?;
        let mut store = RootCertStore::empty();
        for certificate in &certificates {
            store
                .add(certificate.clone())
                .map_err(|source| Error::Root { source })?;
        }
        Ok(certificates)
    }

    /// All of these.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Self {
        Self(certificates.into())
    }

    /// The certificates.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or(Error::NoCertificate)
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Identity {}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl PartialEq for Roots {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Roots {}

impl Hash for Roots {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Arc::as_ptr(&self.0).hash(state);
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(redacted)")
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Roots({})", self.0.len())
    }
}
