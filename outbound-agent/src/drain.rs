//! Stop accepting, wait, force.
//!
//! Every task of the agent is spawned here and has a name, so that nothing outlives a drain
//! unseen. A forced task is dropped where it stands: what it holds (records, sockets, guards)
//! ends by its own `Drop`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// The tasks of one agent. A clone spawns into the same set.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    draining: CancellationToken,
    force: CancellationToken,
    running: Running,
}

/// How a drain went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    /// How many tasks ended by themselves.
    pub finished: usize,
    /// How many had to be dropped, by name.
    pub forced: BTreeMap<&'static str, usize>,
}

/// How long dropped tasks may take to be gone. Only one that never awaits needs longer.
const FORCE_GRACE: Duration = Duration::from_secs(1);

impl Tasks {
    /// No tasks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Runs `future` until it ends or a drain forces it. Also while draining: what is under way
    /// may need help to finish.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let force = self.force.clone();
        let entry = self.running.start(name);
        self.tracker.spawn(async move {
            let _entry = entry;
            tokio::select! {
                // A forced task makes no more progress, whatever it is ready for.
                biased;
                () = force.cancelled() => {}
                () = future => {}
            }
        });
    }

    /// Completes when a drain begins. Acceptors stop at it; connections finish what they have.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.draining.clone().cancelled_owned()
    }

    /// Whether a drain has begun.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Begins a drain, gives tasks until `deadline` to end, then drops those that are left.
    /// Called again, with a shorter deadline, it forces earlier.
    pub async fn drain(&self, deadline: Duration) -> Drained {
        let ended_before = self.running.lock().ended;
        self.draining.cancel();
        self.tracker.close();
        // The outcome is in the counts.
        drop(timeout(deadline, self.tracker.wait()).await);
        let drained = {
            let running = self.running.lock();
            Drained {
                finished: running.ended - ended_before,
                forced: running.by_name.clone(),
            }
        };
        self.force.cancel();
        // What is still there after that blocks its thread; it ends with the process.
        drop(timeout(FORCE_GRACE, self.tracker.wait()).await);
        drained
    }
}

/// hyper's own tasks, such as one per HTTP/2 stream.
impl<F> hyper::rt::Executor<F> for Tasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn("http2", future);
    }
}

/// Counts tasks.
#[derive(Clone, Debug, Default)]
struct Running(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    by_name: BTreeMap<&'static str, usize>,
    ended: usize,
}

impl Running {
    fn start(&self, name: &'static str) -> Entry {
        *self.lock().by_name.entry(name).or_default() += 1;
        Entry {
            name,
            running: self.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by a task as long as it is.
struct Entry {
    name: &'static str,
    running: Running,
}

impl Drop for Entry {
    fn drop(&mut self) {
        if thread::panicking() {
            error!(task = self.name, "task panicked");
        }
        let mut counts = self.running.lock();
        counts.ended += 1;
        if let Some(count) = counts.by_name.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                counts.by_name.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::{AtomicBool, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    const LONG: Duration = Duration::from_secs(30);
    const SHORT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_drain_ends_as_soon_as_the_last_task_does() {
        let tasks = Tasks::new();
        let draining = tasks.draining();
        tasks.spawn("acceptor", draining);
        let (finish, finished) = oneshot::channel::<()>();
        tasks.spawn("connection", async move {
            drop(finished.await);
        });
        let drain = tokio::join!(tasks.drain(LONG), async { drop(finish) }).0;
        assert_eq!(drain.finished, 2);
        assert!(drain.forced.is_empty());
        assert!(tasks.is_draining());
    }

    #[tokio::test]
    async fn what_does_not_end_is_dropped_at_the_deadline_and_named() {
        struct SetOnDrop(Arc<AtomicBool>);
        impl Drop for SetOnDrop {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let is_dropped = Arc::new(AtomicBool::new(false));
        let held = SetOnDrop(Arc::clone(&is_dropped));
        let tasks = Tasks::new();
        tasks.spawn("connection", async move {
            let _held = held;
            pending::<()>().await;
        });
        let drained = tasks.drain(SHORT).await;
        assert_eq!(drained.finished, 0);
        assert_eq!(drained.forced, BTreeMap::from([("connection", 1)]));
        assert!(is_dropped.load(Ordering::Relaxed));
    }

    #[tokio::test]
    async fn a_task_that_starts_while_draining_is_waited_for() {
        let tasks = Tasks::new();
        let late = tasks.clone();
        tasks.spawn("first", async move {
            late.draining().await;
            late.spawn("second", async { tokio::task::yield_now().await });
        });
        assert_eq!(tasks.drain(LONG).await.finished, 2);
    }

    #[tokio::test]
    async fn a_second_drain_forces_what_the_first_still_waits_for() {
        let tasks = Tasks::new();
        tasks.spawn("stuck", pending());
        let patient = tasks.drain(LONG);
        let impatient = tasks.drain(Duration::ZERO);
        let (first, second) = tokio::join!(patient, impatient);
        assert_eq!(second.forced, BTreeMap::from([("stuck", 1)]));
        assert!(first.forced.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_counted_as_an_end() {
        let tasks = Tasks::new();
        tasks.spawn("broken", async { panic!("as the test wants") });
        let drained = tasks.drain(LONG).await;
        assert_eq!(drained.finished, 1);
        assert!(drained.forced.is_empty());
    }
}
