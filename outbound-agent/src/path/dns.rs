//! Stage D, `dns`: the tenants' resolver, whatever server they ask.
//!
//! Takes messages, gives [`message::Asked`], and makes the answers. It looks nothing up itself
//! and judges no name: the story does, by policy and upstream. What a tenant was answered is
//! remembered in its [`Account`], which also bounds how much it may ask.

pub mod message;
pub mod service;
pub mod socket;
pub mod stream;
mod memory;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use self::memory::Names;
use crate::model::bucket::Bucket;
use crate::model::host::Host;
use crate::model::tenant::TenantId;

/// How much one tenant may ask.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Queries in a second; twice as many at once.
    pub per_second: usize,
    /// Queries under way at once.
    pub at_once: usize,
    /// Length of a name, as text.
    pub name_bytes: usize,
    /// How long a connection may wait for its next query, or for the room to answer.
    pub idle: Duration,
}

/// What the agent knows of each tenant's DNS.
#[derive(Debug)]
pub struct Accounts {
    limits: Limits,
    by_tenant: RwLock<HashMap<TenantId, Arc<Account>>>,
}

/// What the agent knows of one tenant's DNS: how much it asked, and what it was answered.
#[derive(Debug)]
pub struct Account {
    bucket: Mutex<Bucket>,
    places: Arc<Semaphore>,
    names: Mutex<Names>,
}

impl Accounts {
    /// Nobody has asked yet.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            by_tenant: RwLock::default(),
        }
    }

    /// The limits.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A tenant's account, opened where there is none.
    pub fn of(&self, tenant: &TenantId) -> Arc<Account> {
        let known = self
            .by_tenant
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = known.get(tenant) {
            return Arc::clone(account);
        }
        drop(known);
        let mut known = self
            .by_tenant
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let account = known.entry(tenant.clone()).or_insert_with(|| {
            Arc::new(Account {
                bucket: Mutex::new(full(self.limits.per_second)),
                places: Arc::new(Semaphore::new(self.limits.at_once)),
                names: Mutex::default(),
            })
        });
        Arc::clone(account)
    }
}

impl Account {
    /// A place among the queries that may be under way at once; none where all are taken.
    pub fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.places).try_acquire_owned().ok()
    }

    /// Whether another query may be asked now.
    pub fn may_ask(&self) -> bool {
        locked(&self.bucket).take(Instant::now()).is_ok()
    }

    /// The tenant was told that `name` has `addresses`, for as long as `ttl`.
    pub fn remember(&self, name: &Host, addresses: &[IpAddr], ttl: Duration) {
        locked(&self.names).remember(name, addresses, ttl, Instant::now());
    }

    /// Whether the tenant was told that `name` has this address.
    pub fn was_told(&self, name: &Host, address: IpAddr) -> bool {
        locked(&self.names).has(name, address.to_canonical(), Instant::now())
    }

    /// Every name that the tenant was told to have this address, the last one first.
    pub fn names_of(&self, address: IpAddr) -> Vec<Host> {
        locked(&self.names).having(address.to_canonical(), Instant::now())
    }
}

/// Tokens for so many queries a second, twice as many after a pause.
fn full(per_second: usize) -> Bucket {
    // Exact: a limit is far below 2^52.
    let per_second = per_second as f64;
    Bucket::new(per_second, 2.0 * per_second, Instant::now())
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
