//! A bucket of tokens: so many a second, twice as many when none were taken for a while.

use std::time::Instant;

#[derive(Debug)]
pub(super) struct Bucket {
    per_second: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    pub(super) fn new(per_second: usize, now: Instant) -> Self {
        // Exact: a limit is far below 2^52.
        let per_second = per_second as f64;
        Self {
            per_second,
            tokens: per_second * BURST,
            filled: now,
        }
    }

    /// Takes a token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.per_second * BURST);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

const BURST: f64 = 2.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_twice_the_rate_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, start);
        assert_eq!((0..50).filter(|_| bucket.take(start)).count(), 20);
        let later = start + Duration::from_millis(500);
        assert_eq!((0..50).filter(|_| bucket.take(later)).count(), 5);
        let much_later = later + Duration::from_secs(3600);
        assert_eq!((0..50).filter(|_| bucket.take(much_later)).count(), 20);
    }
}
