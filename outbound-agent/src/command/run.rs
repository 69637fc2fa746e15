//! `outbound run`: a command as a tenant's workload, from its first instruction.

pub(super) mod mount;

use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::path::Path;

use anyhow::Context as _;
use http::Method;
use nix::sys::wait::WaitStatus;
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::complain;
use super::{client, dispatch, parameters, trust};
use crate::cli::Run;
use crate::observe::admin::view::{Listens, Namespace, TrustView};
use crate::sys::{self, Child, Launch};
use crate::tenants::runs::RunCgroup;

/// Runs `command` in a cgroup of its own below the tenant's, and gives back its exit code
/// (128 + n when signal n ended it). The child starts inside the cgroup and holds no descriptor
/// of ours but the three standard ones: there is no moment in which it is not fenced. SIGTERM and
/// SIGHUP are passed on to it. With `netns` it also starts inside a network namespace that has
/// nothing but `lo`, with `mount` inside a mount namespace in which it trusts the agent. With
/// parameters its cgroup is dispatched, until it has ended.
pub async fn run(socket: &Path, run: &Run) -> anyhow::Result<u8> {
    let parameters = parameters::read(&run.parameters)?;
    let view = client::tenant(socket, &run.tenant).await?;
    let Some(tenants_cgroup) = &view.cgroup else {
        let (tenant, pattern) = (&run.tenant, view.pattern.as_deref().unwrap_or_default());
        anyhow::bail!("{tenant} has the cgroups that match {pattern}, none to run a command in");
    };
    let trust = view.trust.clone();
    let trust = trust.context("the agent has no certificate authority for the tenant")?;
    let cgroup = RunCgroup::make(tenants_cgroup).with_context(|| {
        let below = tenants_cgroup.display();
        format!("cannot make a cgroup below {below}; are you root?")
    })?;
    let [program, arguments @ ..] = &run.command[..] else {
        anyhow::bail!("no command")
    };
    let launch = Launch {
        program: program.clone(),
        arguments: arguments.to_vec(),
        environment: trust::within(std::env::vars_os(), &trust),
        netns: match run.netns {
            true => Some(sealed_netns(socket, &run.tenant).await?),
            false => None,
        },
        mounts: mounts(run, &trust)?,
        ..Launch::default()
    };
    let dispatched = match parameters {
        None => None,
        Some(given) => Some(dispatch::OfRun::begin(socket, &view, cgroup.path(), given).await?),
    };
    let ended = to_the_end(&launch, &cgroup).await;
    if let Some(dispatched) = dispatched {
        dispatched.end().await;
    }
    ended
}

/// The command, from its first instruction in its cgroup; gives its exit code.
async fn to_the_end(launch: &Launch, cgroup: &RunCgroup) -> anyhow::Result<u8> {
    let mut signals = Signals::listen()?;
    let child = sys::spawn_in_cgroup(launch, cgroup.directory().as_fd())
        .with_context(|| format!("cannot run {}", launch.program.to_string_lossy()))?;
    signals.pass_on_until_end(&child).await?;
    let ended = child.wait().context("cannot wait for the command")?;
    Ok(exit_code(ended))
}

/// The mount namespace, where one is wanted and may be made.
fn mounts(run: &Run, trust: &TrustView) -> anyhow::Result<Option<OwnedFd>> {
    if run.no_mount {
        return Ok(None);
    }
    match mount::private(Some(trust)) {
        Ok(mounts) => Ok(Some(mounts)),
        Err(error) if !run.mount && error.is_forbidden() => {
            complain(
                "no mount namespace for the command, which this process may not make: programs \
                 that know no variable will not trust the agent (--no-mount says so in advance)",
            );
            Ok(None)
        }
        Err(error) => Err(error).context("cannot make a mount namespace for the command"),
    }
}

/// A network namespace that leads nowhere but to the agent, which listens there already.
async fn sealed_netns(socket: &Path, tenant: &str) -> anyhow::Result<OwnedFd> {
    let netns = sys::new_netns().context("cannot make a network namespace; are you root?")?;
    let question = Namespace {
        pid: std::process::id(),
        fd: netns.as_raw_fd().cast_unsigned(),
    };
    let path = format!("/v1/tenants/{tenant}/namespaces");
    let _listens: Listens = client::send_json(socket, Method::POST, &path, &question).await?;
    Ok(netns)
}

/// What would end this process, were it not for the command.
struct Signals {
    terminate: Signal,
    hang_up: Signal,
    _interrupt: Signal,
    _quit: Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
            // The terminal sends these to the command as well: it decides, and its end is ours.
            _interrupt: listen(SignalKind::interrupt())?,
            _quit: listen(SignalKind::quit())?,
        })
    }

    /// Returns once the command has ended. It is not reaped before that, so that its number
    /// stays its own.
    async fn pass_on_until_end(&mut self, child: &Child) -> anyhow::Result<()> {
        let pidfd = child.pidfd.try_clone();
        let ended = pidfd.and_then(sys::readiness);
        let ended = ended.context("cannot wait for the command")?;
        loop {
            let signal = tokio::select! {
                biased; // What has ended is sent nothing.
                readable = ended.readable() => {
                    return readable.map(drop).context("cannot wait for the command");
                }
                _ = self.terminate.recv() => nix::sys::signal::SIGTERM,
                _ = self.hang_up.recv() => nix::sys::signal::SIGHUP,
            };
            nix::sys::signal::kill(Pid::from_raw(child.pid.cast_signed()), signal)
                .with_context(|| format!("cannot send {signal} to the command"))?;
        }
    }
}

fn exit_code(ended: WaitStatus) -> u8 {
    match ended {
        WaitStatus::Exited(_, code) => u8::try_from(code & 0xff).unwrap_or(u8::MAX),
        WaitStatus::Signaled(_, signal, _) => 128_u8.saturating_add(signal as u8),
        WaitStatus::Stopped(..)
        | WaitStatus::PtraceEvent(..)
        | WaitStatus::PtraceSyscall(_)
        | WaitStatus::Continued(_)
        | WaitStatus::StillAlive => u8::MAX,
    }
}
