//! A worker in a thread of the agent's own. As with a process, what there is to say is said at
//! once: one wake of the other side for all of it.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::task::Poll;
use std::time::Duration;

use nix::time::ClockId;
use nix::unistd::gettid;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::inside;
use super::link::Link;
use super::message::{ToAgent, ToWorker};
use crate::drain::Tasks;

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
        to_worker: UnboundedReceiver<ToWorker>,
        end: oneshot::Sender<()>,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = Self {
            stop: CancellationToken::new(),
            number: Arc::default(),
        };
        let (stop, number) = (thread.stop.clone(), Arc::clone(&thread.number));
        let (ask, asked) = unbounded_channel();
        tasks.spawn("worker out", gather(to_worker, ask));
        let (say, mut said) = unbounded_channel::<Vec<ToAgent>>();
        // Messages end with the link.
        let heard = Arc::downgrade(link);
        let hear = async move {
            let _end = end;
            while let Some(messages) = said.recv().await
                && let Some(link) = heard.upgrade()
            {
                messages.into_iter().for_each(|message| link.take(message));
            }
        };
        // A thread that cannot be ended is not listened to any longer.
        let hearing = stop.clone().run_until_cancelled_owned(hear);
        tasks.spawn("worker in", async move {
            hearing.await;
        });
        let run = move || {
            number.store(gettid().as_raw(), Ordering::Relaxed);
            runtime.block_on(stop.run_until_cancelled(answer(asked, say)))
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

/// Hands messages on as they come, as many at once as there are.
async fn gather(mut messages: UnboundedReceiver<ToWorker>, ask: UnboundedSender<Vec<ToWorker>>) {
    while let Some(first) = messages.recv().await {
        // Others that are ready may have something to say too.
        tokio::task::yield_now().await;
        let mut batch = vec![first];
        while let Ok(message) = messages.try_recv() {
            batch.push(message);
        }
        if ask.send(batch).is_err() {
            return;
        }
    }
}

/// Runs in the thread.
async fn answer(mut asked: UnboundedReceiver<Vec<ToWorker>>, say: UnboundedSender<Vec<ToAgent>>) {
    let outbox = Rc::new(RefCell::new(Vec::new()));
    let pushed = Rc::clone(&outbox);
    let answering = inside::run(
        move |message| pushed.borrow_mut().push(message),
        async |take| {
            while let Some(messages) = asked.recv().await {
                messages.into_iter().for_each(take);
            }
        },
    );
    // Polled after each round of the above, and so whenever something may have been said.
    let telling = std::future::poll_fn(|_cx| {
        let messages = outbox.take();
        let is_heard = messages.is_empty() || say.send(messages).is_ok();
        if is_heard {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    });
    tokio::select! {
        biased; // All that is answered at once is said at once.
        () = answering => {}
        () = telling => {}
    }
}
