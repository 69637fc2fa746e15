//! What the process of an outbound worker has given up by the time that it hears of any module.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;

use harness::host;
use harness::sandbox::{eventually, is_privileged};

/// The process, and the agent's end of its socket.
struct Worker {
    process: Child,
    _agent: UnixStream,
}

impl Worker {
    /// Started as the agent does it, behind `before`, and waited for until it is confined.
    fn start(before: &[&str]) -> Self {
        let (agent, socket) = UnixStream::pair().unwrap();
        let binary = host::binary();
        let words = [before, &[&*binary, "worker-process", "probe"]].concat();
        let process = Command::new(words[0])
            .args(&words[1..])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::from(OwnedFd::from(socket)))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let worker = Self {
            process,
            _agent: agent,
        };
        eventually("the process is confined", || {
            (worker.status("Seccomp") == "2").then_some(())
        });
        worker
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.process.id())).unwrap_or_default()
    }

    /// A line of its status.
    fn status(&self, name: &str) -> String {
        let status = self.read("status");
        let value = status
            .lines()
            .find_map(|line| line.split_once(":\t").filter(|it| it.0 == name));
        value
            .map(|(_, value)| value.trim().to_owned())
            .unwrap_or_default()
    }

    /// Both bounds of a resource.
    fn limit(&self, name: &str) -> Vec<String> {
        let limits = self.read("limits");
        let line = limits
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        line.split_whitespace().take(2).map(str::to_owned).collect()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may be dead already.
        drop(self.process.kill());
        self.process.wait().unwrap();
    }
}

const NO_CAPABILITY: &str = "0000000000000000";

#[test]
fn the_workers_process_has_given_up_all_that_it_does_not_need() {
    if !is_privileged() {
        return;
    }
    // What it was left open is not its own either.
    let worker = Worker::start(&["sh", "-c", "exec 7</etc/passwd; exec \"$@\"", "sh"]);
    for (name, value) in [
        ("Uid", "65534\t65534\t65534\t65534"),
        ("Gid", "65534\t65534\t65534\t65534"),
        ("Groups", ""),
        ("CapInh", NO_CAPABILITY),
        ("CapPrm", NO_CAPABILITY),
        ("CapEff", NO_CAPABILITY),
        ("CapAmb", NO_CAPABILITY),
        ("NoNewPrivs", "1"),
    ] {
        assert_eq!(worker.status(name), value, "{name}");
    }
    for (name, most) in [
        ("Max core file size", "0"),
        ("Max file size", "0"),
        ("Max open files", "64"),
        ("Max address space", "8589934592"),
    ] {
        assert_eq!(worker.limit(name), [most, most], "{name}");
    }
    assert_eq!(worker.read("oom_score_adj").trim(), "500");
    // Who cannot be dumped cannot be traced by others of its user: what is its is root's.
    let about = fs::metadata(format!("/proc/{}/environ", worker.process.id())).unwrap();
    assert_eq!(about.uid(), 0);
    for entry in fs::read_dir(format!("/proc/{}/fd", worker.process.id())).unwrap() {
        let entry = entry.unwrap();
        let held = fs::read_link(entry.path()).unwrap();
        let held = held.to_string_lossy();
        // Diagnostics go where the agent's go.
        let is_needed = entry.file_name() == "2"
            || held.starts_with("socket:")
            || held.starts_with("anon_inode:");
        assert!(is_needed, "{entry:?}: {held}");
    }
}

#[test]
fn a_process_that_may_not_change_its_user_has_no_capability_either() {
    if !is_privileged() {
        return;
    }
    let worker = Worker::start(&["setpriv", "--bounding-set", "-setuid,-setgid"]);
    assert_eq!(worker.status("Uid"), "0\t0\t0\t0");
    for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(worker.status(name), NO_CAPABILITY, "{name}");
    }
}

#[test]
fn the_workers_process_does_not_outlive_who_started_it() {
    if !is_privileged() {
        return;
    }
    let (tell, told) = channel();
    // The socket stays open: it is not for want of it that the process ends.
    std::thread::spawn(move || tell.send(Worker::start(&[])).unwrap());
    let mut worker = told.recv().unwrap();
    let ended = eventually("the process has ended", || {
        worker.process.try_wait().unwrap()
    });
    assert!(!ended.success(), "{ended}");
}
