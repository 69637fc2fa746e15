//! Counts the payload of one connection or exchange, as it passes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use crate::model::traffic::Traffic;
use crate::observe::labels::Direction;
use crate::observe::metrics::TenantMetrics;

/// Handed to the stage that copies; read by the record at its end. The tenant's totals grow
/// with it, so that a tunnel that lives for days is seen while it lives.
#[derive(Debug, Default)]
pub struct ByteCounter {
    sent: AtomicU64,
    received: AtomicU64,
    totals: OnceLock<Arc<TenantMetrics>>,
}

impl ByteCounter {
    /// From the workload, so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// To the workload, so far.
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Whose totals this is part of; what passed before is charged now. Only the first call counts.
    pub(super) fn charge(&self, tenant: &Arc<TenantMetrics>) {
        if self.totals.set(Arc::clone(tenant)).is_ok() {
            for (direction, bytes) in [
                (Direction::Sent, self.sent()),
                (Direction::Received, self.received()),
            ] {
                if bytes > 0 {
                    tenant.carried(direction, bytes);
                }
            }
        }
    }

    fn add(&self, so_far: &AtomicU64, direction: Direction, bytes: u64) {
        so_far.fetch_add(bytes, Ordering::Relaxed);
        if let Some(tenant) = self.totals.get() {
            tenant.carried(direction, bytes);
        }
    }
}

impl Traffic for ByteCounter {
    fn count_sent(&self, bytes: usize) {
        self.add(&self.sent, Direction::Sent, bytes as u64);
    }

    fn count_received(&self, bytes: usize) {
        self.add(&self.received, Direction::Received, bytes as u64);
    }

    fn passed(&self) -> u64 {
        self.sent() + self.received()
    }
}
