use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateParams, DnType, DnValue, KeyPair};

use super::*;
use crate::path::tls::authority::Authority;

/// The hash of a subject, as `openssl x509 -subject_hash` gives it.
fn hash(subject: &[(DnType, DnValue)]) -> String {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in subject {
        params.distinguished_name.push(kind.clone(), value.clone());
    }
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    format!("{:08x}", subject::hash(certificate.der()).unwrap())
}

#[test]
fn a_subject_has_the_hash_that_openssl_gives_it() {
    let organization = || (DnType::OrganizationName, "Outbound local authority".into());
    let acme = (DnType::CommonName, "acme".into());
    assert_eq!(hash(&[organization(), acme]), "9add9704");
    let spaced = (DnType::CommonName, "  Some  ÜMLAUT\tCorp ".into());
    let country = (
        DnType::CountryName,
        DnValue::PrintableString("DE".try_into().unwrap()),
    );
    assert_eq!(hash(&[country, spaced]), "960e5c16");
    let description = DnType::CustomDnType(vec![2, 5, 4, 13]);
    assert_eq!(hash(&[(description, "x".repeat(200).into())]), "dd180811");
}

#[test]
fn everybody_may_read_what_is_published_and_none_of_it_is_a_key() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_make(directory.path(), None).unwrap();
    let store = Store::below(directory.path(), None);
    // Twice: what is there is replaced.
    for host_roots in [&b"# the host's roots"[..], b""] {
        store.publish(authority.certificates(), host_roots).unwrap();
        let mut files = Vec::new();
        for directory in [
            store.directory().to_owned(),
            store.directory().join("certs"),
        ] {
            let mode = fs::metadata(&directory).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o755);
            for entry in fs::read_dir(directory).unwrap().flatten() {
                let metadata = entry.metadata().unwrap();
                if metadata.is_file() {
                    assert_eq!(metadata.permissions().mode() & 0o777, 0o644);
                    files.push(entry.path());
                }
            }
        }
        assert_eq!(files.len(), 4, "{files:?}");
        for file in files {
            let bytes = fs::read(file).unwrap();
            assert!(!String::from_utf8_lossy(&bytes).contains("KEY"));
        }
    }
    let bundle = fs::read_to_string(store.directory().join("ca-bundle.pem")).unwrap();
    let ours = fs::read_to_string(store.directory().join("ca.pem")).unwrap();
    assert_eq!(bundle, ours);
}
