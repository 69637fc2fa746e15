//! How often a tenant may do what a rule with a `rate` allows.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Permit;
use crate::model::bucket::Bucket;
use crate::model::tenant::TenantId;

/// What every tenant has taken of every rule's rate. Only rules with one are counted.
#[derive(Debug, Default)]
pub struct Rates(Mutex<HashMap<(TenantId, Arc<str>), Bucket>>);

impl Rates {
    /// Counts one request; where it is one too many, how long until it would not be.
    pub fn take(&self, tenant: &TenantId, permit: &Permit) -> Result<(), Duration> {
        let rate = permit.effects().and_then(|effects| effects.rate);
        let (Some(rate), Some(rule)) = (rate, &permit.rule) else {
            return Ok(());
        };
        let now = Instant::now();
        let key = (tenant.clone(), Arc::clone(&rule.label));
        let mut buckets = self.buckets();
        let new = || Bucket::new(rate.per_second, rate.burst.into(), now);
        let bucket = buckets.entry(key).or_insert_with(new);
        if !bucket.holds(rate.per_second, rate.burst.into()) {
            // The rule has another rate now.
            *bucket = new();
        }
        bucket.take(now)
    }

    /// Forgets what nobody uses any more.
    pub fn forget(&self) {
        let now = Instant::now();
        self.buckets().retain(|_key, bucket| !bucket.is_full(now));
    }

    fn buckets(&self) -> MutexGuard<'_, HashMap<(TenantId, Arc<str>), Bucket>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
