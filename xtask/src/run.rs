//! `cargo xtask run -- ARGS`: builds, then runs the binary, as root where it can.

use anyhow::Result;
use nix::unistd::Uid;

use crate::build;
use crate::setup::{self, Purpose};
use crate::shell::Shell;

/// Builds as the user, runs as root.
pub(crate) fn run(shell: &Shell, arguments: &[String]) -> Result<()> {
    setup::ensure(shell, Purpose::Build)?;
    let binary = build::binary(shell)?;
    let mut command = if Uid::effective().is_root() {
        shell.program(binary)
    } else {
        let mut sudo = shell.program("sudo");
        sudo.arg("--preserve-env").arg(binary);
        sudo
    };
    shell.show(command.args(arguments))
}
