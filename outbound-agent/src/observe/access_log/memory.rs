//! A log that is kept in memory, for tests.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::Sink;

/// The lines of a log that is kept in memory. A clone reads the same ones.
#[derive(Clone, Debug, Default)]
pub struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    lines: Mutex<Vec<String>>,
    grown: Condvar,
}

impl Lines {
    /// Those written so far, without their newlines.
    pub fn all(&self) -> Vec<String> {
        self.0
            .lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Waits for the first line, of all that there are and come, that is `wanted`. Blocks for
    /// at most `deadline`.
    pub fn wait_for(&self, deadline: Duration, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let find = |lines: &[String]| lines.iter().find(|line| wanted(line)).cloned();
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (lines, _timed_out) = self
            .0
            .grown
            .wait_timeout_while(lines, deadline, |lines| find(lines).is_none())
            .unwrap_or_else(PoisonError::into_inner);
        find(&lines)
    }
}

impl Sink for Lines {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let mut kept = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend(String::from_utf8_lossy(lines).lines().map(str::to_owned));
        self.0.grown.notify_all();
        Ok(lines.len())
    }
}
