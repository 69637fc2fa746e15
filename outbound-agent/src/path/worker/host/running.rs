//! What runs the isolates of a worker, and whether it still does.

use std::time::{Duration, Instant};

use super::child::Child;
use super::link::Link;
use super::thread::Thread;

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
    Thread(Thread),
}

impl Running {
    pub(super) fn kill(self) {
        match self {
            Self::Process(child) => child.kill(),
            Self::Thread(thread) => thread.stop(),
        }
    }

    /// Time that it has spent on a processor, where that is known.
    fn cpu(&self) -> Option<Duration> {
        match self {
            Self::Process(child) => child.cpu(),
            Self::Thread(thread) => thread.cpu(),
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
