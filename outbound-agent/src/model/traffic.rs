//! `Traffic`: what a stage that carries bytes tells of them.

/// Counts the payload of one connection or exchange as it passes.
pub trait Traffic: Send + Sync + 'static {
    /// Bytes went from the workload to the upstream.
    fn count_sent(&self, bytes: usize);

    /// Bytes went from the upstream to the workload.
    fn count_received(&self, bytes: usize);

    /// How many have passed both ways.
    fn passed(&self) -> u64;
}
