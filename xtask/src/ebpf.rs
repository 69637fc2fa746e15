//! `cargo xtask ebpf`: the kernel object alone.

use std::path::PathBuf;

use anyhow::Result;

use crate::say;
use crate::setup;
use crate::shell::Shell;
use crate::toolchain::Pin;

/// Builds it and says where it is.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    setup::ensure(shell)?;
    let object = build(shell)?;
    say::line(format_args!("{}", object.display()));
    Ok(())
}

/// Builds it; warnings count as errors, as everywhere in the checks.
pub(crate) fn build(shell: &Shell) -> Result<PathBuf> {
    let pin = Pin::read(shell)?;
    shell.show(&mut pin.cargo(shell, "build"))?;
    Ok(shell
        .target()
        .join("ebpf")
        .join(&pin.target)
        .join("release/outbound"))
}
