//! The thread that writes the log.

use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::{error, info};

use super::{Message, Shared, Sink};

/// Takes lines from the queue and writes them in batches. What the target refuses is kept and
/// tried again, so that a full disk costs lines only once the queue is full as well.
pub(super) struct Writer {
    sink: Box<dyn Sink>,
    queue: Receiver<Message>,
    shared: Arc<Shared>,
    batch: Vec<u8>,
    /// How many lines `batch` holds.
    lines: usize,
    /// How much of `batch` the target has taken.
    written: usize,
    /// Since when the target refuses, once the agent is closing.
    last_tries_since: Option<Instant>,
}

/// How much is written at once.
const BATCH_BYTES: usize = 64 * 1024;
/// How long lines gather after a batch. It keeps a busy log from waking this thread for each
/// line: an idle one is written at once, a busy one at most this much later.
const GATHER: Duration = Duration::from_millis(2);
/// How long to wait before the target is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// How long a target that refuses is tried at the end.
const LAST_TRIES: Duration = Duration::from_millis(500);

impl Writer {
    pub(super) fn new(sink: Box<dyn Sink>, queue: Receiver<Message>, shared: Arc<Shared>) -> Self {
        Self {
            sink,
            queue,
            shared,
            batch: Vec::with_capacity(BATCH_BYTES),
            lines: 0,
            written: 0,
            last_tries_since: None,
        }
    }

    /// Until the log is closed, or its last handle is gone, and nothing is left.
    pub(super) fn run(mut self) {
        loop {
            let is_last = !self.gather();
            self.reopen_if_asked();
            if self.batch.is_empty() {
                if is_last {
                    return;
                }
                continue;
            }
            let is_full = self.batch.len() >= BATCH_BYTES;
            match self.write_batch() {
                Ok(()) if is_full || is_last => {}
                Ok(()) => thread::park_timeout(GATHER),
                Err(_) if is_last && self.gives_up() => return,
                Err(_) => thread::park_timeout(RETRY),
            }
        }
    }

    /// Fills the batch; waits only where it is empty. Gives `false` once no more will come.
    fn gather(&mut self) -> bool {
        let is_closing = self.shared.closing.load(Ordering::Acquire);
        if self.batch.is_empty() && !is_closing {
            match self.queue.recv() {
                Ok(message) => self.take(message),
                Err(_) => return false,
            }
        }
        while self.batch.len() < BATCH_BYTES {
            match self.queue.try_recv() {
                Ok(message) => self.take(message),
                Err(TryRecvError::Empty) => return !is_closing,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
        true
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Line(line) => {
                self.lines += 1;
                self.batch.extend_from_slice(&line);
                if self.shared.followers.receiver_count() > 0 {
                    // Nobody may be left by now.
                    drop(self.shared.followers.send(Bytes::from(line)));
                }
            }
            Message::Wake => {}
        }
    }

    fn reopen_if_asked(&mut self) {
        if !self.shared.reopen.swap(false, Ordering::AcqRel) {
            return;
        }
        match self.sink.reopen() {
            // What stands half in the old file is written whole into the new one.
            Ok(()) => self.written = start_of_line(&self.batch, self.written),
            Err(error) => {
                error!(error = %error, "access log cannot be reopened, keeping the old one");
            }
        }
    }

    fn write_batch(&mut self) -> io::Result<()> {
        while self.written < self.batch.len() {
            match self.sink.write(&self.batch[self.written..]) {
                Ok(0) => return self.failed(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.failed(error),
            }
        }
        self.batch.clear();
        self.written = 0;
        // Counted as queued until written: this is what `writable` looks at.
        self.shared
            .queued
            .fetch_sub(mem::take(&mut self.lines), Ordering::Relaxed);
        if self.shared.is_failing.swap(false, Ordering::Relaxed) {
            info!("access log can be written again");
        }
        Ok(())
    }

    fn failed(&self, error: io::Error) -> io::Result<()> {
        if !self.shared.is_failing.swap(true, Ordering::Relaxed) {
            error!(error = %error, "access log cannot be written, trying again");
        }
        Err(error)
    }

    fn gives_up(&mut self) -> bool {
        let gives_up = self
            .last_tries_since
            .get_or_insert_with(Instant::now)
            .elapsed()
            > LAST_TRIES;
        if gives_up {
            let lines = self.shared.queued.load(Ordering::Relaxed);
            error!(lines, "access log closed before all of it was written");
        }
        gives_up
    }
}

/// Where the line begins that `offset` lies in.
fn start_of_line(batch: &[u8], offset: usize) -> usize {
    batch[..offset]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |newline| newline + 1)
}
