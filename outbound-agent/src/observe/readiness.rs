//! Ready when the last guard is dropped.
//!
//! Each part that has to be up before tenants can be served takes a guard with its name and
//! drops it once it is. A drain takes one as well and keeps it.

use tokio::sync::watch;

/// What is still waited for. A clone looks at the same.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Sender<Vec<&'static str>>);

/// Something that is still waited for, until dropped.
#[must_use = "a guard that is dropped says that its part is ready"]
#[derive(Debug)]
pub struct Guard {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// Waits for nothing yet, so it is ready: take the guards first.
    pub fn new() -> Self {
        Self(watch::Sender::new(Vec::new()))
    }

    /// Not ready until the guard is dropped.
    pub fn wait_for(&self, name: &'static str) -> Guard {
        self.0.send_modify(|waiting| waiting.push(name));
        Guard {
            name,
            readiness: self.clone(),
        }
    }

    /// Whether nothing is waited for.
    pub fn is_ready(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// The names of what is waited for, in the order in which it was taken up.
    pub fn waiting_for(&self) -> Vec<&'static str> {
        self.0.borrow().clone()
    }

    /// Completes when nothing is waited for.
    pub async fn ready(&self) {
        let mut waiting = self.0.subscribe();
        // It fails only when the sender is gone, and that is `self`.
        drop(waiting.wait_for(Vec::is_empty).await);
    }
}

impl Default for Readiness {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.readiness.0.send_modify(|waiting| {
            if let Some(position) = waiting.iter().position(|name| *name == self.name) {
                waiting.remove(position);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn ready_when_the_last_guard_is_dropped() {
        let readiness = Readiness::new();
        let hooks = readiness.wait_for("hooks");
        let listeners = readiness.wait_for("listeners");
        assert_eq!(readiness.waiting_for(), ["hooks", "listeners"]);
        let mut ready = pin!(readiness.ready());
        let mut context = Context::from_waker(Waker::noop());
        drop(hooks);
        assert!(ready.as_mut().poll(&mut context).is_pending());
        assert_eq!(readiness.waiting_for(), ["listeners"]);
        drop(listeners);
        ready.await;
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_drain_takes_readiness_back() {
        let readiness = Readiness::new();
        drop(readiness.wait_for("hooks"));
        let _draining = readiness.wait_for("drain");
        assert!(!readiness.is_ready());
    }
}
