//! Connects that waited for their upstreams: counted here. One that fails ends in a connection's
//! record of its own, one that goes on in the record of what it becomes.

use super::Records;
use crate::model::tenant::TenantId;
use crate::observe::labels::Held;

impl Records {
    /// A tenant's connect was let go.
    pub fn released(&self, tenant: &TenantId, held: Held) {
        self.metrics.tenant(tenant).released(held);
    }
}
