//! Upstream connections that were made before the workload's: its connect is held until then,
//! and what is found to work is what it gets.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use crate::model::addr::UpstreamAddr;
use crate::model::flow::ConnectId;

/// Connections that wait for the one that they were made for.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    by_connect: Mutex<HashMap<ConnectId, Dialled>>,
    /// So that who has none takes no lock.
    count: AtomicUsize,
}

/// One connection, to one address.
#[derive(Debug)]
struct Dialled {
    stream: TcpStream,
    peer: UpstreamAddr,
    since: Instant,
    _place: OwnedSemaphorePermit,
}

impl Ahead {
    /// Keeps a connection; `place` is its tenant's, of which there are only so many.
    pub(super) fn keep(
        &self,
        connect: ConnectId,
        stream: TcpStream,
        peer: UpstreamAddr,
        place: OwnedSemaphorePermit,
    ) {
        let dialled = Dialled {
            stream,
            peer,
            since: Instant::now(),
            _place: place,
        };
        let mut kept = self.lock();
        kept.insert(connect, dialled);
        self.count.store(kept.len(), Ordering::Release);
    }

    /// Whether one waits for this connect.
    pub(super) fn has(&self, connect: ConnectId) -> bool {
        self.count.load(Ordering::Acquire) != 0 && self.lock().contains_key(&connect)
    }

    /// The connection that was made for this connect, if it leads to `peer`.
    pub(super) fn take(&self, connect: ConnectId, peer: UpstreamAddr) -> Option<TcpStream> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut kept = self.lock();
        if kept.get(&connect)?.peer != peer {
            return None;
        }
        let dialled = kept.remove(&connect)?;
        self.count.store(kept.len(), Ordering::Release);
        Some(dialled.stream)
    }

    /// Closes those that nobody came for.
    pub(super) fn forget(&self, older_than: Duration) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut kept = self.lock();
        kept.retain(|_connect, dialled| dialled.since.elapsed() < older_than);
        self.count.store(kept.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ConnectId, Dialled>> {
        self.by_connect
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
