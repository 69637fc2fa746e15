use std::os::unix::fs::PermissionsExt as _;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa};
use tempfile::TempDir;

use super::*;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn tenant(name: &str) -> TenantId {
    TenantId::new(name).unwrap()
}

/// An authority's certificate with its key; signed by `above`, or by itself.
struct Made {
    key: KeyPair,
    params: CertificateParams,
    pem: String,
}

impl Made {
    fn new(name: &str, is_ca: IsCa, days: i64, above: Option<&Self>) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = is_ca;
        params.not_after = time::OffsetDateTime::now_utc() + time::Duration::days(days);
        let key = KeyPair::generate().unwrap();
        let certificate = match above {
            None => params.self_signed(&key),
            Some(above) => {
                let issuer = Issuer::from_params(&above.params, &above.key);
                params.signed_by(&key, &issuer)
            }
        };
        let pem = certificate.unwrap().pem();
        Self { key, params, pem }
    }
}

const CA: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

/// Loads from these files.
fn load(certificates: &str, key: &str) -> Result<Authority, Error> {
    let directory = TempDir::new().unwrap();
    let (certificate, key_file) = (directory.path().join("c"), directory.path().join("k"));
    fs::write(&certificate, certificates).unwrap();
    fs::write(&key_file, key).unwrap();
    Authority::load(&certificate, &key_file)
}

#[test]
fn an_authority_is_made_once_and_its_key_is_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let made = Authority::load_or_make(directory.path(), None).unwrap();
    let loaded = Authority::load_or_make(directory.path(), None).unwrap();
    assert_eq!(made.certificates(), loaded.certificates());
    assert_eq!(mode(&directory.path().join("ca.key")), 0o600);
    assert_eq!(mode(&directory.path().join("ca.pem")), 0o644);
}

#[test]
fn half_an_authority_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    Authority::load_or_make(directory.path(), None).unwrap();
    fs::remove_file(directory.path().join("ca.key")).unwrap();
    assert!(matches!(
        Authority::load_or_make(directory.path(), None),
        Err(Error::Half { .. })
    ));
}

#[test]
fn an_authority_says_whose_it_is_and_may_sign_leaves_alone() {
    let directory = tempfile::tempdir().unwrap();
    let made = Authority::load_or_make(directory.path(), Some(&tenant("acme"))).unwrap();
    let own = parsed(&made.certificates()[0]).unwrap();
    assert_eq!(
        own.subject().to_string(),
        "O=Outbound local authority, CN=acme"
    );
    let constraints = own.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = own.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && !usage.digital_signature());
}

#[test]
fn a_leaf_is_for_one_name_or_address_and_for_servers() {
    let directory = tempfile::tempdir().unwrap();
    let authority = Authority::load_or_make(directory.path(), None).unwrap();
    let own = parsed(&authority.certificates()[0]).unwrap();
    let mut numbers = Vec::new();
    let long = format!("{}.{}.example", "a".repeat(63), "b".repeat(63));
    for host in ["api.example.com", "192.0.2.1", "2001:db8::1", &long] {
        let host: Host = host.parse().unwrap();
        let leaves = super::super::leaf::Leaves::new(
            Authority::load_or_make(directory.path(), None).unwrap(),
            1,
        );
        let leaf = leaves.leaf(&host).unwrap();
        // The root is not sent.
        assert_eq!(leaf.cert.len(), 1);
        let leaf = parsed(&leaf.cert[0]).unwrap();
        let names = leaf.subject_alternative_name().unwrap().unwrap();
        assert_eq!(names.value.general_names.len(), 1);
        assert!(!leaf.is_ca());
        let usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && !usage.key_cert_sign());
        let extended = leaf.extended_key_usage().unwrap().unwrap().value;
        assert!(extended.server_auth && !extended.client_auth && !extended.any);
        assert_eq!(leaf.issuer(), own.subject());
        assert!(leaf.validity().is_valid());
        let days = leaf.validity().time_to_expiration().unwrap().whole_days();
        assert!((6..=7).contains(&days), "{days}");
        assert!(leaf.subject().iter_common_name().count() == 1);
        numbers.push(leaf.raw_serial().to_vec());
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 4);
}

#[test]
fn an_operators_intermediate_is_sent_with_its_leaves() {
    let root = Made::new("root", CA, 2, None);
    let ours = Made::new("ours", CA, 2, Some(&root));
    for (file, sent) in [
        (ours.pem.clone(), 2),
        // The root at the end is what workloads trust.
        (format!("{}{}", ours.pem, root.pem), 2),
    ] {
        let authority = load(&file, &ours.key.serialize_pem()).unwrap();
        let leaf = authority.mint(&"api.test".parse().unwrap()).unwrap();
        let leaves = super::super::leaf::Leaves::new(authority, 4);
        let shown = leaves.leaf(&"api.test".parse().unwrap()).unwrap();
        assert_eq!(shown.cert.len(), sent);
        // No longer than the authority itself.
        let shown = parsed(&shown.cert[0]).unwrap();
        let left = shown.validity().time_to_expiration().unwrap();
        assert!(left.whole_days() < 2);
        drop(leaf);
    }
}

#[test]
fn one_file_may_hold_both_and_its_key_goes_nowhere() {
    let root = Made::new("root", CA, 2, None);
    let both = format!("{}{}", root.key.serialize_pem(), root.pem);
    let authority = load(&both, &both).unwrap();
    assert_eq!(authority.certificates().len(), 1);
}

#[test]
fn what_cannot_sign_is_told_apart() {
    let root = Made::new("root", CA, 2, None);
    let other = Made::new("other", CA, 2, None);
    let leaf = Made::new("leaf", IsCa::NoCa, 2, Some(&root));
    let old = Made::new("old", CA, -1, None);
    for (made, key, lack) in [
        (&root, other.key.serialize_pem(), Lack::OwnKey),
        (&leaf, leaf.key.serialize_pem(), Lack::Right),
        (&old, old.key.serialize_pem(), Lack::Validity),
        (&root, root.pem.clone(), Lack::Key),
    ] {
        match load(&made.pem, &key) {
            Err(Error::Unfit { lack: found, .. }) => assert_eq!(found, lack),
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("{lack:?}"),
        }
    }
    let none = load("", &root.key.serialize_pem());
    assert!(matches!(
        none,
        Err(Error::Unfit {
            lack: Lack::Certificate,
            ..
        })
    ));
}
