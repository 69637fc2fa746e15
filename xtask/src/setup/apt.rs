//! Debian's packages.

use std::process::Command;

use anyhow::{Result, bail};
use nix::unistd::Uid;

use crate::say;
use crate::shell::Shell;

/// Installs them, with a fresh list of what there is where that is needed.
pub(super) fn install(shell: &Shell, packages: &[String]) -> Result<()> {
    let names = packages.join(" ");
    if shell.find("apt-get").is_none() {
        bail!("no apt-get here; install the equivalents of: {names}");
    }
    if !Uid::effective().is_root() && shell.find("sudo").is_none() {
        bail!("not root; as root: apt-get install --no-install-recommends {names}");
    }
    say::line(format_args!("  installing from Debian: {names}"));
    if packages.iter().any(|package| !is_known(shell, package)) {
        update(shell)?;
        let unknown: Vec<&str> = packages
            .iter()
            .map(String::as_str)
            .filter(|package| !is_known(shell, package))
            .collect();
        if !unknown.is_empty() {
            bail!(
                "this machine's package sources have no {}; Debian 12 or newer has them",
                unknown.join(", ")
            );
        }
    } else if let Ok(()) = get(shell, packages) {
        return Ok(());
    } else {
        // Known, yet not there: the list is older than what the mirrors hold.
        update(shell)?;
    }
    get(shell, packages)
}

fn get(shell: &Shell, packages: &[String]) -> Result<()> {
    let step = shell.step("apt-get install", "apt-install")?;
    let mut command = apt_get(shell);
    command
        .args(["install", "--yes", "--no-install-recommends"])
        .args(packages);
    step.run(&mut command)?;
    step.done();
    Ok(())
}

fn update(shell: &Shell) -> Result<()> {
    let step = shell.step("apt-get update", "apt-update")?;
    step.run(apt_get(shell).arg("update"))?;
    step.done();
    Ok(())
}

fn is_known(shell: &Shell, package: &str) -> bool {
    shell
        .output(shell.program("apt-cache").args(["policy", package]))
        .is_some_and(|policy| {
            policy
                .lines()
                .any(|line| line.contains("Candidate:") && !line.contains("(none)"))
        })
}

fn apt_get(shell: &Shell) -> Command {
    let mut command = if Uid::effective().is_root() {
        shell.program("env")
    } else {
        let mut sudo = shell.program("sudo");
        sudo.arg("env");
        sudo
    };
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]);
    command
}
