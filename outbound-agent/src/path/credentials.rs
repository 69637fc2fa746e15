//! Stage 8, `credentials`: what the tenant never holds, added last.
//!
//! Takes the permitted request and the credentials that policy says apply to its destination.
//! The tenant's own header of that name goes first, so that it cannot stand beside ours.

use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderValue;

use crate::model::credential::{Credential, Kind};
use crate::model::reason::Reason;

/// Attaches every one of `credentials` and gives their names. Fails with
/// [`Reason::CredentialUnavailable`]: then nothing may be sent.
#[expect(
    single_use_lifetimes,
    reason = "an elided lifetime is not allowed in `impl Iterator`"
)]
pub fn attach<'a>(
    credentials: impl Iterator<Item = &'a Arc<Credential>>,
    headers: &mut HeaderMap,
) -> Result<Vec<Arc<str>>, Reason> {
    let mut attached = Vec::new();
    for credential in credentials {
        match &credential.kind {
            Kind::Header { name, value } => {
                let mut value = HeaderValue::from_bytes(value.expose())
                    .map_err(|_invalid| Reason::CredentialUnavailable)?;
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

    fn credential(value: &[u8]) -> Arc<Credential> {
        Arc::new(Credential {
            name: "api".into(),
            hosts: Targets::default(),
            allow_plaintext: false,
            kind: Kind::Header {
                name: AUTHORIZATION,
                value: Secret::new(value.to_vec()),
            },
        })
    }

    #[test]
    fn the_tenants_own_header_is_replaced() {
        let mut headers = HeaderMap::new();
        headers.append(AUTHORIZATION, HeaderValue::from_static("mine"));
        headers.append(AUTHORIZATION, HeaderValue::from_static("mine too"));
        let attached = attach([&credential(b"Bearer s")].into_iter(), &mut headers).unwrap();
        assert_eq!(attached, ["api".into()]);
        let values: Vec<_> = headers.get_all(AUTHORIZATION).iter().collect();
        assert_eq!(values, ["Bearer s"]);
        assert!(values[0].is_sensitive());
    }

    #[test]
    fn what_cannot_be_a_header_fails_the_request() {
        let mut headers = HeaderMap::new();
        let failed = attach([&credential(b"a\nb")].into_iter(), &mut headers);
        assert_eq!(failed, Err(Reason::CredentialUnavailable));
    }
}
