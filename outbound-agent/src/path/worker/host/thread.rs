//! A worker in a thread of the agent's own, which says what it has to say where it stands.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::gettid;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::inside;
use super::link::Link;
use super::message::ToWorker;

/// The thread. It ends when it is told to, unless it is in a loop that nobody can interrupt.
pub(super) struct Thread {
    stop: CancellationToken,
    /// What the kernel calls it, once it runs.
    number: Arc<AtomicI32>,
}

impl Thread {
    /// Starts one, whose errands run where this is called. `end` is dropped when it is dead.
    pub(super) fn start(
        link: &Arc<Link>,
        mut to_worker: UnboundedReceiver<ToWorker>,
        end: oneshot::Sender<()>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = Self {
            stop: CancellationToken::new(),
            number: Arc::default(),
        };
        let (stop, number) = (thread.stop.clone(), Arc::clone(&thread.number));
        // Messages end with the link.
        let (agent, heard) = (Handle::current(), Arc::downgrade(link));
        let say = move |message| {
            if let Some(link) = heard.upgrade() {
                let _entered = agent.enter();
                link.take(message);
            }
        };
        let run = move || {
            let _end = end;
            number.store(gettid().as_raw(), Ordering::Relaxed);
            let inside = inside::run(say, async |take| {
                while let Some(message) = to_worker.recv().await {
                    take(message);
                }
            });
            runtime.block_on(stop.run_until_cancelled(inside))
        };
        let name = format!("worker {}", link.service());
        drop(std::thread::Builder::new().name(name).spawn(run)?);
        Ok(thread)
    }

    pub(super) fn stop(self) {
        self.stop.cancel();
    }

    /// Time that it has spent on a processor, once it runs.
    pub(super) fn cpu(&self) -> Option<Duration> {
        match self.number.load(Ordering::Relaxed) {
            0 => None,
            number => {
                // CPUCLOCK_PERTHREAD_MASK and CPUCLOCK_SCHED, linux/posix-timers_types.h.
                let clock = ClockId::from_raw((!number << 3) | 6);
                Some(Duration::from(clock.now().ok()?))
            }
        }
    }
}
