//! `cargo xtask check`: all that a change must pass and that needs no privilege.

use anyhow::Result;

use crate::build;
use crate::deny;
use crate::fuzz;
use crate::say;
use crate::setup::{self, Purpose};
use crate::shell::Shell;
use crate::test;
use crate::tidy;

/// From the quickest to the slowest.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    setup::ensure(shell, Purpose::Build)?;
    say::heading("Format");
    shell.show(shell.cargo().args(["fmt", "--all", "--check"]))?;
    say::heading("Tidy");
    tidy::run(shell)?;
    say::heading("Dependencies");
    deny::run(shell)?;
    clippy(shell)?;
    say::heading("Documentation");
    let mut doc = build::cargo(shell, "doc", &["--no-deps", "--document-private-items"]);
    shell.show(doc.env("RUSTDOCFLAGS", "-Dwarnings"))?;
    say::heading("Unit and path tests");
    test::unprivileged(shell)?;
    say::heading("Fuzz");
    fuzz::smoke(shell)?;
    say::line(say::paint(say::Paint::Green, "all green"));
    Ok(())
}

/// Three times: over the whole workspace at once, feature `user` of outbound-common would be
/// unified into the kernel crate, and what the tests ask of a dependency into the host crates.
fn clippy(shell: &Shell) -> Result<()> {
    const DENY: [&str; 3] = ["--", "-D", "warnings"];
    say::heading("Clippy: host crates");
    let mut host = shell.cargo();
    shell.show(host.args(["clippy", "--all-targets"]).args(DENY))?;
    say::heading("Clippy: tests");
    let mut tests = shell.cargo();
    tests.args(["clippy", "--package", "outbound-tests", "--all-targets"]);
    shell.show(tests.args(DENY))?;
    say::heading("Clippy: kernel crate");
    // Debian's compiler comes without clippy, so the crate is read as if for the host; without
    // std it cannot unwind. The agent's build script has compiled it for the kernel by now.
    let mut kernel = shell.cargo();
    kernel
        .args(["clippy", "--package", "outbound-ebpf"])
        .args(DENY)
        .env("RUSTFLAGS", "-Cpanic=abort")
        .env("CARGO_TARGET_DIR", shell.target().join("ebpf"));
    shell.show(&mut kernel)
}
