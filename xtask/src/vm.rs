//! `cargo xtask vm`: the kernel tier on other kernels than this machine's.
//!
//! A kernel of Debian's packages runs in QEMU, with this machine's files as its own: read-only,
//! what it writes is forgotten. No image is kept, nothing is installed but QEMU.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::build;
use crate::say;
use crate::setup::{self, Purpose};
use crate::shell::Shell;

mod packages;
mod kernel;
mod initramfs;
mod cpio;
mod machine;
mod outcome;

use kernel::{Kernel, Wanted};
use machine::{Accelerator, Machine};
use outcome::Outcome;
use packages::Packages;

/// On which kernels, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// A version such as 6.1, a package, or "newest"; may be given more than once.
    #[arg(long, value_name = "VERSION", default_values = ["6.1", "newest"])]
    kernel: Vec<Wanted>,
    /// What runs the machine's code [default: kvm where this machine has it].
    #[arg(long)]
    accelerator: Option<Accelerator>,
    /// Minutes after which a machine is stopped.
    #[arg(long, value_name = "MINUTES", default_value_t = 40)]
    deadline: u64,
    /// Only show which kernels there are.
    #[arg(long)]
    list: bool,
    /// Arguments of the tests, such as a name to filter by.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// What is run on every kernel.
struct Job {
    tests: PathBuf,
    outbound: PathBuf,
    arguments: Vec<String>,
}

/// Brings the kernels, builds once, and runs the tests on each.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    if !cfg!(target_arch = "x86_64") {
        bail!("machines are made for x86_64 alone so far");
    }
    setup::ensure(shell, Purpose::Build)?;
    setup::programs(
        shell,
        &[
            ("qemu-system-x86_64", "qemu-system-x86"),
            ("dpkg-deb", "dpkg"),
        ],
    )?;
    say::heading("Kernels of Debian");
    let packages = Packages::open(shell)?;
    if options.list {
        for name in packages.kernels()? {
            say::line(format_args!("  {name}"));
        }
        return Ok(());
    }
    let busybox = packages.busybox()?;
    let kernels = options
        .kernel
        .iter()
        .map(|wanted| Kernel::bring(&packages, wanted, &busybox))
        .collect::<Result<Vec<_>>>()?;
    say::heading("Building");
    let job = Job {
        outbound: build::workspace(shell)?,
        tests: test_binary(shell)?,
        arguments: options.arguments.clone(),
    };
    let accelerator = options.accelerator.unwrap_or_else(Accelerator::best);
    let mut outcomes = Vec::new();
    for kernel in &kernels {
        say::heading(format_args!(
            "Linux {} by {}",
            kernel.release(),
            accelerator.name()
        ));
        let started = Instant::now();
        let initramfs = initramfs::write(shell, kernel, &busybox, &job)?;
        let machine = Machine {
            kernel,
            initramfs,
            accelerator,
            deadline: Duration::from_secs(60 * options.deadline),
        };
        let outcome = machine.run(shell)?;
        outcomes.push((kernel, outcome, started.elapsed()));
    }
    sum_up(&outcomes)
}

fn sum_up(outcomes: &[(&Kernel, Outcome, Duration)]) -> Result<()> {
    say::heading("Proven on");
    let mut failed = Vec::new();
    for (kernel, outcome, elapsed) in outcomes {
        let line = format!("Linux {}: {}", kernel.release(), outcome.summary());
        if outcome.is_success() {
            say::done(&line, *elapsed);
        } else {
            say::complaint(line);
            failed.push(kernel.release());
        }
    }
    if !failed.is_empty() {
        bail!("not proven on {}", failed.join(", "));
    }
    Ok(())
}

/// Where cargo put the kernel tier.
fn test_binary(shell: &Shell) -> Result<PathBuf> {
    let mut cargo: Command = build::cargo(shell, "test", &["--test", "kernel"]);
    cargo.args(["--no-run", "--message-format", "json"]);
    let messages = shell
        .output(&mut cargo)
        .context("the kernel tier does not build")?;
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "kernel")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .context("cargo names no test binary")
}
