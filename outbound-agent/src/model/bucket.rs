//! A bucket of tokens, which fills steadily and is taken from.

use std::time::{Duration, Instant};

/// So many tokens a second, and no more than its capacity.
#[derive(Debug)]
pub struct Bucket {
    per_second: f64,
    capacity: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    /// A full one.
    pub const fn new(per_second: f64, capacity: f64, now: Instant) -> Self {
        Self {
            per_second,
            capacity,
            tokens: capacity,
            filled: now,
        }
    }

    /// Whether it fills and holds as much as that.
    #[expect(clippy::float_cmp, reason = "both were written in a file")]
    pub fn holds(&self, per_second: f64, capacity: f64) -> bool {
        self.per_second == per_second && self.capacity == capacity
    }

    /// Takes a token; where there is none, how long until there is one.
    pub fn take(&mut self, now: Instant) -> Result<(), Duration> {
        self.fill(now);
        if self.tokens < 1.0 {
            let missing = 1.0 - self.tokens;
            return Err(Duration::from_secs_f64(missing / self.per_second));
        }
        self.tokens -= 1.0;
        Ok(())
    }

    /// Whether nothing is missing, so that a new one would do as well.
    pub fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.capacity
    }

    fn fill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.tokens = (self.tokens + passed * self.per_second).min(self.capacity);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_spent_at_once_and_then_the_rate_holds() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10.0, 20.0, start);
        let taken = |bucket: &mut Bucket, now| (0..50).filter(|_| bucket.take(now).is_ok()).count();
        assert_eq!(taken(&mut bucket, start), 20);
        assert!(!bucket.is_full(start));
        assert_eq!(bucket.take(start), Err(Duration::from_millis(100)));
        assert_eq!(taken(&mut bucket, start + Duration::from_millis(500)), 5);
        let much_later = start + Duration::from_secs(3600);
        assert!(bucket.is_full(much_later));
        assert_eq!(taken(&mut bucket, much_later), 20);
    }
}
