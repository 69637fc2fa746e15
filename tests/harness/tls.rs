//! TLS in tests: origins with certificates of their own, workloads that trust whom they say.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tempfile::NamedTempFile;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// A certificate for some names, signed by itself.
pub struct Identity {
    pem: NamedTempFile,
    key: String,
    config: ServerConfig,
}

impl Identity {
    /// A fresh one.
    pub fn new(names: &[&str]) -> Self {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let certificate = CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let pem = NamedTempFile::new().unwrap();
        std::fs::write(pem.path(), certificate.pem()).unwrap();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .unwrap();
        let key = key.serialize_pem();
        Self { pem, key, config }
    }

    /// A file with the certificate, for `[tls] roots`.
    pub fn path(&self) -> PathBuf {
        self.pem.path().to_owned()
    }

    /// Its private key, in PEM.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Accepts TLS with it, and asks for a certificate of `clients`, which whoever has none may
    /// do without.
    pub fn asking(&self, clients: &Clients) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        roots.add(clients.certificate.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
            .allow_unauthenticated()
            .build()
            .unwrap();
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        let certificate = CertificateDer::from_pem_file(self.path()).unwrap();
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![certificate], key.into())
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Accepts TLS with it, offering these protocols.
    pub fn acceptor(&self, alpn: &[&str]) -> TlsAcceptor {
        let mut config = self.config.clone();
        config.alpn_protocols = alpn
            .iter()
            .map(|protocol| protocol.as_bytes().to_vec())
            .collect();
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Who signs clients' certificates.
pub struct Clients {
    key: KeyPair,
    params: CertificateParams,
    certificate: rcgen::Certificate,
}

impl Clients {
    /// A fresh one.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            key,
            params,
            certificate,
        }
    }

    /// A client's certificate and key, both in PEM.
    pub fn issue(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let issuer = rcgen::Issuer::from_params(&self.params, &self.key);
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }
}

impl Default for Clients {
    fn default() -> Self {
        Self::new()
    }
}

/// Shakes hands over `stream` as a workload that asks for `name` and trusts `roots` (PEM) alone.
pub async fn connect(
    stream: TcpStream,
    name: &str,
    roots: &str,
    alpn: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(client(roots, alpn)))
        .connect(name, stream)
        .await
}

/// How a workload shakes hands that trusts `roots` (PEM) alone.
pub fn client(roots: &str, alpn: &[&str]) -> ClientConfig {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(roots.as_bytes()) {
        store.add(root.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn
        .iter()
        .map(|protocol| protocol.as_bytes().to_vec())
        .collect();
    config
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}
