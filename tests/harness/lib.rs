//! What a test may say.
//!
//! The path tier drives the agent in its own process: [`agent::Agent`] with [`kernel::FakeFlows`]
//! in the kernel's place, real sockets on loopback, scripted [`origin::Origin`]s. The kernel and
//! system tiers use the real programs and the real binary.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the harness fails a test by panicking"
)]

pub mod agent;
pub mod chance;
pub mod host;
pub mod kernel;
pub mod nameserver;
pub mod origin;
pub mod sandbox;
pub mod tls;

use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

/// How long a condition may take to come true.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until `condition` gives something, asking again and again.
///
/// # Panics
/// Where it gives nothing for [`DEADLINE`]; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(
            Instant::now() < deadline,
            "waited {DEADLINE:?} in vain: {what}"
        );
        std::thread::yield_now();
    }
}

/// Runs something beside the test, as long as the test does.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's server ends with its runtime; there is nothing to drain"
)]
pub fn spawn(future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(future)
}
