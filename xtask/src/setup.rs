//! `cargo xtask setup`: brings what the build, the tests and the demo need. Safe to repeat.
//!
//! What the machine has is preferred; what is missing comes from Debian's packages, from
//! crates.io, and for the clients of the system tier from PyPI and npm, nothing else.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use self::clients::Collection;
use crate::say;
use crate::shell::Shell;
use crate::toolchain::{Found, Pin};

mod apt;
mod clients;

/// Programs that the tests and the demo run: how to see that one is whole (Debian's
/// `python3-minimal` is not), and the package that brings it.
const PROGRAMS: [(&[&str], &str); 4] = [
    (&["curl", "--version"], "curl"),
    (&["python3", "-c", "import http.server, ssl"], "python3"),
    (&["ip", "-V"], "iproute2"),
    (&["openssl", "version"], "openssl"),
];

/// Something that has to be brought.
enum Missing {
    /// A program, by a package.
    Program {
        program: &'static str,
        package: &'static str,
    },
    /// The kernel toolchain's compiler, which some nightly has.
    Link { name: String, sysroot: PathBuf },
    /// The kernel toolchain's compiler and LLVM, by packages.
    Compiler { why: String },
    /// The kernel toolchain's linker.
    Linker,
    /// Packages that clients of the system tier are made of.
    Collection(Collection),
}

/// What somebody is about to do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Build, check, show, and test what needs nothing but that.
    Build,
    /// Also run the system tier.
    Clients,
}

/// Brings what is missing; with `only_check` tells it and fails.
pub(crate) fn run(shell: &Shell, only_check: bool) -> Result<()> {
    let pin = Pin::read(shell)?;
    let missing = survey(shell, &pin, Purpose::Clients)?;
    if missing.is_empty() {
        say::line(format_args!("All here: {}", summary(shell, &pin)));
        return Ok(());
    }
    if !only_check {
        return install(shell, &pin, Purpose::Clients, &missing);
    }
    for one in &missing {
        say::complaint(one.describe(&pin));
    }
    bail!(
        "{} of what is needed is missing; `cargo xtask setup` brings it",
        missing.len()
    )
}

/// As [`run`], without a word where nothing is missing.
pub(crate) fn ensure(shell: &Shell, purpose: Purpose) -> Result<()> {
    let pin = Pin::read(shell)?;
    let missing = survey(shell, &pin, purpose)?;
    if missing.is_empty() {
        Ok(())
    } else {
        install(shell, &pin, purpose, &missing)
    }
}

/// Brings these programs, with the package that has each.
pub(crate) fn programs(shell: &Shell, needed: &[(&str, &str)]) -> Result<()> {
    let packages: Vec<String> = needed
        .iter()
        .filter(|(program, _package)| shell.find(program).is_none())
        .map(|(_program, package)| (*package).to_owned())
        .collect();
    if packages.is_empty() {
        return Ok(());
    }
    apt::install(shell, &packages)
}

fn survey(shell: &Shell, pin: &Pin, purpose: Purpose) -> Result<Vec<Missing>> {
    if shell
        .output(shell.program("rustup").arg("--version"))
        .is_none()
    {
        bail!("rustup is not installed: see https://rustup.rs, then run this again");
    }
    let mut missing: Vec<Missing> = PROGRAMS
        .into_iter()
        .filter(|(probe, _package)| {
            shell
                .output(shell.program(probe[0]).args(&probe[1..]))
                .is_none()
        })
        .map(|(probe, package)| Missing::Program {
            program: probe[0],
            package,
        })
        .collect();
    missing.extend(missing_compiler(shell, pin));
    if !pin.has_linker(shell) {
        missing.push(Missing::Linker);
    }
    if purpose == Purpose::Clients {
        missing.extend(missing_clients(shell));
    }
    Ok(missing)
}

fn missing_clients(shell: &Shell) -> impl Iterator<Item = Missing> {
    let programs = clients::missing_programs(shell);
    let collections = Collection::ALL.into_iter();
    programs
        .map(|(program, package)| Missing::Program { program, package })
        .chain(
            collections
                .filter(|collection| !collection.is_here(shell))
                .map(Missing::Collection),
        )
}

fn missing_compiler(shell: &Shell, pin: &Pin) -> Option<Missing> {
    let linked = Found::named(shell, &pin.name);
    if linked.as_ref().is_some_and(|found| pin.accepts(found)) {
        return None;
    }
    let toolchains = shell.output(shell.program("rustup").args(["toolchain", "list"]));
    let nightly = toolchains
        .iter()
        .flat_map(|list| list.lines())
        .find_map(|line| {
            let name = line.split_whitespace().next()?;
            let found = Found::named(shell, name).filter(|_any| name.starts_with("nightly"))?;
            pin.accepts(&found)
                .then_some((name.to_owned(), found.sysroot))
        });
    if let Some((name, sysroot)) = nightly {
        return Some(Missing::Link { name, sysroot });
    }
    let why = match linked {
        Some(found) => format!(
            "rustup toolchain `{}` is {} with LLVM {} and no matching library source",
            pin.name, found.release, found.llvm
        ),
        None => format!("no rustup toolchain `{}`", pin.name),
    };
    Some(Missing::Compiler { why })
}

fn install(shell: &Shell, pin: &Pin, purpose: Purpose, missing: &[Missing]) -> Result<()> {
    say::heading("Setting up");
    for one in missing {
        say::line(format_args!("  · {}", one.describe(pin)));
    }
    let packages = packages(shell, pin, missing);
    if !packages.is_empty() {
        apt::install(shell, &packages)?;
    }
    for one in missing {
        match one {
            Missing::Program { .. } => {}
            Missing::Link { sysroot, .. } => link(shell, pin, sysroot)?,
            Missing::Compiler { .. } => link(shell, pin, &pin.debian.sysroot)?,
            Missing::Linker => install_linker(shell, pin)?,
            Missing::Collection(collection) => collection.install(shell)?,
        }
    }
    match survey(shell, pin, purpose)?.first() {
        None => Ok(()),
        Some(still) => bail!("set-up ended, yet: {}", still.describe(pin)),
    }
}

/// The packages that bring what is missing. The linker is built against LLVM's libraries.
fn packages(shell: &Shell, pin: &Pin, missing: &[Missing]) -> Vec<String> {
    let has_llvm = pin.debian.llvm_bin.join("llvm-config").is_file()
        || shell.find(&format!("llvm-config-{}", pin.llvm)).is_some();
    let mut packages: Vec<String> = Vec::new();
    for one in missing {
        match one {
            Missing::Program { package, .. } => packages.push((*package).to_owned()),
            Missing::Link { .. } => {}
            Missing::Collection(collection) => packages.extend(collection.package(shell)),
            Missing::Compiler { .. } => packages.extend(pin.debian.packages.iter().cloned()),
            Missing::Linker if has_llvm => {}
            // Without the compiler, which comes from elsewhere.
            Missing::Linker => {
                let libraries = pin
                    .debian
                    .packages
                    .iter()
                    .filter(|name| name.ends_with("-dev"));
                packages.extend(libraries.cloned());
            }
        }
    }
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn link(shell: &Shell, pin: &Pin, sysroot: &Path) -> Result<()> {
    let step = shell.step(
        format!("rustup toolchain link {} {}", pin.name, sysroot.display()),
        "rustup-link",
    )?;
    step.run(
        shell
            .program("rustup")
            .args(["toolchain", "link", &pin.name])
            .arg(sysroot),
    )?;
    step.done();
    match pin.linked(shell) {
        Some(_found) => Ok(()),
        None => bail!(
            "{} has no compiler with LLVM {} and library source; install `{}` or a nightly with rust-src",
            sysroot.display(),
            pin.llvm,
            pin.debian.packages.join(" ")
        ),
    }
}

fn install_linker(shell: &Shell, pin: &Pin) -> Result<()> {
    let step = shell.step(
        format!("cargo install {} {}", pin.linker.name, pin.linker.version),
        &pin.linker.name,
    )?;
    let mut cargo = shell.cargo();
    cargo
        .args(["install", &pin.linker.name, "--locked", "--force"])
        .args(["--version", &format!("={}", pin.linker.version)])
        .args([
            "--no-default-features",
            "--features",
            &format!("llvm-{}", pin.llvm),
        ]);
    step.run(&mut shell.with_path(cargo, &pin.debian.llvm_bin)?)?;
    step.done();
    Ok(())
}

fn summary(shell: &Shell, pin: &Pin) -> String {
    let release = pin
        .linked(shell)
        .map_or_else(String::new, |found| found.release);
    let programs: Vec<&str> = PROGRAMS.iter().map(|(probe, _package)| probe[0]).collect();
    format!(
        "rustc {release} with LLVM {} linked as `{}`, {} {}, {}",
        pin.llvm,
        pin.name,
        pin.linker.name,
        pin.linker.version,
        programs.join(", ")
    )
}

impl Missing {
    fn describe(&self, pin: &Pin) -> String {
        match self {
            Self::Program { program, package } => {
                format!("{program}: from package {package}")
            }
            Self::Link { name, sysroot } => {
                format!(
                    "kernel compiler: link {name} ({}) as `{}`",
                    sysroot.display(),
                    pin.name
                )
            }
            Self::Compiler { why } => {
                format!(
                    "kernel compiler ({why}): from packages {}",
                    pin.debian.packages.join(" ")
                )
            }
            Self::Linker => {
                format!("{} {}: from crates.io", pin.linker.name, pin.linker.version)
            }
            Self::Collection(collection) => collection.describe(),
        }
    }
}
