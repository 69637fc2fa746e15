//! The agent as a process.

use std::fs;

use nix::sys::signal::Signal;

use super::{Ended, Running};

/// An agent that was ready once.
#[derive(Debug)]
pub struct Daemon {
    process: Running,
}

impl Daemon {
    pub(super) const fn new(process: Running) -> Self {
        Self { process }
    }

    /// The process.
    pub const fn process(&self) -> &Running {
        &self.process
    }

    /// SIGTERM, and its end.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.process.signal(Signal::SIGTERM);
        self.process.end()
    }

    /// SIGKILL, and its end.
    #[track_caller]
    pub fn kill(self) -> Ended {
        self.process.signal(Signal::SIGKILL);
        self.process.end()
    }

    /// Memory that it holds now, in bytes.
    pub fn memory(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that it has held since [`Self::forget_peak_memory`], in bytes.
    pub fn peak_memory(&self) -> u64 {
        self.status("VmHWM:")
    }

    /// Lets [`Self::peak_memory`] begin anew.
    pub fn forget_peak_memory(&self) {
        // proc(5): 5 resets the peak resident set size.
        fs::write(self.file("clear_refs"), "5").expect("the agent's clear_refs");
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.file("status")).expect("the agent's status");
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kib: u64 = kib.expect(field).parse().expect("a number");
        kib * 1024
    }

    fn file(&self, name: &str) -> String {
        format!("/proc/{}/{name}", self.process.pid())
    }
}
