//! Tokens until shortly before they expire.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Error;
use super::oauth2::{self, Ask};
use super::slot::{Kept, Slot};
use crate::model::credential::{Jwt, OAuth2};
use crate::model::jwt::Signer;
use crate::model::secret::Secret;
use crate::model::template::{self, Subject, Template};

/// The tokens that were made, by all that they say.
#[derive(Default)]
pub(super) struct Tokens {
    kept: RwLock<HashMap<Asked, Arc<Slot<Token>>>>,
}

/// What a token is for. Two tenants share one only where it says nothing that tells them apart:
/// what it says is the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Asked {
    credential: Arc<str>,
    says: String,
}

/// A token and the secret that it was made with.
struct Token {
    token: Secret,
    with: Arc<Secret>,
}

impl Tokens {
    /// A token that the agent signs itself.
    pub(super) async fn jwt(
        &self,
        credential: &Arc<str>,
        jwt: &Jwt,
        key: Arc<Secret>,
        subject: Subject<'_>,
    ) -> Result<Secret, Error> {
        let claims = template::fill(&jwt.claims, subject)?;
        let key_id = jwt.key_id.as_deref();
        let says = format!(
            "{} {key_id:?} {:?} {}",
            jwt.algorithm.label(),
            jwt.ttl,
            Value::Object(claims.clone())
        );
        let mint = |key: Arc<Secret>| async move {
            let signer = Signer::new(jwt.algorithm, &key, key_id)?;
            let token = signer.sign(&dated(claims, jwt.ttl))?;
            Ok((token, jwt.ttl))
        };
        self.get(credential, says, key, mint).await
    }

    /// A token that somebody else gives out.
    pub(super) async fn oauth2(
        &self,
        credential: &Arc<str>,
        oauth2: &OAuth2,
        client_secret: Arc<Secret>,
        subject: Subject<'_>,
        ask: &dyn Ask,
    ) -> Result<Secret, Error> {
        let fill =
            |(name, value): &'_ (Box<str>, Template)| Ok((name.clone(), value.fill(subject)?));
        let form: Vec<_> = oauth2.form.iter().map(fill).collect::<Result<_, Error>>()?;
        let says = format!("{:?} {} {form:?}", oauth2.endpoint, oauth2.client_id);
        let fetch = |secret: Arc<Secret>| async move {
            let fetched = oauth2::fetch(oauth2, &form, &secret, ask).await;
            fetched.map_err(Error::from)
        };
        self.get(credential, says, client_secret, fetch).await
    }

    async fn get<F>(
        &self,
        credential: &Arc<str>,
        says: String,
        with: Arc<Secret>,
        make: impl FnOnce(Arc<Secret>) -> F,
    ) -> Result<Secret, Error>
    where
        F: Future<Output = Result<(Secret, Duration), Error>>,
    {
        let slot = self.slot(Asked {
            credential: Arc::clone(credential),
            says,
        });
        let is_of_it = |token: &Token| *token.with == *with;
        let kept = slot
            .get(is_of_it, |_before| async {
                let asked = Instant::now();
                let (token, ttl) = make(Arc::clone(&with)).await?;
                Ok(Kept {
                    value: Token {
                        token,
                        with: Arc::clone(&with),
                    },
                    until: asked + ttl.saturating_sub(margin(ttl)),
                })
            })
            .await?;
        Ok(kept.value.token.clone())
    }

    fn slot(&self, asked: Asked) -> Arc<Slot<Token>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = kept.get(&asked) {
            return Arc::clone(slot);
        }
        drop(kept);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(asked).or_default())
    }

    /// Forgets what has expired and is not being made.
    pub(super) fn forget_expired(&self) {
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_asked, slot| slot.is_live());
    }
}

/// How long before its end a token is replaced: on its way, and by a clock that is not ours, it
/// must still be good.
fn margin(ttl: Duration) -> Duration {
    (ttl / 10).min(Duration::from_secs(60))
}

/// The claims with when they were made and until when they hold (RFC 7519 section 4.1).
fn dated(mut claims: Map<String, Value>, ttl: Duration) -> Map<String, Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    claims.insert("iat".to_owned(), now.into());
    // A part of a second would end it early, or not at all.
    let seconds = ttl.as_secs().max(1);
    claims.insert("exp".to_owned(), now.saturating_add(seconds).into());
    claims
}

#[cfg(test)]
impl Tokens {
    pub(super) fn count(&self) -> usize {
        self.kept.read().unwrap().len()
    }
}
