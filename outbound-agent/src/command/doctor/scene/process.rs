//! The process that makes an attempt: this binary again, from its first instruction in a scratch
//! cgroup and in the inner network namespace.

use std::fs::File;
use std::io::{BufRead as _, BufReader, IoSlice, Read as _};
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, ControlMessage, MsgFlags, SockFlag, SockType, sendmsg, socketpair,
};
use nix::sys::wait::WaitStatus;
use nix::unistd::{Pid, pipe2};
use socket2::{Domain, Protocol, Socket, Type};

use crate::command::doctor::attack::{Attack, Means};
use crate::command::doctor::attempt::Step;
use crate::command::doctor::network::Namespace;
use crate::sys::{Child, Launch, spawn_in_cgroup};

/// However long an attempt waits itself, it is over before.
const PATIENCE: Duration = Duration::from_secs(60);

/// An attempt that is being made.
pub(super) struct Process {
    child: Child,
    output: BufReader<File>,
    input: Option<OwnedFd>,
}

impl Process {
    pub(super) fn start(attack: &Attack, cgroup: &Path, netns: &Namespace) -> anyhow::Result<Self> {
        let (output, stdout) = pipe2(OFlag::O_CLOEXEC)?;
        let (stdin, input) = standard_input(attack.means, netns)?;
        let launch = Launch {
            program: "/proc/self/exe".into(),
            arguments: vec!["doctor-attack".into(), attack.name.into()],
            stdio: [Some(stdin), Some(stdout), None],
            netns: Some(netns.descriptor()?),
            ..Launch::default()
        };
        let cgroup = File::open(cgroup)?;
        let child = spawn_in_cgroup(&launch, cgroup.as_fd())
            .context("cannot start a process in the scratch cgroup")?;
        Ok(Self {
            child,
            output: BufReader::new(output.into()),
            input,
        })
    }

    /// Waits until it has said something.
    pub(super) fn await_line(&mut self) -> anyhow::Result<()> {
        await_readable(&self.output.get_ref().as_fd())?;
        self.output.read_line(&mut String::new())?;
        Ok(())
    }

    /// Lets it go on, if it waits.
    pub(super) fn go_on(&mut self) {
        self.input = None;
    }

    /// Waits for its end; gives what it saw.
    pub(super) fn finish(mut self) -> anyhow::Result<Vec<Step>> {
        if let Err(error) = await_readable(&self.child.pidfd.as_fd()) {
            kill(Pid::from_raw(self.child.pid.cast_signed()), Signal::SIGKILL)?;
            self.child.wait()?;
            return Err(error);
        }
        let status = self.child.wait()?;
        let mut text = String::new();
        self.output.read_to_string(&mut text)?;
        match status {
            WaitStatus::Exited(_, 0) => Ok(serde_json::from_str(&text)?),
            status => anyhow::bail!("it ended with {status:?}"),
        }
    }
}

/// What becomes its standard input, and our end of it where it has one.
fn standard_input(means: Means, netns: &Namespace) -> anyhow::Result<(OwnedFd, Option<OwnedFd>)> {
    match means {
        Means::Own | Means::Early => {
            let (stdin, input) = pipe2(OFlag::O_CLOEXEC)?;
            Ok((stdin, Some(input)))
        }
        Means::Inherited => {
            let socket =
                netns.enter(|| Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)))??;
            Ok((socket.into(), None))
        }
        Means::Passed => {
            let socket =
                netns.enter(|| Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)))??;
            let (family, flags) = (AddressFamily::Unix, SockFlag::SOCK_CLOEXEC);
            let (stdin, ours) = socketpair(family, SockType::Stream, None, flags)?;
            let descriptors = [socket.as_raw_fd()];
            sendmsg::<()>(
                ours.as_raw_fd(),
                &[IoSlice::new(b"!")],
                &[ControlMessage::ScmRights(&descriptors)],
                MsgFlags::empty(),
                None,
            )?;
            Ok((stdin, Some(ours)))
        }
    }
}

fn await_readable(descriptor: &impl AsFd) -> anyhow::Result<()> {
    let mut readable = [PollFd::new(descriptor.as_fd(), PollFlags::POLLIN)];
    let ready = poll(&mut readable, PollTimeout::try_from(PATIENCE)?)?;
    anyhow::ensure!(ready > 0, "it does not end");
    Ok(())
}
