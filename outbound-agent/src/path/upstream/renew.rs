//! Another configuration of the way out, while it is used.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Upstream;
use super::resolve::Resolve;
use super::tls::Verifier;
use crate::model::tenant::TenantId;

impl Upstream {
    /// Finds names and verifies upstreams in another way from now on. What was verified by
    /// others' word is not used again.
    pub fn renew(&self, resolver: Box<dyn Resolve>, verifier: Verifier) {
        self.resolver.store(Arc::new(resolver));
        if self.verifier.load().trusts_as(&verifier) {
            return;
        }
        self.verifier.store(Arc::new(verifier));
        // Read before the verifier is: what is of this era was verified by it or a later one.
        let era = 1 + self.era.fetch_add(1, Ordering::AcqRel);
        self.pool.retain(|key| key.era >= era);
    }

    /// Keeps connections for these tenants only.
    pub fn keep_only(&self, is_tenant: impl Fn(&TenantId) -> bool) {
        self.pool.retain(|key| is_tenant(&key.tenant));
    }
}
