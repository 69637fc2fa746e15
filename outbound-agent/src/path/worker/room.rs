//! How many invocations of a worker there are at once, and of which tenants.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::tenant::TenantId;

/// Places for the invocations of one worker. One tenant gets half of them, so that a tenant
/// whose requests go in a circle keeps no other from the worker.
#[derive(Clone, Debug)]
pub(super) struct Room {
    most: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_tenant: HashMap<TenantId, usize>,
}

/// One place; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Room,
    tenant: TenantId,
}

impl Room {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// A place for an invocation of this tenant's, where there is one.
    pub(super) fn enter(&self, tenant: &TenantId) -> Option<Place> {
        let mut taken = self.lock();
        let by_tenant = taken.by_tenant.get(tenant).copied().unwrap_or_default();
        if taken.all >= self.most || by_tenant >= self.most.div_ceil(2) {
            return None;
        }
        taken.all += 1;
        *taken.by_tenant.entry(tenant.clone()).or_default() += 1;
        Some(Place {
            room: self.clone(),
            tenant: tenant.clone(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.room.lock();
        taken.all -= 1;
        if let Some(count) = taken.by_tenant.get_mut(&self.tenant) {
            *count -= 1;
            if *count == 0 {
                taken.by_tenant.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_tenant_gets_half_of_the_places() {
        let room = Room::new(3);
        let [acme, globex] = ["acme", "globex"].map(|name| TenantId::new(name).unwrap());
        let first = room.enter(&acme).unwrap();
        let _second = room.enter(&acme).unwrap();
        assert!(room.enter(&acme).is_none());
        let _third = room.enter(&globex).unwrap();
        assert!(room.enter(&globex).is_none());
        drop(first);
        assert!(room.enter(&globex).is_some());
    }
}
