//! Stage 8, `credentials`: what the tenant never holds, added last.
//!
//! Takes the permitted request and the credentials that policy says are bound to its
//! destination. The tenant's own header of that name goes first, so that it cannot stand beside
//! ours. Nothing is sent in clear unless the credential says so.

use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderValue;

use crate::model::credential::{Credential, Kind};
use crate::model::reason::Reason;
use crate::model::target::Scheme;

/// Attaches every credential of `bound` that may go over `scheme`; gives the names of those
/// that were. Fails with [`Reason::CredentialUnavailable`]: then nothing may be sent.
pub fn attach<'a>(
    bound: impl Iterator<Item = &'a Arc<Credential>>,
    scheme: Scheme,
    headers: &mut HeaderMap,
) -> Result<Vec<Arc<str>>, Reason> {
    let mut attached = Vec::new();
    for credential in bound.filter(|credential| scheme == Scheme::Https || credential.allow_plaintext) {
        match &credential.kind {
            Kind::Header { name, value } => {
                let mut value =
                    HeaderValue::from_bytes(value.expose()).map_err(|_invalid| Reason::CredentialUnavailable)?;
                value.set_sensitive(true);
                headers.insert(name, value);
            }
        }
        attached.push(Arc::clone(&credential.name));
    }
    Ok(attached)
}

#[cfg(test)]
mod tests {
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::model::secret::Secret;
    use crate::model::target::Targets;

    fn credential(value: &[u8], allow_plaintext: bool) -> Arc<Credential> {
        Arc::new(Credential {
            name: "api".into(),
            hosts: Targets::default(),
            allow_plaintext,
            kind: Kind::Header { name: AUTHORIZATION, value: Secret::new(value.to_vec()) },
        })
    }

    #[test]
    fn the_tenants_own_header_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("mine"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("mine too"));
        let attached = attach([&credential(b"Bearer s", false)].into_iter(), Scheme::Https, &mut headers).unwrap();
        assert_eq!(attached, ["api".into()]);
        let values: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(values, ["Bearer s"]);
        assert!(values[0].is_sensitive());
    }

    #[test]
    fn nothing_goes_in_clear_unless_the_credential_says_so() {
        let mut headers = HeaderMap::new();
        assert!(attach([&credential(b"s", false)].into_iter(), Scheme::Http, &mut headers).unwrap().is_empty());
        assert!(headers.is_empty());
        assert_eq!(attach([&credential(b"s", true)].into_iter(), Scheme::Http, &mut headers).unwrap().len(), 1);
    }

    #[test]
    fn what_cannot_be_a_header_fails_the_request() {
        let mut headers = HeaderMap::new();
        let failed = attach([&credential(b"a\nb", true)].into_iter(), Scheme::Http, &mut headers);
        assert_eq!(failed, Err(Reason::CredentialUnavailable));
    }
}
