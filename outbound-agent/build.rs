//! Compiles the kernel side with its own toolchain and hands the object to the crate.
//!
//! aya-build cannot be told that a stable compiler may use unstable flags, so cargo is called
//! here, with the flags that aya-build would give it.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// What this reads of `outbound-ebpf/toolchain.toml`.
#[derive(Deserialize)]
struct Toolchain {
    name: String,
    target: String,
    linker: Linker,
}

#[derive(Deserialize)]
struct Linker {
    #[serde(rename = "crate")]
    program: String,
}

/// The kernel crate's binary.
const BINARY: &str = "outbound-kernel";

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("not run by cargo")?);
    let workspace = manifest.parent().context("the crate has a parent")?;
    let kernel = workspace.join("outbound-ebpf");
    let out = PathBuf::from(env::var_os("OUT_DIR").context("not run by cargo")?);
    for input in [
        "outbound-ebpf/src",
        "outbound-ebpf/Cargo.toml",
        "outbound-ebpf/toolchain.toml",
        "outbound-common",
        "Cargo.lock",
    ] {
        println!(
            "cargo::rerun-if-changed={}",
            workspace.join(input).display()
        );
    }
    let toolchain = fs::read_to_string(kernel.join("toolchain.toml"))?;
    let toolchain: Toolchain = toml::from_str(&toolchain).context("toolchain.toml")?;
    let path = search_path()?;
    check_installed(&toolchain, &path)?;

    let target_dir = out.join("kernel");
    build(&kernel, &toolchain, &target_dir, &path)?;
    let object = target_dir
        .join(&toolchain.target)
        .join("release")
        .join(BINARY);
    fs::copy(&object, out.join("outbound-ebpf.o"))
        .with_context(|| format!("no object at {}", object.display()))?;
    Ok(())
}

/// The linker is a cargo-installed program; its directory may not be on everybody's path.
fn search_path() -> Result<OsString> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| env::home_dir().map(|home| home.join(".cargo")))
        .context("neither CARGO_HOME nor HOME is set")?;
    let rest = env::var_os("PATH").unwrap_or_default();
    let directories = std::iter::once(home.join("bin")).chain(env::split_paths(&rest));
    Ok(env::join_paths(directories)?)
}

fn check_installed(toolchain: &Toolchain, path: &OsString) -> Result<()> {
    let runs = |program: &str, arguments: &[&str]| {
        clean(Command::new(program).args(arguments), path)
            .output()
            .is_ok_and(|output| output.status.success())
    };
    let Toolchain { name, linker, .. } = toolchain;
    if !runs("rustup", &["run", name, "rustc", "--version"]) {
        bail!("the kernel toolchain `{name}` is missing: run `cargo xtask setup`");
    }
    if !runs(&linker.program, &["--version"]) {
        bail!(
            "the kernel linker `{}` is missing: run `cargo xtask setup`",
            linker.program
        );
    }
    Ok(())
}

fn build(kernel: &Path, toolchain: &Toolchain, target_dir: &Path, path: &OsString) -> Result<()> {
    let architecture = env::var("CARGO_CFG_TARGET_ARCH").context("not run by cargo")?;
    let flags = [
        format!("--cfg=bpf_target_arch=\"{architecture}\""),
        // Socket storage is created from the object's BTF, which the linker makes of debug info.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut cargo = Command::new("rustup");
    cargo
        .args(["run", &toolchain.name, "cargo", "build", "--locked"])
        .args(["--package", "outbound-ebpf", "--bin", BINARY])
        .args(["-Z", "build-std=core", "--release"])
        .args(["--target", &toolchain.target])
        .arg("--target-dir")
        .arg(target_dir)
        .current_dir(kernel);
    // Programs that log are for development; the release object carries none.
    if env::var("PROFILE").is_ok_and(|profile| profile == "debug") {
        cargo.args(["--features", "log"]);
    }
    clean(&mut cargo, path)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env("RUSTC_BOOTSTRAP", "1");
    let output = cargo.output().context("cannot run rustup")?;
    if !output.status.success() {
        bail!(
            "the kernel side does not compile:\n{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

/// Takes away what the outer cargo says about the outer toolchain.
fn clean<'a>(command: &'a mut Command, path: &OsString) -> &'a mut Command {
    for name in [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "RUSTUP_TOOLCHAIN",
        "RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(name);
    }
    command.env("PATH", path)
}
