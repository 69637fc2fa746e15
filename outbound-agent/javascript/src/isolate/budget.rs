//! The processor time of what runs right now.

use std::cell::Cell;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// Counts one entry into the engine against what its invocation has left.
///
/// Short entries are measured by the wall clock, which costs no system call. The thread's
/// processor clock takes over when the engine first asks, so that a busy machine cuts nobody.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    limit: Cell<Duration>,
    entered: Cell<Option<Instant>>,
    polled: Cell<Option<Polled>>,
    tripped: Cell<bool>,
}

/// The first time that the engine asked in this entry.
#[derive(Debug, Clone, Copy)]
struct Polled {
    wall_until: Duration,
    cpu_at: Duration,
}

impl Budget {
    /// Code is about to run that may use this much.
    pub(crate) fn enter(&self, left: Duration) {
        self.limit.set(left);
        self.entered.set(Some(Instant::now()));
        self.polled.set(None);
    }

    /// It has run; gives what it used.
    pub(crate) fn leave(&self) -> Duration {
        let used = self.used();
        self.entered.set(None);
        used
    }

    /// Whether to go no further. Once true it stays so.
    pub(crate) fn is_spent(&self) -> bool {
        if !self.tripped.get() && self.entered.get().is_some() {
            self.tripped.set(self.used() > self.limit.get());
        }
        self.tripped.get()
    }

    /// Whether it was ever spent.
    pub(crate) fn has_tripped(&self) -> bool {
        self.tripped.get()
    }

    fn used(&self) -> Duration {
        let Some(entered) = self.entered.get() else {
            return Duration::ZERO;
        };
        if let Some(polled) = self.polled.get() {
            return polled.wall_until + thread_time().saturating_sub(polled.cpu_at);
        }
        let wall = entered.elapsed();
        if wall > CLOCK_AFTER {
            self.polled.set(Some(Polled {
                wall_until: wall,
                cpu_at: thread_time(),
            }));
        }
        wall
    }
}

/// From here on an entry is measured by the processor clock.
const CLOCK_AFTER: Duration = Duration::from_micros(200);

fn thread_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::MAX, Duration::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_stays_spent() {
        let budget = Budget::default();
        budget.enter(Duration::from_millis(5));
        while !budget.is_spent() {}
        assert!(budget.leave() >= Duration::from_millis(5));
        budget.enter(Duration::MAX);
        assert!(budget.is_spent());
    }

    #[test]
    fn outside_an_entry_nothing_is_spent() {
        assert!(!Budget::default().is_spent());
    }
}
