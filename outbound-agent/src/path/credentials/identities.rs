//! Client certificates as they were last read: one stays the same for as long as its files do.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::Error;
use crate::model::certificates::Identity;
use crate::model::secret::Secret;

/// The client certificates of all credentials, by their names.
#[derive(Default)]
pub(super) struct Identities {
    read: RwLock<HashMap<Arc<str>, Read>>,
}

struct Read {
    certificate: Arc<Secret>,
    key: Arc<Secret>,
    identity: Identity,
}

impl Identities {
    /// The same one where certificate and key are the same.
    pub(super) fn get(
        &self,
        credential: &Arc<str>,
        certificate: Arc<Secret>,
        key: Arc<Secret>,
    ) -> Result<Identity, Error> {
        let known = self.read.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known.get(credential)
            && read.certificate == certificate
            && read.key == key
        {
            return Ok(read.identity.clone());
        }
        drop(known);
        let identity = Identity::read(&certificate, &key)?;
        let read = Read {
            certificate,
            key,
            identity: identity.clone(),
        };
        let mut known = self.read.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(Arc::clone(credential), read);
        Ok(identity)
    }
}
