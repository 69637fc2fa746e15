//! `cargo xtask test`: the tiers, from what needs nothing to what needs root.

use std::path::Path;
use std::process::Command;
use std::slice;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use nix::unistd::Uid;

use crate::build;
use crate::say;
use crate::setup::{self, Purpose};
use crate::shell::Shell;

/// Which tests, and how.
#[derive(Args)]
pub(crate) struct Options {
    /// One tier; all of them when left out.
    tier: Option<Tier>,
    /// What runs the tests that need root, such as "sudo -E"; the build stays the user's.
    #[arg(long)]
    runner: Option<String>,
    /// Arguments of the tests, such as a name to filter by.
    #[arg(last = true)]
    arguments: Vec<String>,
}

/// The tiers, by privilege.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// Beside the code; needs nothing.
    Unit,
    /// The whole path in one process, the kernel replaced by a stand-in.
    Path,
    /// Real programs in a namespace and cgroup of their own; root.
    Kernel,
    /// The built binary and real clients; root.
    System,
}

/// Sets up, builds once, runs the tiers.
pub(crate) fn run(shell: &Shell, options: &Options) -> Result<()> {
    let tiers = match &options.tier {
        Some(tier) => slice::from_ref(tier),
        None => Tier::value_variants(),
    };
    let is_root = Uid::effective().is_root();
    if !is_root && options.runner.is_none() && tiers.iter().any(|tier| tier.needs_root()) {
        bail!(
            "the kernel and system tiers need root: add --runner \"sudo -E\", or name a tier that does not (unit, path)"
        );
    }
    let purpose = if tiers.contains(&Tier::System) {
        Purpose::Clients
    } else {
        Purpose::Build
    };
    setup::ensure(shell, purpose)?;
    say::heading("Building");
    let binary = build::workspace(shell)?;
    let mut failed = Vec::new();
    for tier in tiers {
        say::heading(format_args!("Tier {}", tier.name()));
        for command in &mut tier.commands(shell, options, &binary) {
            // The other tests have something to tell all the same.
            if let Err(error) = shell.show(command) {
                say::complaint(format_args!("{error:#}"));
                failed.push(tier.name());
            }
        }
    }
    failed.dedup();
    if !failed.is_empty() {
        bail!("tests failed in: {}", failed.join(", "));
    }
    Ok(())
}

/// Unit and path tests: what needs no privilege.
pub(crate) fn unprivileged(shell: &Shell) -> Result<()> {
    // The processes of workers are the binary.
    build::workspace(shell)?;
    for targets in [Tier::Unit, Tier::Path]
        .iter()
        .flat_map(|tier| tier.targets())
    {
        shell.show(&mut build::cargo(shell, "test", targets))?;
    }
    Ok(())
}

impl Tier {
    fn name(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn needs_root(self) -> bool {
        match self {
            Self::Unit | Self::Path => false,
            Self::Kernel | Self::System => true,
        }
    }

    fn commands(self, shell: &Shell, options: &Options, binary: &Path) -> Vec<Command> {
        let command = |targets: &&[&str]| {
            let mut command = build::cargo(shell, "test", targets);
            command.arg("--no-fail-fast").env("OUTBOUND_BIN", binary);
            if self.needs_root() {
                command.env("OUTBOUND_TESTS_NO_SKIP", "1");
                if let Some(runner) = &options.runner {
                    add_runner(&mut command, runner);
                }
            }
            if !options.arguments.is_empty() {
                command.arg("--").args(&options.arguments);
            }
            command
        };
        self.targets().iter().map(command).collect()
    }

    /// Cargo's words for the tests of a tier, one list per run of cargo.
    fn targets(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Unit => &[&["--lib", "--bins"], &["--doc"]],
            Self::Path => &[&["--test", "path"]],
            Self::Kernel => &[&["--test", "kernel"]],
            Self::System => &[&["--test", "system"]],
        }
    }
}

/// Lets cargo start test binaries through `runner`.
fn add_runner(command: &mut Command, runner: &str) {
    let words: Vec<String> = runner
        .split_whitespace()
        .map(|word| format!("{word:?}"))
        .collect();
    command.arg("--config");
    command.arg(format!("target.'cfg(unix)'.runner=[{}]", words.join(",")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runner_becomes_a_list_for_cargo() {
        let mut command = Command::new("cargo");
        add_runner(&mut command, "sudo -E");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            ["--config", "target.'cfg(unix)'.runner=[\"sudo\",\"-E\"]"]
        );
    }
}
