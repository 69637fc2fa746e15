//! `Signer`: JSON Web Tokens (RFC 7519), signed with an operator's key.
//!
//! The form is JWS compact (RFC 7515 section 3.1), the algorithms those of RFC 7518 and RFC 8037.
//! Pure: a key and claims in, a token out; what the claims say of time is the caller's.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use ring::{error, hmac};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject as _};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::secret::Secret;

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256: whoever can verify can sign as well.
    Hs256,
    /// RSA, PKCS #1 v1.5, with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// Its name in a token's header (RFC 7518 section 3.1, RFC 8037 section 3.1).
    pub const fn label(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The key that it takes.
    const fn wants(self) -> &'static str {
        match self {
            Self::Hs256 => "32 bytes or more (RFC 7518 section 3.2)",
            Self::Rs256 => "an RSA key of 2048 to 4096 bits in PEM",
            Self::Es256 => "a P-256 key in PEM",
            Self::EdDsa => "an Ed25519 key in PEM (PKCS #8)",
        }
    }
}

/// Why a key signs nothing. Shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// Too short for a MAC.
    #[error("the key is too short: {} needs {}", .0.label(), .0.wants())]
    Short(Algorithm),
    /// No private key in PEM.
    #[error("there is no private key in PEM: {} needs {}", .algorithm.label(), .algorithm.wants())]
    Pem {
        /// What it was for.
        algorithm: Algorithm,
        /// What is wrong with the text.
        source: pem::Error,
    },
    /// A key of another kind, too small, or damaged.
    #[error("the key is refused: {} needs {}", .algorithm.label(), .algorithm.wants())]
    Rejected {
        /// What it was for.
        algorithm: Algorithm,
        /// What the library says.
        source: error::KeyRejected,
    },
}

/// No token could be made.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The library, or the system's randomness, failed.
    #[error("cannot sign")]
    Failed(#[from] error::Unspecified),
}

/// Signs claims.
pub struct Signer {
    key: Key,
    /// The header, encoded: it is the same for every token.
    header: String,
    random: SystemRandom,
}

enum Key {
    Hmac(hmac::Key),
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

impl Signer {
    /// Takes a key: for HS256 its very bytes, otherwise PEM in PKCS #8, PKCS #1 or SEC 1. `key_id`
    /// becomes `kid`, which tells a verifier with several keys which one it was.
    pub fn new(algorithm: Algorithm, key: &Secret, key_id: Option<&str>) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let key = Key::read(algorithm, key, &random)?;
        let mut header = Map::new();
        header.insert("alg".to_owned(), algorithm.label().into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(key_id) = key_id {
            header.insert("kid".to_owned(), key_id.into());
        }
        let header = URL_SAFE_NO_PAD.encode(Value::Object(header).to_string());
        Ok(Self {
            key,
            header,
            random,
        })
    }

    /// The token for `claims`, as it goes into a header: ASCII.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<Secret, SignError> {
        let claims = serde_json::to_vec(claims).map_err(|_never| error::Unspecified)?;
        let room = self.header.len() + claims.len() * 4 / 3 + MOST_SIGNATURE;
        let mut token = Zeroizing::new(String::with_capacity(room));
        token.push_str(&self.header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&claims, &mut token);
        let signature = self.key.sign(token.as_bytes(), &self.random)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(Secret::new(token.as_bytes().to_vec()))
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signer").finish_non_exhaustive()
    }
}

impl Key {
    fn read(
        algorithm: Algorithm,
        secret: &Secret,
        random: &SystemRandom,
    ) -> Result<Self, KeyError> {
        if algorithm == Algorithm::Hs256 {
            return if secret.expose().len() < 32 {
                Err(KeyError::Short(algorithm))
            } else {
                Ok(Self::Hmac(hmac::Key::new(
                    hmac::HMAC_SHA256,
                    secret.expose(),
                )))
            };
        }
        let key = PrivateKeyDer::from_pem_slice(secret.expose())
            .map_err(|source| KeyError::Pem { algorithm, source })?;
        let key = Zeroizing::new(key);
        Self::of(algorithm, &key, random).map_err(|source| KeyError::Rejected { algorithm, source })
    }

    /// The form of the key's text is told by PEM's label; the key itself by ring.
    fn of(
        algorithm: Algorithm,
        key: &PrivateKeyDer<'_>,
        random: &SystemRandom,
    ) -> Result<Self, error::KeyRejected> {
        let der = key.secret_der();
        match algorithm {
            Algorithm::Hs256 => Ok(Self::Hmac(hmac::Key::new(hmac::HMAC_SHA256, der))),
            Algorithm::Rs256 => match key {
                PrivateKeyDer::Pkcs1(_) => RsaKeyPair::from_der(der),
                _ => RsaKeyPair::from_pkcs8(der),
            }
            .map(|key| Self::Rsa(Box::new(key))),
            Algorithm::Es256 => {
                let curve = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
                match key {
                    PrivateKeyDer::Sec1(_) => {
                        EcdsaKeyPair::from_pkcs8(curve, &pkcs8_of_sec1(der), random)
                    }
                    _ => EcdsaKeyPair::from_pkcs8(curve, der, random),
                }
                .map(|key| Self::Ecdsa(Box::new(key)))
            }
            // What OpenSSL writes has no public key in it.
            Algorithm::EdDsa => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der)
                .map(|key| Self::Ed25519(Box::new(key))),
        }
    }

    fn sign(&self, message: &[u8], random: &SystemRandom) -> Result<Vec<u8>, error::Unspecified> {
        match self {
            Self::Hmac(key) => Ok(hmac::sign(key, message).as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(
                    &signature::RSA_PKCS1_SHA256,
                    random,
                    message,
                    &mut signature,
                )?;
                Ok(signature)
            }
            Self::Ecdsa(key) => Ok(key.sign(random, message)?.as_ref().to_vec()),
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// Puts a SEC 1 key (RFC 5915) into the PKCS #8 that ring reads (RFC 5208 section 5).
fn pkcs8_of_sec1(sec1: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut body = Zeroizing::new(EC_P256.to_vec());
    body.push(OCTET_STRING);
    push_length(&mut body, sec1.len());
    body.extend_from_slice(sec1);
    let mut der = Zeroizing::new(Vec::with_capacity(body.len() + 4));
    der.push(SEQUENCE);
    push_length(&mut der, body.len());
    der.extend_from_slice(&body);
    der
}

/// A length in DER (X.690 section 8.1.3), shorter than 64 KiB.
fn push_length(der: &mut Vec<u8>, length: usize) {
    let [.., high, low] = length.to_be_bytes();
    match length {
        0..0x80 => der.push(low),
        0x80..0x100 => der.extend([0x81, low]),
        _ => der.extend([0x82, high, low]),
    }
}

const SEQUENCE: u8 = 0x30;
const OCTET_STRING: u8 = 0x04;
/// Version 0, then the algorithm: id-ecPublicKey on prime256v1 (RFC 5480 section 2.1.1).
const EC_P256: [u8; 24] = [
    0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08,
    0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07,
];
/// RSA of 4096 bits, in base64, and the dots.
const MOST_SIGNATURE: usize = 700;

#[cfg(test)]
mod tests;
