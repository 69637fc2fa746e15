//! `Stop`: how what is under way is told that it may not go on.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use super::reason::Reason;

/// Said once, heard by everybody who waits for it.
#[derive(Debug, Default)]
pub struct Stop {
    reason: OnceLock<Reason>,
    waiting: Mutex<[Option<Waker>; 4]>,
}

/// Who waits for it: one of each kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// What goes to the upstream.
    Sent,
    /// What comes from it.
    Received,
    /// Who waits for both, or for neither.
    Whole,
    /// What carries all of it.
    Carrier,
}

impl Stop {
    /// Says it; gives whether nobody had before.
    pub fn stop(&self, reason: Reason) -> bool {
        if self.reason.set(reason).is_err() {
            return false;
        }
        let waiting = std::mem::take(&mut *self.waiting());
        waiting.into_iter().flatten().for_each(Waker::wake);
        true
    }

    /// Why it may not go on, if so.
    pub fn reason(&self) -> Option<Reason> {
        self.reason.get().copied()
    }

    /// The same; without a reason the task is woken once there is one.
    pub fn poll(&self, who: Waits, cx: &mut Context<'_>) -> Poll<Reason> {
        if let Some(reason) = self.reason() {
            return Poll::Ready(reason);
        }
        let mut waiting = self.waiting();
        let slot = &mut waiting[who as usize];
        if slot
            .as_ref()
            .is_none_or(|waker| !waker.will_wake(cx.waker()))
        {
            *slot = Some(cx.waker().clone());
        }
        drop(waiting);
        // Said in between, nobody would have been woken.
        self.reason().map_or(Poll::Pending, Poll::Ready)
    }

    /// Returns once it is said.
    pub async fn wait(&self, who: Waits) -> Reason {
        poll_fn(|cx| self.poll(who, cx)).await
    }

    fn waiting(&self) -> MutexGuard<'_, [Option<Waker>; 4]> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn everybody_who_waits_hears_it_and_the_first_reason_counts() {
        let stop = Arc::new(Stop::default());
        let waiting = [Waits::Sent, Waits::Received, Waits::Whole, Waits::Carrier].map(|who| {
            let stop = Arc::clone(&stop);
            async move { stop.wait(who).await }
        });
        let [sent, received, whole, carrier] = waiting;
        let said = async {
            tokio::task::yield_now().await;
            assert!(stop.stop(Reason::PolicyChanged));
            assert!(!stop.stop(Reason::Unassigned));
        };
        let (sent, received, whole, carrier, ()) =
            tokio::join!(sent, received, whole, carrier, said);
        assert_eq!([sent, received, whole, carrier], [Reason::PolicyChanged; 4]);
        assert_eq!(stop.reason(), Some(Reason::PolicyChanged));
    }
}
