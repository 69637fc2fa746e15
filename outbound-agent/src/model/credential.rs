//! What is added to a request to prove the tenant's right upstream.

use std::fmt;
use std::sync::Arc;

use http::HeaderName;

use super::secret::Secret;
use super::target::Targets;

/// A credential, bound to hosts. Values are wiped on drop and never printed.
pub struct Credential {
    /// Its name: all that logs show of it.
    pub name: Arc<str>,
    /// Where it may go.
    pub hosts: Targets,
    /// Whether it may go over plain HTTP.
    pub allow_plaintext: bool,
    /// What is added.
    pub kind: Kind,
}

/// The kinds of credential.
pub enum Kind {
    /// A header; the tenant's own header of that name is removed first.
    Header {
        /// The header's name.
        name: HeaderName,
        /// Its whole value.
        value: Secret,
    },
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
