//! Certificates per host: minted when first needed, kept while they are good, bounded in number.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::sign::CertifiedKey;

use super::authority::{Authority, Error};
use crate::model::host::Host;

/// Leaves of one authority by host.
pub(super) struct Leaves {
    authority: Authority,
    most: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_host: HashMap<Host, Leaf>,
    /// In the order of minting, which is that of expiry.
    order: VecDeque<Host>,
}

/// A certificate with its chain and key, and when it may be handed out.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    key: Arc<CertifiedKey>,
    good: Range<SystemTime>,
}

impl Leaf {
    pub(super) fn new(key: CertifiedKey, good: Range<SystemTime>) -> Self {
        Self {
            key: Arc::new(key),
            good,
        }
    }
}

impl Leaves {
    /// Nothing minted yet; at most so many are kept.
    pub(super) fn new(authority: Authority, most: usize) -> Self {
        Self {
            authority,
            most,
            kept: Mutex::default(),
        }
    }

    /// Whose they are.
    pub(super) fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The certificate of a host. Two connections that need the same one at once wait for one
    /// minting, some ten microseconds.
    pub(super) fn leaf(&self, host: &Host) -> Result<Arc<CertifiedKey>, Error> {
        self.leaf_at(host, SystemTime::now)
    }

    /// The clock that counts is the one that clients hold a certificate against: where it was
    /// set, what was minted before may not be good any more, or not yet. It is read once it is
    /// this connection's turn: what was minted meanwhile is good from then on.
    fn leaf_at(
        &self,
        host: &Host,
        now: impl FnOnce() -> SystemTime,
    ) -> Result<Arc<CertifiedKey>, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = kept.by_host.get(host)
            && leaf.good.contains(&now())
        {
            return Ok(Arc::clone(&leaf.key));
        }
        let leaf = self.authority.mint(host)?;
        let key = Arc::clone(&leaf.key);
        if kept.by_host.insert(host.clone(), leaf).is_some() {
            kept.order.retain(|known| known != host);
        }
        kept.order.push_back(host.clone());
        if kept.order.len() > self.most
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_host.remove(&oldest);
        }
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn leaves(most: usize) -> Leaves {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::load_or_make(directory.path(), None).unwrap();
        Leaves::new(authority, most)
    }

    fn host(name: &str) -> Host {
        name.parse().unwrap()
    }

    #[test]
    fn a_leaf_is_minted_once_and_their_number_is_bounded() {
        let leaves = leaves(16);
        let first = leaves.leaf(&host("api.example.com")).unwrap();
        let again = leaves.leaf(&host("api.example.com")).unwrap();
        assert!(Arc::ptr_eq(&first, &again));
        for number in 0..16 {
            leaves.leaf(&host(&format!("h{number}.example"))).unwrap();
        }
        assert_eq!(leaves.kept.lock().unwrap().by_host.len(), 16);
        let anew = leaves.leaf(&host("api.example.com")).unwrap();
        assert!(!Arc::ptr_eq(&first, &anew));
    }

    #[test]
    fn connections_at_once_share_one_minting() {
        let leaves = leaves(16);
        let minted: Vec<_> = std::thread::scope(|scope| {
            let ask = || leaves.leaf(&host("api.example.com")).unwrap();
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert!(minted.iter().all(|leaf| Arc::ptr_eq(leaf, &minted[0])));
    }

    #[test]
    fn a_leaf_is_replaced_well_before_it_expires_and_when_the_clock_was_set() {
        let (leaves, host, now) = (leaves(16), host("api.example.com"), SystemTime::now());
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        let first = leaves.leaf_at(&host, || now).unwrap();
        let after = |time| Arc::ptr_eq(&first, &leaves.leaf_at(&host, || time).unwrap());
        assert!(after(now + hours(3 * 24)));
        assert!(!after(now + hours(4 * 24)));
        let first = leaves.leaf(&host).unwrap();
        let before = leaves.leaf_at(&host, || now - hours(1)).unwrap();
        assert!(!Arc::ptr_eq(&first, &before));
        assert_eq!(leaves.kept.lock().unwrap().order.len(), 1);
    }
}
