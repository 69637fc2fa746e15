//! What one invocation may use.

use std::time::Duration;

/// The bounds of a service's invocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Processor time of one invocation, what lives on after its response included.
    pub cpu: Duration,
    /// From the request to the response's head, where nobody else minds that.
    pub wall: Option<Duration>,
    /// Processor time that evaluating the module may take, before its first request.
    pub startup: Duration,
    /// The isolate's heap, in bytes; also the most that a body read into memory may hold.
    pub memory_bytes: usize,
    /// How long what was handed to `ctx.waitUntil` may live on after the response.
    pub wait_until: Duration,
    /// Requests that one invocation may make.
    pub subrequests: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_millis(50),
            wall: Some(Duration::from_secs(30)),
            startup: Duration::from_millis(400),
            memory_bytes: 64 << 20,
            wait_until: Duration::from_secs(30),
            subrequests: 1000,
        }
    }
}
