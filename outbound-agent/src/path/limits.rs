//! Stage 2b, `limits`: what a tenant takes, held against what it may take.
//!
//! Gives places ([`Place`]) while there are any, and says of every byte whether it may go on, has
//! to wait, or is one too many ([`Metered`]). A tenant that waits sleeps: nobody else waits for it.

mod metered;
mod rate;
mod usage;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub use self::metered::Metered;
pub use self::usage::Error;

use self::rate::Rate;
use self::usage::{Usage, Usages};
use crate::model::limits::Limits;
use crate::model::reason::Reason;
use crate::model::tenant::TenantId;

/// What every tenant has taken.
pub struct Accounts {
    by_tenant: RwLock<HashMap<TenantId, Arc<Account>>>,
    /// What tenants had taken when the agent ended; whoever comes back finds it.
    before: Mutex<Usages>,
    file: Box<Path>,
}

/// What one tenant has taken.
#[derive(Default)]
pub struct Account {
    connections: AtomicUsize,
    requests: AtomicUsize,
    meters: Mutex<Meters>,
}

#[derive(Default)]
struct Meters {
    begun: Rate,
    sent: Rate,
    received: Rate,
    usage: Usage,
}

/// One of so many at once; free again on drop.
#[must_use = "a place that is dropped is free"]
pub struct Place {
    account: Arc<Account>,
    of: fn(&Account) -> &AtomicUsize,
}

/// A limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    /// Which.
    pub reason: Reason,
    /// When it is worth another try.
    pub retry_after: Option<Duration>,
}

impl Accounts {
    /// Reads what tenants had taken from `usage.json` below `state_dir`.
    pub fn open(state_dir: &Path) -> Result<Self, Error> {
        let file = state_dir.join("usage.json");
        let before = usage::read(&file)?;
        Ok(Self {
            by_tenant: RwLock::default(),
            before: Mutex::new(before),
            file: file.into(),
        })
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
            let usage = locked(&self.before).remove(tenant.as_str());
            let account = Account::default();
            locked(&account.meters).usage = usage.unwrap_or_default();
            Arc::new(account)
        });
        Arc::clone(account)
    }

    /// Writes down what tenants have taken, where that has changed; blocks.
    pub fn save(&self) -> Result<(), Error> {
        let mut usages = locked(&self.before).clone();
        let known = self
            .by_tenant
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        for (tenant, account) in known.iter() {
            let usage = locked(&account.meters).usage;
            if usage != Usage::default() {
                usages.insert(tenant.as_str().to_owned(), usage);
            }
        }
        drop(known);
        usage::write(&self.file, &usages)
    }
}

impl Account {
    /// A place for a connection.
    pub fn connect(self: &Arc<Self>, limits: &Limits) -> Result<Place, Over> {
        self.take(|account| &account.connections, limits.connections)
            .ok_or(Over::soon(Reason::TenantConnections))
    }

    /// A place for a request, which begins now.
    pub fn request(self: &Arc<Self>, limits: &Limits) -> Result<Place, Over> {
        let place = self
            .take(|account| &account.requests, limits.requests)
            .ok_or(Over::soon(Reason::TenantRequests))?;
        self.begin(limits)?;
        Ok(place)
    }

    /// Counts a request or tunnel that begins now, if it may.
    pub fn begin(&self, limits: &Limits) -> Result<(), Over> {
        let mut meters = locked(&self.meters);
        if has_quota(limits) {
            meters.usage.check(limits, SystemTime::now())?;
        }
        if let Some(per_second) = limits.requests_per_second {
            let burst = limits.requests_burst.unwrap_or(per_second * 2);
            let waits = meters.begun.wait(per_second, burst, Instant::now());
            if let Some(retry_after) = waits {
                return Err(Over {
                    reason: Reason::RequestRate,
                    retry_after: Some(retry_after),
                });
            }
            meters.begun.take(1);
        }
        if has_quota(limits) {
            meters.usage.requests(1);
        }
        Ok(())
    }

    fn take(self: &Arc<Self>, of: fn(&Self) -> &AtomicUsize, most: Option<usize>) -> Option<Place> {
        let most = most.unwrap_or(usize::MAX);
        let taken = of(self).fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            (taken < most).then_some(taken + 1)
        });
        taken.ok().map(|_before| Place {
            account: Arc::clone(self),
            of,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        (self.of)(&self.account).fetch_sub(1, Ordering::Relaxed);
    }
}

impl Over {
    /// Something of the tenant's own has to end first: nobody knows when.
    const fn soon(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: Some(Duration::from_secs(1)),
        }
    }
}

impl From<Reason> for Over {
    fn from(reason: Reason) -> Self {
        Self {
            reason,
            retry_after: None,
        }
    }
}

/// Whether a request's header, and as much of its body as is announced, may pass.
pub fn fits(limits: &Limits, headers: &HeaderMap, body: u64) -> Result<(), Reason> {
    if let Some(most) = limits.request_header {
        let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
        if headers.iter().map(size).sum::<usize>() > most {
            return Err(Reason::HeaderTooLarge);
        }
    }
    match limits.request_body {
        Some(most) if body > most as u64 => Err(Reason::BodyTooLarge),
        Some(_) | None => Ok(()),
    }
}

const fn has_quota(limits: &Limits) -> bool {
    limits.requests_per_day.is_some()
        || limits.requests_per_month.is_some()
        || limits.bytes_per_day.is_some()
        || limits.bytes_per_month.is_some()
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing under these locks can panic half way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
