//! Everything a developer or CI runs: `cargo xtask --help`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::shell::Shell;

mod setup;
mod demo;
mod check;
mod ebpf;
mod test;
mod vm;
mod fuzz;
mod tidy;
mod deny;
mod run;
mod build;
mod toolchain;
mod shell;
mod say;

/// Everything a developer or CI runs.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Bring the kernel crate's toolchain and the programs that tests and demo run.
    Setup {
        /// Only tell what is missing.
        #[arg(long)]
        check: bool,
    },
    /// Show the agent at work: two tenants, real requests, in a network of their own (root).
    Demo(demo::Options),
    /// All that a change must pass and that needs no privilege.
    Check,
    /// Build the kernel object.
    Ebpf,
    /// Run the tests: all tiers, or one.
    Test(test::Options),
    /// Feed the agent's readers of strangers' bytes with what chance makes of a corpus.
    Fuzz(fuzz::Options),
    /// Run the kernel tier on other kernels, in virtual machines.
    Vm(vm::Options),
    /// Check what the compiler does not: who imports what, sizes, manifests.
    Tidy,
    /// Check licences, sources and banned crates of all dependencies.
    Deny,
    /// Build, then run `outbound` with these arguments.
    Run {
        /// Arguments of `outbound`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::error(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    let shell = Shell::new()?;
    match task {
        Task::Setup { check } => setup::run(&shell, check),
        Task::Demo(options) => demo::run(&shell, &options),
        Task::Check => check::run(&shell),
        Task::Ebpf => ebpf::run(&shell),
        Task::Test(options) => test::run(&shell, &options),
        Task::Fuzz(options) => fuzz::run(&shell, &options),
        Task::Vm(options) => vm::run(&shell, &options),
        Task::Tidy => tidy::run(&shell),
        Task::Deny => deny::run(&shell),
        Task::Run { arguments } => run::run(&shell, &arguments),
    }
}
