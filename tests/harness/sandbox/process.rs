//! Processes inside a cgroup and a namespace.

use std::fs::File;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::wait::WaitStatus;
use outbound_agent::sys::{self, Child, Launch};

use super::{PATIENCE, Told};

/// A process to be started as a tenant's.
#[derive(Debug)]
pub struct Workload {
    cgroup: PathBuf,
    launch: Launch,
}

/// A process that runs.
#[derive(Debug)]
pub struct Process {
    child: Child,
    told: Told,
    input: Option<OwnedFd>,
}

impl Workload {
    pub(super) fn new(cgroup: &Path, netns: BorrowedFd<'_>) -> Self {
        Self {
            cgroup: cgroup.to_owned(),
            launch: Launch {
                environment: vec![("PATH".into(), "/usr/sbin:/usr/bin:/sbin:/bin".into())],
                netns: Some(netns.try_clone_to_owned().expect("a descriptor")),
                ..Launch::default()
            },
        }
    }

    /// As an unprivileged user, rather than as root.
    #[must_use]
    pub fn as_user(mut self, id: u32) -> Self {
        self.launch.user = Some((id, id));
        self
    }

    /// Starts Python with `prelude.py` and then these statements, and gives what they print.
    #[track_caller]
    pub fn python(self, statements: &str) -> String {
        self.start_python(statements).output()
    }

    /// As [`Self::python`], without waiting.
    pub fn start_python(self, statements: &str) -> Process {
        let program = concat!(include_str!("prelude.py"), "\n");
        let program = format!("{program}{statements}\n");
        self.start(python(), &["-S", "-u", "-c", &program])
    }

    /// Starts a program.
    pub fn start(mut self, program: &str, arguments: &[&str]) -> Process {
        let (from, to) = pipe();
        let (stdin, input) = pipe();
        let errors = to.try_clone().expect("a descriptor");
        self.launch.program = program.into();
        self.launch.arguments = arguments.iter().map(Into::into).collect();
        self.launch.stdio = [Some(stdin), Some(to), Some(errors)];
        let cgroup = File::open(&self.cgroup).expect("the cgroup");
        let child = sys::spawn_in_cgroup(&self.launch, cgroup.as_fd()).expect(program);
        Process {
            child,
            told: Told::by(from),
            input: Some(input),
        }
    }
}

impl Process {
    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.pid
    }

    /// Lets a statement `wait()` go on.
    #[track_caller]
    pub fn go_on(&self) {
        let input = self.input.as_ref().expect("the process waits");
        if let Err(error) = nix::unistd::write(input, b"\n") {
            let pid = self.child.pid;
            panic!(
                "process {pid} reads no more ({error}): {}",
                self.told.so_far()
            );
        }
    }

    /// Whether it has ended, and is to be waited for.
    pub fn has_ended(&self) -> bool {
        let mut ended = [PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN)];
        poll(&mut ended, PollTimeout::ZERO).expect("poll") == 1
    }

    /// Waits for its end and gives what it wrote, without white space around it.
    #[track_caller]
    pub fn output(mut self) -> String {
        self.input = None;
        let mut ended = [PollFd::new(self.child.pidfd.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(PATIENCE * 3).expect("a time that poll takes");
        let ready = poll(&mut ended, timeout).expect("poll");
        assert_eq!(ready, 1, "process {} did not end", self.child.pid);
        let status = self.child.wait().expect("its status");
        let text = self.told.whole();
        assert!(
            matches!(status, WaitStatus::Exited(_, 0)),
            "{status:?}: {text}"
        );
        text.trim().to_owned()
    }
}

/// Both ends closed on exec.
pub(crate) fn pipe() -> (OwnedFd, OwnedFd) {
    nix::unistd::pipe2(OFlag::O_CLOEXEC).expect("a pipe")
}

/// The system's interpreter, which any user may run; else the one that is first in the path.
pub(crate) fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let system = "/usr/bin/python3";
        if Path::new(system).exists() {
            return system.to_owned();
        }
        let found = std::process::Command::new("python3")
            .args(["-c", "import sys; print(sys.executable)"])
            .output()
            .expect("python3 is installed");
        String::from_utf8_lossy(&found.stdout).trim().to_owned()
    })
}
