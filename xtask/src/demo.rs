//! `cargo xtask demo`: the agent at work, on real processes, in a network of its own.
//!
//! Three processes deep: what the person started sets up and builds; the *warden*, as root,
//! holds the signals and takes everything away whatever happens; the *show* below it moves into
//! its own cgroup and network namespace and runs the steps. Since all that the show starts is in
//! one cgroup, the warden ends it with one write, also after a panic, a Ctrl-C or a SIGKILL
//! of an earlier demo.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::Uid;

use crate::build;
use crate::say;
use crate::setup::{self, Purpose};
use crate::shell::{Shell, rendered};

mod scene;
mod cast;
mod evidence;
mod telling;
mod show;

use scene::Scene;

/// How it is shown.
#[derive(Args)]
pub(crate) struct Options {
    /// Without pauses.
    #[arg(long)]
    fast: bool,
    /// Which of the processes this is, with the binary that was built.
    #[arg(long, hide = true)]
    role: Option<Role>,
    #[arg(long, hide = true)]
    binary: Option<PathBuf>,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Role {
    Warden,
    Show,
}

/// Signals that end the demo early.
const ENDING: [Signal; 4] = [
    Signal::SIGINT,
    Signal::SIGTERM,
    Signal::SIGHUP,
    Signal::SIGQUIT,
];

/// Set-up and build, then the show.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    match (options.role, &options.binary) {
        (Some(Role::Warden), Some(binary)) => watch(shell, options, binary.clone()),
        (Some(Role::Show), Some(binary)) => {
            signals()
                .thread_unblock()
                .context("cannot unblock signals")?;
            show::run(&Scene::new(binary.clone())?, options.fast)
        }
        _ => {
            let is_root = Uid::effective().is_root();
            if !is_root && shell.find("sudo").is_none() {
                bail!("the demo makes a network namespace and cgroups: it needs root, or sudo");
            }
            setup::ensure(shell, Purpose::Build)?;
            say::heading("Building");
            let binary = build::binary(shell)?;
            if is_root {
                return watch(shell, options, binary);
            }
            let mut sudo = shell.program("sudo");
            sudo.arg("--preserve-env").arg(env::current_exe()?);
            shell.show(sudo.args(arguments(Role::Warden, options, &binary)))
        }
    }
}

/// Runs the show as a process of its own, and clears up when it ends or the person has enough.
fn watch(shell: &Shell, options: &Options, binary: PathBuf) -> Result<()> {
    let scene = Scene::new(binary)?;
    let lock = fs::File::create("/run/outbound-demo.lock").context("cannot write to /run")?;
    let Ok(_lock) = Flock::lock(lock, FlockArg::LockExclusiveNonblock) else {
        bail!("a demo is running already");
    };
    let mut waited = signals();
    waited.add(Signal::SIGCHLD);
    waited.thread_block().context("cannot block signals")?;
    scene
        .clear()
        .context("cannot clear what an earlier demo left")?;

    let mut command = shell.program(env::current_exe()?);
    command
        .args(arguments(Role::Show, options, &scene.binary))
        // Ctrl-C is for the warden.
        .process_group(0)
        .stdin(Stdio::null());
    let mut show = command
        .spawn()
        .with_context(|| format!("cannot start {}", rendered(&command)))?;
    let ended = loop {
        let signal = waited.wait().context("cannot wait for signals")?;
        if signal != Signal::SIGCHLD {
            break None;
        }
        if let Some(status) = show.try_wait()? {
            break Some(status);
        }
    };
    let cleared = scene.clear();
    if ended.is_none() {
        show.wait().context("the show did not end")?;
    }
    cleared.context("cannot clear up after the demo")?;
    match ended {
        Some(status) if status.success() => Ok(()),
        Some(_status) => {
            bail!("the demo did not show what it promises; all of it has been taken away again")
        }
        None => bail!("interrupted; all of it has been taken away again"),
    }
}

fn arguments(role: Role, options: &Options, binary: &std::path::Path) -> Vec<String> {
    let role = match role {
        Role::Warden => "warden",
        Role::Show => "show",
    };
    let mut arguments: Vec<String> = ["demo", "--role", role, "--binary"]
        .map(str::to_owned)
        .into();
    arguments.push(binary.to_string_lossy().into_owned());
    if options.fast {
        arguments.push("--fast".to_owned());
    }
    arguments
}

fn signals() -> SigSet {
    ENDING.into_iter().collect()
}

/// A command that inherits nothing that could lead it elsewhere, such as proxy variables.
fn plain(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdin(Stdio::null());
    for name in ["PATH", "HOME", "LANG"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
    command
}
