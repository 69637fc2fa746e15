//! A certificate authority: loaded or made, never logged.
//!
//! Its key never leaves this module; its certificates are what a workload has to trust.

pub mod files;
mod params;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{Issuer, KeyPair, PublicKeyData as _};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SigningKey};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use self::files::{file, write};
use super::leaf::Leaf;
use crate::model::host::Host;
use crate::model::tenant::TenantId;

/// Mints certificates for hosts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, and those that lead to its root.
    certificates: Vec<CertificateDer<'static>>,
    /// What is sent behind a leaf: of these all but a root, which whoever trusts it has.
    chain: Vec<CertificateDer<'static>>,
    expires: SystemTime,
    /// One key for all leaves: what a leaf proves is the name, and to one agent.
    leaf_key: KeyPair,
    signing_key: Arc<dyn SigningKey>,
}

/// Why there is no authority, or no certificate of it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Only one of its two files is there.
    #[error(
        "{present} is there and {missing} is not; restore it, or remove both for a new authority"
    )]
    Half {
        /// The one.
        present: PathBuf,
        /// The other.
        missing: PathBuf,
    },
    /// What is in a file is no authority's, or not this one's.
    #[error("{path} {lack}")]
    Unfit {
        /// Which file.
        path: PathBuf,
        /// What it lacks.
        lack: Lack,
    },
    /// What is in the files, or could not be made.
    #[error("cannot use {path} as a certificate authority")]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// A leaf could not be made.
    #[error("cannot mint a certificate for {host}")]
    Mint {
        /// For whom.
        host: Host,
        /// What is wrong.
        source: rcgen::Error,
    },
    /// rustls does not take what was made for it.
    #[error("cannot set up TLS towards workloads")]
    Key {
        /// What it says.
        source: rustls::Error,
    },
}

/// What a file lacks for an authority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lack {
    /// A certificate at all.
    #[error("holds no certificate (PEM)")]
    Certificate,
    /// A private key.
    #[error(
        "holds no private key in PKCS #8 (PEM); `openssl pkcs8 -topk8 -nodes` makes one of another form"
    )]
    Key,
    /// The right one.
    #[error("holds a certificate that is another key's; the authority's own has to stand first")]
    OwnKey,
    /// The right to sign.
    #[error("holds a certificate that may not sign others (CA:TRUE, keyCertSign)")]
    Right,
    /// Time.
    #[error("holds a certificate that is not valid now")]
    Validity,
}

impl Authority {
    /// Loads `ca.pem` and `ca.key` of a directory, or makes them (ECDSA P-256; the key with
    /// mode 0600) where neither is there: for one tenant, or for all of them.
    pub fn load_or_make(directory: &Path, tenant: Option<&TenantId>) -> Result<Self, Error> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        match (certificate.exists(), key.exists()) {
            (true, true) => Self::load(&certificate, &key),
            (false, false) => Self::make(directory, tenant, &certificate, &key),
            (true, false) => Err(Error::Half {
                present: certificate,
                missing: key,
            }),
            (false, true) => Err(Error::Half {
                present: key,
                missing: certificate,
            }),
        }
    }

    /// Loads an authority from its two PEM files, or from one that holds both: the authority's
    /// own certificate first, then those that lead to its root. Only what can sign is taken.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let read = |path: &Path| fs::read(path).map_err(file("read", path));
        let unfit = |path: &Path, lack| Error::Unfit {
            path: path.to_owned(),
            lack,
        };
        let (pem, key_pem) = (read(certificate)?, read(key)?);
        let key_pair = PrivateKeyDer::from_pem_slice(&key_pem)
            .ok()
            .and_then(|der| KeyPair::try_from(&der).ok())
            .ok_or_else(|| unfit(key, Lack::Key))?;
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(&pem)
            .collect::<Result<_, _>>()
            .map_err(|_broken| unfit(certificate, Lack::Certificate))?;
        let expires = check(&certificates, &key_pair).map_err(|lack| unfit(certificate, lack))?;
        Self::new(certificates, key_pair, expires, certificate)
    }

    fn make(
        directory: &Path,
        tenant: Option<&TenantId>,
        certificate: &Path,
        key: &Path,
    ) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(file("make", directory))?;
        let wrong = |source| Error::Certificate {
            path: certificate.to_owned(),
            source,
        };
        let key_pair = KeyPair::generate().map_err(wrong)?;
        let params = params::authority(tenant);
        let expires = SystemTime::from(params.not_after);
        let made = params.self_signed(&key_pair).map_err(wrong)?;
        // The key first: a certificate without its key would be trusted and could not be used.
        write(key, key_pair.serialize_pem().as_bytes(), 0o600)?;
        write(certificate, made.pem().as_bytes(), 0o644)?;
        Self::new(vec![made.der().clone()], key_pair, expires, certificate)
    }

    fn new(
        certificates: Vec<CertificateDer<'static>>,
        key_pair: KeyPair,
        expires: SystemTime,
        path: &Path,
    ) -> Result<Self, Error> {
        let wrong = |source| Error::Certificate {
            path: path.to_owned(),
            source,
        };
        let own = certificates
            .first()
            .ok_or(rcgen::Error::CouldNotParseCertificate)
            .map_err(wrong)?;
        let issuer = Issuer::from_ca_cert_der(own, key_pair).map_err(wrong)?;
        let leaf_key = KeyPair::generate().map_err(wrong)?;
        let der = PrivatePkcs8KeyDer::from(leaf_key.serialize_der());
        let signing_key =
            any_supported_type(&der.into()).map_err(|source| Error::Key { source })?;
        let is_root = |parsed: X509Certificate<'_>| parsed.subject() == parsed.issuer();
        let chain = certificates
            .iter()
            .filter(|one| !parsed(one).is_some_and(is_root));
        Ok(Self {
            issuer,
            chain: chain.cloned().collect(),
            certificates,
            expires,
            leaf_key,
            signing_key,
        })
    }

    /// The certificates that a workload has to trust.
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// A certificate for `host`, valid for a week or as long as the authority's own, with the
    /// chain that leads to the root.
    pub(super) fn mint(&self, host: &Host) -> Result<Leaf, Error> {
        let failed = |source| Error::Mint {
            host: host.clone(),
            source,
        };
        let (params, good) = params::leaf(host, self.expires).map_err(failed)?;
        let minted = params
            .signed_by(&self.leaf_key, &self.issuer)
            .map_err(failed)?;
        let chain = std::iter::once(minted.der()).chain(&self.chain);
        let chain = chain.cloned().collect();
        let key = CertifiedKey::new(chain, Arc::clone(&self.signing_key));
        Ok(Leaf::new(key, good))
    }
}

/// That what would be signed would be worth something; gives the end of it.
fn check(certificates: &[CertificateDer<'_>], key: &KeyPair) -> Result<SystemTime, Lack> {
    let own = certificates.first().ok_or(Lack::Certificate)?;
    let own = parsed(own).ok_or(Lack::Certificate)?;
    if own.public_key().raw != key.subject_public_key_info() {
        return Err(Lack::OwnKey);
    }
    let usage = own.key_usage().map_err(|_broken| Lack::Certificate)?;
    let may_sign = usage.is_none_or(|usage| usage.value.key_cert_sign());
    if !own.is_ca() || !may_sign {
        return Err(Lack::Right);
    }
    if !own.validity().is_valid() {
        return Err(Lack::Validity);
    }
    Ok(own.validity().not_after.to_datetime().into())
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (_rest, certificate) = X509Certificate::from_der(der).ok()?;
    Some(certificate)
}

#[cfg(test)]
mod tests;
