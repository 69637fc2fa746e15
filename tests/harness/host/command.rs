//! Programs on a [`super::Host`]: started, talked to, waited for.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use outbound_agent::sys::{self, Child, Launch};

use crate::sandbox::{Netns, PATIENCE, Told, eventually, pipe};

/// A program to be started.
#[derive(Debug)]
pub struct Invocation {
    cgroup: PathBuf,
    launch: Launch,
}

impl Invocation {
    pub(super) fn new(cgroup: &Path, netns: &Netns, program: &str, arguments: &[&str]) -> Self {
        Self {
            cgroup: cgroup.to_owned(),
            launch: Launch {
                program: program.into(),
                arguments: arguments.iter().map(Into::into).collect(),
                environment: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
                netns: Some(netns.as_fd().try_clone_to_owned().expect("a descriptor")),
                ..Launch::default()
            },
        }
    }

    pub(super) fn running(mut self, program: &str) -> Self {
        self.launch.program = program.into();
        self
    }

    /// In another cgroup.
    #[must_use]
    pub fn in_cgroup(mut self, cgroup: &Path) -> Self {
        cgroup.clone_into(&mut self.cgroup);
        self
    }

    /// With one more variable in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.launch.environment.push((name.into(), value.into()));
        self
    }

    /// As an unprivileged user, rather than as root.
    #[must_use]
    pub fn as_user(mut self, id: u32) -> Self {
        self.launch.user = Some((id, id));
        self
    }

    /// Program and arguments.
    pub fn words(&self) -> Vec<&str> {
        let words = std::iter::once(&self.launch.program).chain(&self.launch.arguments);
        words.map(|word| word.to_str().expect("text")).collect()
    }

    /// Starts it.
    #[track_caller]
    pub fn start(mut self) -> Running {
        let (stdin, input) = pipe();
        let (output, stdout) = pipe();
        let (complaints, stderr) = pipe();
        self.launch.stdio = [Some(stdin), Some(stdout), Some(stderr)];
        let cgroup = File::open(&self.cgroup).expect("the cgroup");
        let child = sys::spawn_in_cgroup(&self.launch, cgroup.as_fd());
        let child = child.unwrap_or_else(|error| panic!("{:?}: {error}", self.launch.program));
        Running {
            child,
            has_ended: false,
            input: Some(input),
            output: Told::by(output),
            complaints: Told::by(complaints),
        }
    }

    /// Starts it and waits for its end.
    #[track_caller]
    pub fn end(self) -> Ended {
        self.start().end()
    }

    /// As [`Self::end`], where that has to be a success; gives what it wrote.
    #[track_caller]
    pub fn output(self) -> String {
        let ended = self.end();
        assert_eq!(ended.code, 0, "{ended:?}");
        ended.stdout
    }
}

/// A program that runs. It is killed when dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    has_ended: bool,
    input: Option<OwnedFd>,
    output: Told,
    complaints: Told,
}

/// How a program ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; 128 + n where signal n ended it.
    pub code: i32,
    /// What it wrote to its standard output.
    pub stdout: String,
    /// What it wrote to its standard error.
    pub stderr: String,
}

impl Running {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        !self.ends_within(PollTimeout::ZERO)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        // Not reaped before `end`, so that the number is still its own.
        kill(self.number(), signal).expect("the process can be signalled");
    }

    /// Writes a line to its standard input.
    #[track_caller]
    pub fn say(&self, line: &str) {
        let input = self.input.as_ref().expect("its input is open");
        let line = format!("{line}\n");
        let written = nix::unistd::write(input, line.as_bytes());
        assert_eq!(written, Ok(line.len()), "{}", self.complaints());
    }

    /// Waits until its standard output holds `text`.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        eventually(&format!("it writes {text:?}"), || {
            let is_over = self.output.is_over();
            let output = self.output.so_far();
            let found = output.contains(text);
            assert!(
                found || !is_over,
                "it ended after {output:?}: {}",
                self.complaints()
            );
            found.then_some(())
        });
    }

    /// What it has written to its standard output.
    pub fn output(&self) -> String {
        self.output.so_far()
    }

    /// What it has written to its standard error.
    pub fn complaints(&self) -> String {
        self.complaints.so_far()
    }

    /// Closes its standard input and waits for its end.
    #[track_caller]
    pub fn end(mut self) -> Ended {
        self.input = None;
        let patience = PollTimeout::try_from(PATIENCE * 6).expect("a time that poll takes");
        let is_over = self.ends_within(patience);
        assert!(
            is_over,
            "it does not end after {:?}: {}",
            self.output(),
            self.complaints()
        );
        let code = match self.reap() {
            WaitStatus::Exited(_, code) => code,
            WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
            other => panic!("{other:?} is no end"),
        };
        Ended {
            code,
            stdout: self.output.whole(),
            stderr: self.complaints.whole(),
        }
    }

    fn ends_within(&self, timeout: PollTimeout) -> bool {
        let mut ended = [PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, timeout).expect("poll") == 1
    }

    fn number(&self) -> Pid {
        Pid::from_raw(self.child.pid.cast_signed())
    }

    fn reap(&mut self) -> WaitStatus {
        self.has_ended = true;
        self.child.wait().expect("its status")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.has_ended {
            self.signal(Signal::SIGKILL);
            self.reap();
        }
    }
}
