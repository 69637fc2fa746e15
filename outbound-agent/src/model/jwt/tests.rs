use std::io::Write as _;
use std::process::{Command, Stdio};

use ring::signature::UnparsedPublicKey;

use super::*;

/// Runs OpenSSL, whose keys operators have.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut openssl = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(input).unwrap();
    let output = openssl.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

fn claims() -> Map<String, Value> {
    Map::from_iter([("sub".to_owned(), "acme".into())])
}

fn sign(algorithm: Algorithm, key: &[u8]) -> Vec<String> {
    let signer = Signer::new(algorithm, &Secret::new(key.to_vec()), Some("k1")).unwrap();
    let token = signer.sign(&claims()).unwrap();
    let token = std::str::from_utf8(token.expose()).unwrap();
    token.split('.').map(str::to_owned).collect()
}

fn decode(part: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(part).unwrap()
}

/// The raw public key of a private one, behind the header of its SubjectPublicKeyInfo.
fn public(key: &[u8], length: usize) -> Vec<u8> {
    let der = openssl(&["pkey", "-pubout", "-outform", "DER"], key);
    der[der.len() - length..].to_vec()
}

#[test]
fn a_token_names_algorithm_and_key_and_carries_the_claims() {
    let parts = sign(Algorithm::Hs256, &[7; 32]);
    let header: Value = serde_json::from_slice(&decode(&parts[0])).unwrap();
    assert_eq!(
        header,
        serde_json::json!({ "alg": "HS256", "typ": "JWT", "kid": "k1" })
    );
    let carried: Value = serde_json::from_slice(&decode(&parts[1])).unwrap();
    assert_eq!(carried, Value::Object(claims()));
    let message = format!("{}.{}", parts[0], parts[1]);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
    hmac::verify(&key, message.as_bytes(), &decode(&parts[2])).unwrap();
}

#[test]
fn elliptic_keys_sign_in_both_of_their_forms() {
    let pkcs8 = openssl(
        &[
            "genpkey",
            "-algorithm",
            "EC",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ],
        b"",
    );
    let sec1 = openssl(&["ec"], &pkcs8);
    assert!(String::from_utf8_lossy(&sec1).contains("BEGIN EC PRIVATE KEY"));
    let public = public(&pkcs8, 65);
    for key in [pkcs8, sec1] {
        let parts = sign(Algorithm::Es256, &key);
        let message = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, &public)
            .verify(message.as_bytes(), &decode(&parts[2]))
            .unwrap();
    }
}

#[test]
fn edwards_keys_sign() {
    let key = openssl(&["genpkey", "-algorithm", "ed25519"], b"");
    let parts = sign(Algorithm::EdDsa, &key);
    let message = format!("{}.{}", parts[0], parts[1]);
    UnparsedPublicKey::new(&signature::ED25519, &public(&key, 32))
        .verify(message.as_bytes(), &decode(&parts[2]))
        .unwrap();
}

#[test]
fn rsa_keys_sign_in_both_of_their_forms() {
    let pkcs8 = openssl(
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ],
        b"",
    );
    let pkcs1 = openssl(&["rsa", "-traditional"], &pkcs8);
    assert!(String::from_utf8_lossy(&pkcs1).contains("BEGIN RSA PRIVATE KEY"));
    let public = openssl(&["rsa", "-RSAPublicKey_out", "-outform", "DER"], &pkcs8);
    for key in [pkcs8, pkcs1] {
        let parts = sign(Algorithm::Rs256, &key);
        let message = format!("{}.{}", parts[0], parts[1]);
        UnparsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, &public)
            .verify(message.as_bytes(), &decode(&parts[2]))
            .unwrap();
    }
}

#[test]
fn a_key_that_does_not_fit_is_refused_without_being_shown() {
    let ed25519 = openssl(&["genpkey", "-algorithm", "ed25519"], b"");
    for (algorithm, key) in [
        (Algorithm::Hs256, &b"hunter2"[..]),
        (Algorithm::Rs256, b"hunter2"),
        (Algorithm::Rs256, &ed25519),
        (Algorithm::Es256, &ed25519),
        (
            Algorithm::EdDsa,
            b"-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n",
        ),
    ] {
        let error = Signer::new(algorithm, &Secret::new(key.to_vec()), None).unwrap_err();
        let told = format!("{error} {error:?}");
        assert!(told.contains(algorithm.label()), "{told}");
        assert!(
            !told.contains("hunter2") && !told.contains("aHVudGVy"),
            "{told}"
        );
    }
}
