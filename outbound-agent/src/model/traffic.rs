//! `Traffic`: what a stage that carries bytes tells of them, and is told.

use std::task::{Context, Poll};
use std::time::Duration;

use super::reason::Reason;
use super::stop::Waits;

/// Counts the payload of one connection or exchange as it passes.
pub trait Traffic: Send + Sync + 'static {
    /// Bytes went from the workload to the upstream.
    fn count_sent(&self, bytes: usize);

    /// Bytes went from the upstream to the workload.
    fn count_received(&self, bytes: usize);

    /// Why nothing more may pass, if that was said.
    fn stopped(&self) -> Option<Reason> {
        None
    }

    /// The same; without a reason the task is woken once there is one.
    fn poll_stopped(&self, who: Waits, cx: &mut Context<'_>) -> Poll<Reason> {
        let (_who, _cx) = (who, cx);
        Poll::Pending
    }

    /// How many have passed both ways.
    fn passed(&self) -> u64;

    /// Whether more may go to the upstream; asked after every count.
    fn pace_sent(&self) -> Pace {
        Pace::Go
    }

    /// Whether more may come from the upstream; asked after every count.
    fn pace_received(&self) -> Pace {
        Pace::Go
    }
}

/// What becomes of the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// They may pass.
    Go,
    /// They have to wait. What was counted may go on.
    Wait(Duration),
    /// They may not pass, nor what was just counted.
    Stop(Reason),
}
