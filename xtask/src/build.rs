//! The host crates, built once for all tiers.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::shell::Shell;

/// Every member but the kernel crate. The same selection for every build and test, so that
/// cargo unifies features in one way and compiles each dependency once.
pub(crate) const HOST_CRATES: [&str; 3] = ["--workspace", "--exclude", "outbound-ebpf"];

/// Builds binaries and tests; gives the path of `outbound`.
pub(crate) fn workspace(shell: &Shell) -> Result<PathBuf> {
    shell.show(&mut cargo(shell, "build", &["--all-targets"]))?;
    Ok(shell.target().join("debug/outbound"))
}

/// Cargo over the host crates.
pub(crate) fn cargo(shell: &Shell, subcommand: &str, arguments: &[&str]) -> Command {
    let mut command = shell.cargo();
    command.arg(subcommand).args(HOST_CRATES).args(arguments);
    command
}

/// Builds `outbound` alone, for who wants to run it now.
pub(crate) fn binary(shell: &Shell) -> Result<PathBuf> {
    shell.show(&mut cargo(shell, "build", &["--bin", "outbound"]))?;
    Ok(shell.target().join("debug/outbound"))
}
