//! What a module's secrets do for it without being seen: they sign.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use crate::model::jwt::{Algorithm, Signer};
use crate::model::secret::Secret;

/// The secrets of a service.
pub(super) struct Secrets(Vec<(Box<str>, Option<Signer>)>);

/// How long a token holds that says nothing of it.
const HOLDS: Duration = Duration::from_secs(300);

impl Secrets {
    pub(super) fn new(secrets: &[(Box<str>, Secret)]) -> Self {
        let signers = secrets
            .iter()
            .map(|(name, secret)| (name.clone(), signer(secret)));
        Self(signers.collect())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.to_string()).collect()
    }

    /// A token with these claims (JSON), and for how many milliseconds it may be given again.
    /// `iat` and `exp` are the agent's.
    pub(super) fn sign(
        &self,
        name: &str,
        claims: &str,
        expires_in_ms: Option<u64>,
    ) -> Result<(String, u64), String> {
        let known = self.0.iter().find(|(known, _)| **known == *name);
        let (_, signer) = known.ok_or("there is no such secret")?;
        let signer = signer.as_ref().ok_or(
            "the secret is no key: 32 bytes or more, or a private key (P-256, Ed25519, RSA) in PEM",
        )?;
        let mut claims: Map<String, Value> =
            serde_json::from_str(claims).map_err(|_other| "claims are an object")?;
        let holds = expires_in_ms.map_or(HOLDS, Duration::from_millis);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_secs());
        claims.insert("iat".to_owned(), now.into());
        claims.insert("exp".to_owned(), (now + holds.as_secs()).into());
        let token = signer.sign(&claims).map_err(|error| error.to_string())?;
        let token = String::from_utf8_lossy(token.expose()).into_owned();
        // Used again for three quarters of its life.
        let reusable = holds.as_millis() * 3 / 4;
        Ok((token, u64::try_from(reusable).unwrap_or(u64::MAX)))
    }
}

/// The key says how it signs; what is no private key signs as a shared secret.
fn signer(secret: &Secret) -> Option<Signer> {
    let is_pem = secret.expose().starts_with(b"-----BEGIN");
    let algorithms: &[Algorithm] = match is_pem {
        true => &[Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256],
        false => &[Algorithm::Hs256],
    };
    let mut signers = algorithms
        .iter()
        .map(|algorithm| Signer::new(*algorithm, secret, None));
    signers.find_map(Result::ok)
}
