//! The local certificate authority: loaded or made, never logged.
//!
//! Its key never leaves this module; its certificate is what a tenant has to trust.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::sign::CertifiedKey;
use time::{Duration, OffsetDateTime};

use crate::model::host::Host;

/// Mints certificates for hosts.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    /// One key for all leaves: what a leaf proves is the name, and to one agent.
    leaf_key: KeyPair,
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
    /// rustls does not take the leaf's key.
    #[error("cannot use the key of a minted certificate")]
    Key {
        /// What it says.
        source: rustls::Error,
    },
}

impl Authority {
    /// Loads `ca.pem` and `ca.key` of a directory, or makes them (ECDSA P-256; the key with
    /// mode 0600) where neither is there.
    pub fn load_or_make(directory: &Path) -> Result<Self, Error> {
        let (certificate, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        match (certificate.exists(), key.exists()) {
            (true, true) => Self::load(&certificate, &key),
            (false, false) => Self::make(directory, &certificate, &key),
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

    /// Loads an authority from its two PEM files, as an operator's own.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, Error> {
        let read = |path: &Path| fs::read_to_string(path).map_err(file("read", path));
        let key_pair = KeyPair::from_pem(&read(key)?).map_err(wrong(key))?;
        Self::new(read(certificate)?, key_pair).map_err(wrong(certificate))
    }

    fn make(directory: &Path, certificate: &Path, key: &Path) -> Result<Self, Error> {
        fs::create_dir_all(directory).map_err(file("make", directory))?;
        let key_pair = KeyPair::generate().map_err(wrong(key))?;
        let pem = params()
            .self_signed(&key_pair)
            .map_err(wrong(certificate))?
            .pem();
        // The key first: a certificate without its key would be trusted and could not be used.
        write(key, key_pair.serialize_pem().as_bytes(), 0o600)?;
        write(certificate, pem.as_bytes(), 0o644)?;
        Self::new(pem, key_pair).map_err(wrong(certificate))
    }

    fn new(pem: String, key_pair: KeyPair) -> Result<Self, rcgen::Error> {
        let certificate = first_certificate(&pem)?;
        let issuer = Issuer::from_ca_cert_der(&certificate, key_pair)?;
        Ok(Self {
            issuer,
            certificate,
            pem,
            leaf_key: KeyPair::generate()?,
        })
    }

    /// The certificate that tenants have to trust, as PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for `host`, valid for a week, with the chain that leads here.
    pub fn mint(&self, host: &Host) -> Result<Arc<CertifiedKey>, Error> {
        let minted = leaf_params(host)
            .and_then(|params| params.signed_by(&self.leaf_key, &self.issuer))
            .map_err(|source| Error::Mint {
                host: host.clone(),
                source,
            })?;
        let key = PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der());
        let key = any_supported_type(&key.into()).map_err(|source| Error::Key { source })?;
        let chain = vec![minted.der().clone(), self.certificate.clone()];
        Ok(Arc::new(CertifiedKey::new(chain, key)))
    }
}

fn params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Outbound local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + AUTHORITY_LIFETIME;
    params
}

fn leaf_params(host: &Host) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let name = match host {
        Host::Name(name) => SanType::DnsName(name.to_string().try_into()?),
        Host::Address(address) => SanType::IpAddress(*address),
    };
    params.subject_alt_names = vec![name];
    // A common name holds 64 characters (RFC 5280 appendix A.1); the subject alternative name
    // is what counts.
    let mut common_name = host.to_string();
    common_name.truncate(64);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + LEAF_LIFETIME;
    Ok(params)
}

fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, rcgen::Error> {
    use rustls::pki_types::pem::PemObject as _;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| rcgen::Error::PemError(error.to_string()))
}

/// Writes certificates for everybody to read, whole or not at all.
pub fn publish(path: &Path, certificates: &[u8]) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(file("make", directory))?;
    }
    let new = path.with_extension("new");
    drop(fs::remove_file(&new));
    write(&new, certificates, 0o644)?;
    fs::rename(&new, path).map_err(file("replace", path))
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut opened = options.open(path).map_err(file("make", path))?;
    opened
        .write_all(bytes)
        .and_then(|()| opened.sync_all())
        .map_err(file("write", path))
}

fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}

fn wrong(path: &Path) -> impl FnOnce(rcgen::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Certificate { path, source }
}

const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
/// Short: a leaf is minted anew whenever it is needed.
pub(super) const LEAF_LIFETIME: Duration = Duration::days(7);
/// Workloads whose clock is a little behind.
const CLOCK_SKEW: Duration = Duration::hours(1);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn an_authority_is_made_once_and_its_key_is_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let made = Authority::load_or_make(directory.path()).unwrap();
        let loaded = Authority::load_or_make(directory.path()).unwrap();
        assert_eq!(made.pem(), loaded.pem());
        let mode = fs::metadata(directory.path().join("ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn half_an_authority_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        Authority::load_or_make(directory.path()).unwrap();
        fs::remove_file(directory.path().join("ca.key")).unwrap();
        assert!(matches!(
            Authority::load_or_make(directory.path()),
            Err(Error::Half { .. })
        ));
    }

    #[test]
    fn names_and_addresses_get_certificates() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_make(directory.path()).unwrap();
        for host in [
            "api.example.com",
            "192.0.2.1",
            "2001:db8::1",
            &format!("{}.example", "a".repeat(63)),
        ] {
            assert_eq!(
                authority.mint(&host.parse().unwrap()).unwrap().cert.len(),
                2
            );
        }
    }
}
