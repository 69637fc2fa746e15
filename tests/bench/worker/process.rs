//! Processes that are measured.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use tempfile::TempDir;

/// Where the load and the origins run.
pub(crate) const LOAD_CORE: usize = 0;
/// Where everything runs that is measured.
const MEASURED_CORE: usize = 1;

/// Keeps the calling thread, and what it starts from then on, on one core.
pub(crate) fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).unwrap();
    // A machine with one core has one place for all.
    sched_setaffinity(Pid::from_raw(0), &set).ok();
}

/// Starts something where it is measured.
pub(crate) fn measured<T>(start: impl FnOnce() -> T) -> T {
    pin(MEASURED_CORE);
    let started = start();
    pin(LOAD_CORE);
    started
}

/// An agent, and what runs its worker.
pub(crate) struct Agent {
    process: Child,
    pub(crate) address: SocketAddr,
    beside: Option<Beside>,
    _directory: TempDir,
}

/// A server that is the worker of an agent.
pub(crate) struct Beside(pub(crate) Child);

impl Agent {
    /// Starts one whose configuration is `text`, `DIRECTORY` in it standing for one of its own,
    /// in which `files` are.
    pub(crate) fn start(text: &str, files: &[(&str, &str)], beside: Option<Beside>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).unwrap();
        for (name, text) in files {
            write(name, text);
        }
        let path = directory.path().display().to_string();
        write("outbound.toml", &text.replace("DIRECTORY", &path));
        let mut process = measured(|| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["agent", &format!("{path}/outbound.toml")]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            command.spawn().unwrap()
        });
        let mut port = String::new();
        let mut out = BufReader::new(process.stdout.take().unwrap());
        out.read_line(&mut port).unwrap();
        let port = port.trim().parse().expect("the agent says its port");
        Self {
            process,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            beside,
            _directory: directory,
        }
    }

    /// Processor time so far, of the agent and of what runs its worker.
    pub(crate) fn cpu(&self) -> Duration {
        let time = |pid: i32| {
            let clock = clock_getcpuclockid(Pid::from_raw(pid)).ok()?;
            Some(Duration::from(clock.now().ok()?))
        };
        self.pids().into_iter().filter_map(time).sum()
    }

    /// The most memory that was resident since [`Self::forget_peak`], in KiB, of each process.
    pub(crate) fn peaks(&self) -> Vec<u64> {
        let pids = self.pids();
        pids.iter().map(|pid| status(*pid, "VmHWM:")).collect()
    }

    /// Memory that is resident now, in KiB, of each process.
    pub(crate) fn resident(&self) -> Vec<u64> {
        let pids = self.pids();
        pids.iter().map(|pid| status(*pid, "VmRSS:")).collect()
    }

    pub(crate) fn forget_peak(&self) {
        for pid in self.pids() {
            fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap();
        }
    }

    fn pids(&self) -> Vec<i32> {
        let agent = self.process.id();
        let mut pids = vec![agent.cast_signed()];
        pids.extend(children(agent));
        if let Some(Beside(process)) = &self.beside {
            pids.push(process.id().cast_signed());
        }
        pids
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn children(parent: u32) -> Vec<i32> {
    let is_child = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status
            .lines()
            .any(|line| line == format!("PPid:\t{parent}"))
    };
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_child).collect()
}

fn status(pid: i32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(key));
    let value = value.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok());
    value.unwrap_or(0)
}
