//! Certificates per host: minted when first needed, kept while they are good, bounded in number.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::sign::CertifiedKey;

use super::authority::{Authority, Error};
use crate::model::host::Host;

/// Leaves by host.
pub struct Leaves {
    authority: Authority,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_host: HashMap<Host, Leaf>,
    /// In the order of minting, which is that of expiry.
    order: VecDeque<Host>,
}

struct Leaf {
    key: Arc<CertifiedKey>,
    minted: Instant,
}

impl Leaves {
    /// Nothing minted yet.
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            kept: Mutex::default(),
        }
    }

    /// The authority's certificate.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The certificate of a host. Two connections that need the same one at once wait for one
    /// minting, some ten microseconds.
    pub fn leaf(&self, host: &Host) -> Result<Arc<CertifiedKey>, Error> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaf) = kept.by_host.get(host)
            && leaf.minted.elapsed() < RENEWAL
        {
            return Ok(Arc::clone(&leaf.key));
        }
        let key = self.authority.mint(host)?;
        let leaf = Leaf {
            key: Arc::clone(&key),
            minted: Instant::now(),
        };
        if kept.by_host.insert(host.clone(), leaf).is_some() {
            kept.order.retain(|known| known != host);
        }
        kept.order.push_back(host.clone());
        if kept.order.len() > KEPT
            && let Some(oldest) = kept.order.pop_front()
        {
            kept.by_host.remove(&oldest);
        }
        Ok(key)
    }
}

/// How many leaves are kept: a tenant that asks for ever new names costs minting, not memory.
const KEPT: usize = 4096;
/// Well before a leaf expires, so that one handed out now outlives its connection.
const RENEWAL: Duration = Duration::from_secs(3 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leaf_is_minted_once_and_their_number_is_bounded() {
        let directory = tempfile::tempdir().unwrap();
        let leaves = Leaves::new(Authority::load_or_make(directory.path()).unwrap());
        let host: Host = "api.example.com".parse().unwrap();
        let first = leaves.leaf(&host).unwrap();
        assert!(Arc::ptr_eq(&first, &leaves.leaf(&host).unwrap()));
        for number in 0..KEPT {
            leaves
                .leaf(&format!("h{number}.example").parse().unwrap())
                .unwrap();
        }
        assert_eq!(leaves.kept.lock().unwrap().by_host.len(), KEPT);
        assert!(!Arc::ptr_eq(&first, &leaves.leaf(&host).unwrap()));
    }
}
