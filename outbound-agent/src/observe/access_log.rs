//! The access log: one line of JSON per closed record.
//!
//! Lines go through a bounded queue to one thread that writes them in batches; whoever closes a
//! record never waits. A line that finds the queue full is dropped and the caller told. Where
//! the log is *required*, [`AccessLog::writable`] says no well before that: as soon as three
//! quarters of the queue are taken or the target refuses, so that what is already under way
//! still finds room.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::broadcast;

mod memory;
mod sink;
#[cfg(test)]
mod tests;
mod writer;

pub use memory::Lines;
pub use sink::Sink;

use writer::Writer;

/// Where the log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// The journal of systemd, one entry per line.
    Journald,
    /// A file, appended to, mode 0640.
    File(PathBuf),
}

/// Why the log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file or its directory.
    #[error("cannot open the access log {}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Standard output.
    #[error("cannot use standard output for the access log")]
    Stdout {
        /// What the system says.
        source: io::Error,
    },
    /// The journal.
    #[error("cannot reach the journal for the access log")]
    Journald {
        /// What the system says.
        source: io::Error,
    },
    /// The thread that writes.
    #[error("cannot start the access log's thread")]
    Thread {
        /// What the system says.
        source: io::Error,
    },
}

/// How much of the queue a line may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// It accounts for something that was let out: any place that is left.
    Carried,
    /// It accounts for a refusal. A workload makes these at will, so they may take half of the
    /// queue and no more: nobody pushes another's lines out by being refused often.
    Refused,
}

/// The line was dropped: the queue is full, or the log closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a line of the access log was dropped")]
pub struct Lost;

/// The log. A clone writes to the same one; the last one that goes closes it.
#[derive(Clone)]
pub struct AccessLog(Arc<Inner>);

struct Inner {
    queue: SyncSender<Message>,
    capacity: usize,
    required: bool,
    shared: Arc<Shared>,
    /// The thread, and a channel that it hangs up when it is done.
    writer: Mutex<Option<(JoinHandle<()>, Receiver<Infallible>)>>,
}

/// What the handles and the thread both see.
struct Shared {
    queued: AtomicUsize,
    is_failing: AtomicBool,
    reopen: AtomicBool,
    closing: AtomicBool,
    followers: broadcast::Sender<Bytes>,
}

enum Message {
    Line(Vec<u8>),
    /// Look at the flags in [`Shared`].
    Wake,
}

/// A queue of lines: about a third of a second at 100 000 exchanges per second.
const QUEUED_LINES: usize = 32_768;
/// How far a follower may lag before it loses lines.
const FOLLOWED_LINES: usize = 4_096;
/// How long a log that is dropped without [`AccessLog::close`] may take to write what it holds.
const DROP_DEADLINE: Duration = Duration::from_secs(1);

impl AccessLog {
    /// Opens the target and starts the thread that writes to it.
    pub fn open(target: &Target, required: bool) -> Result<Self, Error> {
        Self::start(sink::open(target)?, required, QUEUED_LINES)
    }

    /// A log that is kept in memory, for tests.
    pub fn memory() -> Result<(Self, Lines), Error> {
        let lines = Lines::default();
        let log = Self::start(Box::new(lines.clone()), false, QUEUED_LINES)?;
        Ok((log, lines))
    }

    /// A log that goes to `sink` through a queue of `capacity` lines.
    pub fn start(sink: Box<dyn Sink>, required: bool, capacity: usize) -> Result<Self, Error> {
        let (queue, lines) = sync_channel(capacity);
        let (done, is_done) = sync_channel(0);
        let shared = Arc::new(Shared {
            queued: AtomicUsize::new(0),
            is_failing: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            followers: broadcast::Sender::new(FOLLOWED_LINES),
        });
        let writer = Writer::new(sink, lines, Arc::clone(&shared));
        let thread = thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || {
                let _done = done;
                writer.run();
            })
            .map_err(|source| Error::Thread { source })?;
        Ok(Self(Arc::new(Inner {
            queue,
            capacity,
            required,
            shared,
            writer: Mutex::new(Some((thread, is_done))),
        })))
    }

    /// Queues one line, newline included. Never waits.
    pub fn write(&self, line: Vec<u8>, claim: Claim) -> Result<(), Lost> {
        let places = match claim {
            Claim::Carried => self.0.capacity,
            Claim::Refused => self.0.capacity / 2,
        };
        let queued = &self.0.shared.queued;
        if queued.fetch_add(1, Ordering::Relaxed) < places
            && self.0.queue.try_send(Message::Line(line)).is_ok()
        {
            return Ok(());
        }
        queued.fetch_sub(1, Ordering::Relaxed);
        Err(Lost)
    }

    /// Whether what begins now can be logged; always so where the log is not required.
    pub fn writable(&self) -> bool {
        let Inner {
            required,
            capacity,
            shared,
            ..
        } = &*self.0;
        !required
            || (!shared.is_failing.load(Ordering::Relaxed)
                && !shared.closing.load(Ordering::Relaxed)
                && shared.queued.load(Ordering::Relaxed) < capacity - capacity / 4)
    }

    /// Every line from now on, newline included. Who reads too slowly loses lines and is told
    /// how many.
    pub fn subscribe(&self) -> broadcast::Receiver<Bytes> {
        self.0.shared.followers.subscribe()
    }

    /// Opens the target anew before the next line, as after a rotation.
    pub fn reopen(&self) {
        self.0.shared.reopen.store(true, Ordering::Release);
        self.0.wake();
    }

    /// Writes what is queued and ends the thread; gives `false` where that takes longer than
    /// `deadline`, and then lines may be lost. Lines written afterwards are lost. Blocks.
    pub fn close(&self, deadline: Duration) -> bool {
        self.0.close(deadline)
    }
}

impl fmt::Debug for AccessLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessLog").finish_non_exhaustive()
    }
}

impl Inner {
    fn wake(&self) {
        // A queue that is full wakes the writer by itself.
        drop(self.queue.try_send(Message::Wake));
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((thread, _)) = writer.as_ref() {
            thread.thread().unpark();
        }
    }

    fn close(&self, deadline: Duration) -> bool {
        let until = Instant::now() + deadline;
        self.shared.closing.store(true, Ordering::Release);
        self.wake();
        let Some((thread, is_done)) = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        else {
            return true;
        };
        let left = until.saturating_duration_since(Instant::now());
        is_done.recv_timeout(left) == Err(RecvTimeoutError::Disconnected) && thread.join().is_ok()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close(DROP_DEADLINE);
    }
}
