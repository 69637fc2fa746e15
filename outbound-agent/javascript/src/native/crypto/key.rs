//! One key, parsed.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::{self, PublicKeyComponents};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RsaEncoding, RsaKeyPair, RsaParameters, UnparsedPublicKey,
    VerificationAlgorithm,
};
use serde_json::Value;

use super::der;

/// A key for one algorithm.
pub(super) enum Key {
    Hmac {
        key: hmac::Key,
        secret: Vec<u8>,
    },
    RsaPrivate {
        key: RsaKeyPair,
        encoding: &'static dyn RsaEncoding,
    },
    RsaPublic {
        key: PublicKeyComponents<Vec<u8>>,
        parameters: &'static RsaParameters,
    },
    EcPrivate(EcdsaKeyPair),
    EdPrivate(Ed25519KeyPair),
    /// ECDSA or Ed25519.
    Public {
        algorithm: &'static dyn VerificationAlgorithm,
        point: Vec<u8>,
    },
}

/// A curve of ECDSA with the one hash that goes with it.
struct Curve {
    name: &'static str,
    identifier: &'static [u8],
    signing: &'static EcdsaSigningAlgorithm,
    verifying: &'static dyn VerificationAlgorithm,
    /// Octets of a coordinate.
    size: usize,
}

type Refusal = &'static str;

impl Key {
    /// Parses a key. The refusal reads on after "keyData".
    pub(super) fn import(
        format: &str,
        algorithm: &str,
        parameter: &str,
        data: &[u8],
    ) -> Result<Self, Refusal> {
        let jwk = match format {
            "jwk" => Some(serde_json::from_slice(data).map_err(|_broken| "is no JsonWebKey")?),
            _other => None,
        };
        match (algorithm, &jwk) {
            ("HMAC", Some(jwk)) => Self::hmac(parameter, member(jwk, "k")?),
            ("HMAC", None) if format == "raw" => Self::hmac(parameter, data.to_vec()),
            ("RSASSA-PKCS1-v1_5", Some(jwk)) => Self::rsa_of_jwk(parameter, jwk),
            ("RSASSA-PKCS1-v1_5", None) => Self::rsa(format, parameter, data),
            ("ECDSA", Some(jwk)) => Self::ec_of_jwk(curve(parameter)?, jwk),
            ("ECDSA", None) => Self::ec(format, curve(parameter)?, data),
            ("Ed25519", Some(jwk)) => Self::ed_of_jwk(jwk),
            ("Ed25519", None) => Self::ed(format, data),
            _other => Err("is in a format that this algorithm has not"),
        }
    }

    /// As `CryptoKey.type` says it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Hmac { .. } => "secret",
            Self::RsaPrivate { .. } | Self::EcPrivate(_) | Self::EdPrivate(_) => "private",
            Self::RsaPublic { .. } | Self::Public { .. } => "public",
        }
    }

    /// Bits of a secret or of a modulus; 0 for the others, whose algorithm says it.
    pub(super) fn bits(&self) -> usize {
        8 * match self {
            Self::Hmac { secret, .. } => secret.len(),
            Self::RsaPrivate { key, .. } => key.public().modulus_len(),
            Self::RsaPublic { key, .. } => key.n.len(),
            Self::EcPrivate(_) | Self::EdPrivate(_) | Self::Public { .. } => 0,
        }
    }

    /// The octets of a secret key.
    pub(super) fn secret(&self) -> Option<&[u8]> {
        match self {
            Self::Hmac { secret, .. } => Some(secret),
            Self::RsaPrivate { .. }
            | Self::RsaPublic { .. }
            | Self::EcPrivate(_)
            | Self::EdPrivate(_)
            | Self::Public { .. } => None,
        }
    }

    /// `None` where this key does not sign.
    pub(super) fn sign(&self, data: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match self {
            Self::Hmac { key, .. } => Some(hmac::sign(key, data).as_ref().to_vec()),
            Self::RsaPrivate { key, encoding } => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*encoding, &random, data, &mut signature).ok()?;
                Some(signature)
            }
            Self::EcPrivate(key) => Some(key.sign(&random, data).ok()?.as_ref().to_vec()),
            Self::EdPrivate(key) => Some(key.sign(data).as_ref().to_vec()),
            Self::RsaPublic { .. } | Self::Public { .. } => None,
        }
    }

    /// Whether a signature is this key's.
    pub(super) fn verify(&self, signature: &[u8], data: &[u8]) -> bool {
        match self {
            Self::Hmac { key, .. } => hmac::verify(key, data, signature).is_ok(),
            Self::RsaPublic { key, parameters } => key.verify(parameters, data, signature).is_ok(),
            Self::Public { algorithm, point } => UnparsedPublicKey::new(*algorithm, point)
                .verify(data, signature)
                .is_ok(),
            Self::RsaPrivate { .. } | Self::EcPrivate(_) | Self::EdPrivate(_) => false,
        }
    }

    fn hmac(hash: &str, secret: Vec<u8>) -> Result<Self, Refusal> {
        let algorithm = match hash {
            "SHA-1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            "SHA-256" => hmac::HMAC_SHA256,
            "SHA-384" => hmac::HMAC_SHA384,
            "SHA-512" => hmac::HMAC_SHA512,
            _other => return Err("is for a hash that is not known"),
        };
        if secret.is_empty() {
            return Err("is empty");
        }
        let key = hmac::Key::new(algorithm, &secret);
        Ok(Self::Hmac { key, secret })
    }

    fn rsa(format: &str, hash: &str, data: &[u8]) -> Result<Self, Refusal> {
        match format {
            "pkcs8" => {
                let key = RsaKeyPair::from_pkcs8(data)
                    .map_err(|_rejected| "is no RSA key in PKCS #8 of 2048 to 4096 bits")?;
                Ok(Self::RsaPrivate {
                    key,
                    encoding: rsa_encoding(hash)?,
                })
            }
            "spki" => {
                let info = der::public_key_info(data).filter(|info| info.algorithm == RSA);
                let numbers = info.and_then(|info| der::rsa_numbers(info.key));
                let (modulus, exponent) = numbers.ok_or("is no RSA key in SubjectPublicKeyInfo")?;
                Self::rsa_public(hash, modulus, exponent)
            }
            _other => Err("is in a format that this algorithm has not"),
        }
    }

    fn rsa_of_jwk(hash: &str, jwk: &Value) -> Result<Self, Refusal> {
        expect(jwk, "kty", "RSA")?;
        let (modulus, exponent) = (member(jwk, "n")?, member(jwk, "e")?);
        if jwk.get("d").is_none() {
            return Self::rsa_public(hash, &modulus, &exponent);
        }
        let components = rsa::KeyPairComponents {
            public_key: PublicKeyComponents {
                n: modulus,
                e: exponent,
            },
            d: member(jwk, "d")?,
            p: member(jwk, "p")?,
            q: member(jwk, "q")?,
            dP: member(jwk, "dp")?,
            dQ: member(jwk, "dq")?,
            qInv: member(jwk, "qi")?,
        };
        let key = RsaKeyPair::from_components(&components)
            .map_err(|_rejected| "is no sound RSA key of 2048 to 4096 bits")?;
        Ok(Self::RsaPrivate {
            key,
            encoding: rsa_encoding(hash)?,
        })
    }

    fn rsa_public(hash: &str, modulus: &[u8], exponent: &[u8]) -> Result<Self, Refusal> {
        let parameters = match hash {
            "SHA-1" => &RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY,
            "SHA-256" => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
            "SHA-384" => &RSA_PKCS1_2048_8192_SHA384,
            "SHA-512" => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
            _other => return Err("is for a hash that is not known"),
        };
        let key = PublicKeyComponents {
            n: der::without_zeros(modulus).to_vec(),
            e: der::without_zeros(exponent).to_vec(),
        };
        Ok(Self::RsaPublic { key, parameters })
    }

    fn ec(format: &str, curve: &'static Curve, data: &[u8]) -> Result<Self, Refusal> {
        let point = match format {
            "pkcs8" => {
                let key = EcdsaKeyPair::from_pkcs8(curve.signing, data, &SystemRandom::new());
                return key
                    .map(Self::EcPrivate)
                    .map_err(|_rejected| "is no key of this curve in PKCS #8");
            }
            "spki" => {
                let info = der::public_key_info(data);
                let info = info
                    .filter(|info| info.algorithm == EC && info.curve == Some(curve.identifier));
                info.ok_or("is no key of this curve in SubjectPublicKeyInfo")?
                    .key
            }
            _raw => data,
        };
        if point.first() != Some(&4) || point.len() != 1 + 2 * curve.size {
            return Err("is no uncompressed point of this curve");
        }
        Ok(Self::Public {
            algorithm: curve.verifying,
            point: point.to_vec(),
        })
    }

    fn ec_of_jwk(curve: &'static Curve, jwk: &Value) -> Result<Self, Refusal> {
        expect(jwk, "kty", "EC")?;
        expect(jwk, "crv", curve.name)?;
        let mut point = vec![4];
        point.extend(member(jwk, "x")?);
        point.extend(member(jwk, "y")?);
        if jwk.get("d").is_none() {
            return Self::ec("raw", curve, &point);
        }
        let random = SystemRandom::new();
        let secret = member(jwk, "d")?;
        let key =
            EcdsaKeyPair::from_private_key_and_public_key(curve.signing, &secret, &point, &random);
        key.map(Self::EcPrivate)
            .map_err(|_rejected| "is no sound key of this curve")
    }

    fn ed(format: &str, data: &[u8]) -> Result<Self, Refusal> {
        let point = match format {
            "pkcs8" => {
                let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(data);
                return key
                    .map(Self::EdPrivate)
                    .map_err(|_rejected| "is no Ed25519 key in PKCS #8");
            }
            "spki" => {
                let info = der::public_key_info(data).filter(|info| info.algorithm == ED);
                info.ok_or("is no Ed25519 key in SubjectPublicKeyInfo")?.key
            }
            _raw => data,
        };
        if point.len() != 32 {
            return Err("is no Ed25519 key of 32 bytes");
        }
        Ok(Self::Public {
            algorithm: &ED25519,
            point: point.to_vec(),
        })
    }

    fn ed_of_jwk(jwk: &Value) -> Result<Self, Refusal> {
        expect(jwk, "kty", "OKP")?;
        expect(jwk, "crv", "Ed25519")?;
        let public = member(jwk, "x")?;
        if jwk.get("d").is_none() {
            return Self::ed("raw", &public);
        }
        let key = Ed25519KeyPair::from_seed_and_public_key(&member(jwk, "d")?, &public);
        key.map(Self::EdPrivate)
            .map_err(|_rejected| "is no sound Ed25519 key")
    }
}

/// The digest of this name.
pub(super) fn hash(name: &str) -> Option<&'static digest::Algorithm> {
    match name {
        "SHA-1" => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
        "SHA-256" => Some(&digest::SHA256),
        "SHA-384" => Some(&digest::SHA384),
        "SHA-512" => Some(&digest::SHA512),
        _other => None,
    }
}

fn rsa_encoding(hash: &str) -> Result<&'static dyn RsaEncoding, Refusal> {
    match hash {
        "SHA-256" => Ok(&RSA_PKCS1_SHA256),
        "SHA-384" => Ok(&RSA_PKCS1_SHA384),
        "SHA-512" => Ok(&RSA_PKCS1_SHA512),
        _other => Err("is for a hash that nothing is signed with"),
    }
}

fn curve(name: &str) -> Result<&'static Curve, Refusal> {
    let curve = CURVES.iter().find(|curve| curve.name == name);
    curve.ok_or("is for a curve that is not known")
}

fn expect(jwk: &Value, name: &str, value: &str) -> Result<(), Refusal> {
    let is_it = jwk.get(name).and_then(Value::as_str) == Some(value);
    is_it
        .then_some(())
        .ok_or("is a JsonWebKey of another type or curve")
}

/// The octets of a member of a JSON Web Key.
fn member(jwk: &Value, name: &str) -> Result<Vec<u8>, Refusal> {
    let text = jwk.get(name).and_then(Value::as_str);
    let octets = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    octets.ok_or("is a JsonWebKey without all its members")
}

static CURVES: [Curve; 2] = [
    Curve {
        name: "P-256",
        identifier: &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
        signing: &ECDSA_P256_SHA256_FIXED_SIGNING,
        verifying: &ECDSA_P256_SHA256_FIXED,
        size: 32,
    },
    Curve {
        name: "P-384",
        identifier: &[0x2b, 0x81, 0x04, 0x00, 0x22],
        signing: &ECDSA_P384_SHA384_FIXED_SIGNING,
        verifying: &ECDSA_P384_SHA384_FIXED,
        size: 48,
    },
];

/// Object identifiers: rsaEncryption, id-ecPublicKey, id-Ed25519.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const ED: &[u8] = &[0x2b, 0x65, 0x70];
