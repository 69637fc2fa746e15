//! The pin of the kernel crate's toolchain, `outbound-ebpf/toolchain.toml`, and how it is called.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::Deserialize;

use crate::shell::Shell;

/// What the pin says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pin {
    /// The rustup name under which it is linked.
    pub(crate) name: String,
    /// What it compiles for.
    pub(crate) target: String,
    /// LLVM's major version, of compiler and linker alike.
    pub(crate) llvm: u32,
    /// The linker, a crate.
    pub(crate) linker: Linker,
    /// Where Debian's packages bring it all.
    pub(crate) debian: Debian,
}

/// The linker.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Linker {
    #[serde(rename = "crate")]
    pub(crate) name: String,
    pub(crate) version: String,
}

/// Debian's way.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Debian {
    pub(crate) packages: Vec<String>,
    pub(crate) sysroot: PathBuf,
    pub(crate) llvm_bin: PathBuf,
}

/// What a toolchain is, as far as it matters here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) release: String,
    pub(crate) llvm: u32,
    pub(crate) sysroot: PathBuf,
}

impl Pin {
    pub(crate) fn read(shell: &Shell) -> Result<Self> {
        let path = shell.root().join("outbound-ebpf/toolchain.toml");
        let text =
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }

    /// The toolchain linked under the pinned name, if it is one that will do.
    pub(crate) fn linked(&self, shell: &Shell) -> Option<Found> {
        Found::named(shell, &self.name).filter(|found| self.accepts(found))
    }

    /// Whether the compiler's LLVM is the linker's and the library's source is there, which
    /// `-Z build-std` compiles.
    pub(crate) fn accepts(&self, found: &Found) -> bool {
        found.llvm == self.llvm
            && found
                .sysroot
                .join("lib/rustlib/src/rust/library/core/src/lib.rs")
                .is_file()
    }

    /// Whether the pinned linker is installed.
    pub(crate) fn has_linker(&self, shell: &Shell) -> bool {
        let version = shell.output(shell.program(&self.linker.name).arg("--version"));
        version.is_some_and(|text| {
            text.split_whitespace()
                .any(|word| word == self.linker.version)
        })
    }

    /// Builds the kernel object, as the agent's build script does; gives the command and where
    /// the object will be.
    pub(crate) fn build(&self, shell: &Shell) -> (Command, PathBuf) {
        let target_dir = shell.target().join("ebpf");
        let flags = [
            format!("--cfg=bpf_target_arch=\"{}\"", env::consts::ARCH),
            // The linker makes the BTF of it that socket storage maps need.
            "-Cdebuginfo=2".to_owned(),
            "-Clink-arg=--btf".to_owned(),
        ];
        let mut command = shell.toolchain(&self.name, "cargo");
        command
            .args(["build", "--locked", "--release"])
            .args(["--package", "outbound-ebpf", "--bin", OBJECT])
            .args(["-Z", "build-std=core", "--target", &self.target])
            // Debian's compiler is a release; `-Z build-std` asks for a nightly.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
            .env("CARGO_TARGET_DIR", &target_dir);
        let object = target_dir.join(&self.target).join("release").join(OBJECT);
        (command, object)
    }
}

/// The kernel crate's binary.
const OBJECT: &str = "outbound-kernel";

impl Found {
    /// The rustup toolchain of that name.
    pub(crate) fn named(shell: &Shell, name: &str) -> Option<Self> {
        let version = shell.output(shell.toolchain(name, "rustc").arg("-vV"))?;
        let sysroot = shell.output(shell.toolchain(name, "rustc").args(["--print", "sysroot"]))?;
        Self::parsed(&version, sysroot.trim())
    }

    fn parsed(version: &str, sysroot: &str) -> Option<Self> {
        let field = |name: &str| {
            version
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
        };
        Some(Self {
            release: field("release")?.to_owned(),
            llvm: field("LLVM version")?.split('.').next()?.parse().ok()?,
            sysroot: sysroot.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pin_is_readable() {
        let pin = Pin::read(&Shell::new().unwrap()).unwrap();
        assert!(!pin.debian.packages.is_empty());
    }

    #[test]
    fn rustc_tells_its_llvm() {
        let text =
            "rustc 1.96.0 (x 2026-05-25)\nbinary: rustc\nrelease: 1.96.0\nLLVM version: 22.1.8\n";
        assert_eq!(
            Found::parsed(text, "/usr"),
            Some(Found {
                release: "1.96.0".to_owned(),
                llvm: 22,
                sysroot: "/usr".into(),
            })
        );
        assert_eq!(Found::parsed("rustc 1.0.0\n", "/usr"), None);
    }
}
