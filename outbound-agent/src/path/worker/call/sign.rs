//! What proves to a worker that is a server that a request is the agent's.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;

use crate::model::secret::Secret;

/// Signs what the agent says about a request.
#[derive(Debug)]
pub(super) struct Signer(hmac::Key);

/// What is signed, in this order, a line each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Said<'a> {
    pub(super) method: &'a str,
    pub(super) url: &'a str,
    pub(super) tenant: &'a str,
    pub(super) invocation: &'a str,
    pub(super) parameters: &'a str,
}

impl Signer {
    pub(super) fn new(key: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key.expose()))
    }

    /// `t=SECONDS,v1=HEX`: when, and HMAC-SHA256 over that number and what is said.
    pub(super) fn sign(&self, said: &Said<'_>) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.sign_at(now.map_or(0, |since| since.as_secs()), said)
    }

    fn sign_at(&self, seconds: u64, said: &Said<'_>) -> String {
        let Said {
            method,
            url,
            tenant,
            invocation,
            parameters,
        } = said;
        let text = format!("{seconds}\n{method}\n{url}\n{tenant}\n{invocation}\n{parameters}");
        let tag = hmac::sign(&self.0, text.as_bytes());
        format!("t={seconds},v1={}", hex(tag.as_ref()))
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_over_all_that_is_said() {
        let signer = Signer::new(&Secret::new(b"key".to_vec()));
        let said = Said {
            method: "GET",
            url: "https://api.test/",
            tenant: "acme",
            invocation: "1",
            parameters: "{}",
        };
        let signed = signer.sign_at(7, &said);
        // printf '7\nGET\nhttps://api.test/\nacme\n1\n{}' | openssl dgst -sha256 -hmac key
        assert_eq!(
            signed,
            "t=7,v1=2667eecc179fe02cee053636f1c39e32522ec91ef26f6a921f47a35dc6f780b7"
        );
        let others = [
            Said {
                method: "PUT",
                ..said
            },
            Said {
                url: "https://b.test/",
                ..said
            },
            Said {
                tenant: "b",
                ..said
            },
            Said {
                invocation: "2",
                ..said
            },
            Said {
                parameters: "[]",
                ..said
            },
        ];
        for other in &others {
            assert_ne!(signer.sign_at(7, other), signed, "{other:?}");
        }
    }
}
