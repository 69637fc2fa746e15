//! A bucket of tokens that may be overdrawn: what has passed cannot be taken back, what comes next
//! waits until the debt is paid.

use std::time::{Duration, Instant};

/// How much was taken lately.
#[derive(Debug, Default)]
pub(super) struct Rate {
    /// Taken and not yet given back by time.
    taken: f64,
    at: Option<Instant>,
}

impl Rate {
    /// How long to wait for the next token, where there is none: `per_second` of them come back in
    /// a second, and at most `burst` are there.
    pub(super) fn wait(
        &mut self,
        per_second: usize,
        burst: usize,
        now: Instant,
    ) -> Option<Duration> {
        // Exact: limits are far below 2^52.
        let (per_second, burst) = (per_second as f64, burst.max(1) as f64);
        let passed = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.at = Some(now);
        self.taken = (self.taken - passed * per_second).max(0.0);
        let missing = self.taken + 1.0 - burst;
        (missing > ROUNDING).then(|| Duration::from_secs_f64(missing / per_second))
    }

    /// Takes tokens, whether they are there or not.
    pub(super) fn take(&mut self, tokens: usize) {
        self.taken += tokens as f64;
    }
}

/// Less than a token: what adding up parts of a second leaves.
const ROUNDING: f64 = 1e-6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_burst_the_rate_holds() {
        let start = Instant::now();
        let mut rate = Rate::default();
        let mut at = |now| {
            let mut taken = 0;
            while rate.wait(10, 20, now).is_none() {
                rate.take(1);
                taken += 1;
            }
            taken
        };
        assert_eq!(at(start), 20);
        assert_eq!(at(start + Duration::from_millis(550)), 5);
        assert_eq!(at(start + Duration::from_secs(3600)), 20);
    }

    #[test]
    fn what_was_taken_too_much_is_waited_for() {
        let start = Instant::now();
        let mut rate = Rate::default();
        assert_eq!(rate.wait(100, 100, start), None);
        rate.take(300);
        let wait = rate.wait(100, 100, start).unwrap();
        assert_eq!(wait.as_secs_f64().mul_add(100.0, 0.5) as u64, 201);
        assert_eq!(rate.wait(100, 100, start + wait), None);
    }
}
