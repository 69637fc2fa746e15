//! `cargo xtask fuzz`: what strangers send, in every form that chance makes of it.
//!
//! The targets are in `tests/fuzz`, with their corpus. No coverage is measured: that takes a
//! nightly compiler or clang, and CI has neither. What is new is told by how an input ends.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::say;
use crate::setup::{self, Purpose};
use crate::shell::Shell;

/// How much, and of what.
#[derive(Args)]
pub(crate) struct Options {
    /// Targets, such as client_hello, http, dns or config; all of them when left out.
    targets: Vec<String>,
    /// Inputs that are made for each target, besides those of its corpus.
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// Makes the same inputs again; another for each run when left out.
    #[arg(long)]
    seed: Option<u64>,
}

/// Builds and runs them.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    setup::ensure(shell, Purpose::Build)?;
    let seed = options.seed.unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        u64::from(now.unwrap_or_default().subsec_nanos())
    });
    say::line(format_args!("seed {seed}"));
    start(shell, options.runs, seed, &options.targets)
}

/// A short run that is the same every time.
pub(crate) fn smoke(shell: &Shell) -> Result<()> {
    start(shell, SMOKE_RUNS, 1, &[])
}

fn start(shell: &Shell, runs: u64, seed: u64, targets: &[String]) -> Result<()> {
    shell.show(&mut build::cargo(shell, "build", &["--bin", "fuzz"]))?;
    let mut fuzz = shell.program(shell.target().join("debug/fuzz"));
    fuzz.args([runs.to_string(), seed.to_string()])
        .args(targets);
    shell.show(&mut fuzz)
}

/// Some seconds.
const SMOKE_RUNS: u64 = 4_000;
