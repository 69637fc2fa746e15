//! `cargo xtask ebpf`: the kernel object alone.

use anyhow::Result;

use crate::say;
use crate::setup::{self, Purpose};
use crate::shell::Shell;
use crate::toolchain::Pin;

/// Builds it and says where it is.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    setup::ensure(shell, Purpose::Build)?;
    let (mut cargo, object) = Pin::read(shell)?.build(shell);
    shell.show(&mut cargo)?;
    say::line(object.display());
    Ok(())
}
