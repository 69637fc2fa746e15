//! What runs the isolates of a worker, and whether it still does.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use nix::time::ClockId;
use tokio_util::sync::CancellationToken;

use super::child::Child;
use super::link::Link;

/// What a service has at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Isolates in memory.
    pub isolates: u64,
    /// Invocations that live on after their response.
    pub outstanding: usize,
    /// How often its process had to be replaced.
    pub restarts: u64,
}

/// What runs the isolates.
pub(super) enum Running {
    Process(Child),
    /// It ends when it is told to, unless it is in a loop that nobody can interrupt.
    Thread {
        /// Tells it.
        stop: CancellationToken,
        /// What the kernel calls it, once it runs.
        number: Arc<AtomicI32>,
    },
}

impl Running {
    pub(super) fn kill(self) {
        match self {
            Self::Process(child) => child.kill(),
            Self::Thread { stop, .. } => stop.cancel(),
        }
    }

    /// Time that it has spent on a processor, where that is known.
    fn cpu(&self) -> Option<Duration> {
        match self {
            Self::Process(child) => child.cpu(),
            Self::Thread { number, .. } => match number.load(Ordering::Relaxed) {
                0 => None,
                // CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED, linux/posix-timers_types.h.
                number => {
                    let clock = ClockId::from_raw((!number << 3) | 6);
                    Some(Duration::from(clock.now().ok()?))
                }
            },
        }
    }
}

/// Whether a worker computes for longer than any invocation may.
#[derive(Default)]
pub(super) struct Stuck {
    since: Option<(Instant, Duration)>,
}

impl Stuck {
    pub(super) fn is_too_long(&mut self, link: &Link, running: &Running, may: Duration) -> bool {
        let Some(since) = link.ping() else {
            self.since = None;
            return false;
        };
        // Where that is not known all of its time counts.
        let cpu = running.cpu().unwrap_or_else(|| since.elapsed());
        let at_first = match self.since {
            Some((first, at_first)) if first == since => at_first,
            Some(_) | None => {
                self.since = Some((since, cpu));
                cpu
            }
        };
        cpu.saturating_sub(at_first) > may + GRACE || since.elapsed() > SILENCE
    }
}

/// What a worker may compute beyond an invocation's limit before it is killed: it may have several
/// to end for their limits before it hears the agent.
const GRACE: Duration = Duration::from_secs(2);
/// How long a worker may say nothing, whatever it does.
const SILENCE: Duration = Duration::from_secs(20);
