//! Debian's packages, more of them than this machine is configured for: a package list of our
//! own, below `target/vm`, names newer releases beside the oldest that is supported.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::say;
use crate::shell::Shell;

/// Releases that have the kernels in question.
const SUITES: &str = "bookworm bookworm-backports trixie trixie-backports";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const MIRROR: &str = "http://deb.debian.org/debian";
const KERNELS: &str = "^linux-image-[0-9].*-amd64$";

/// A list of packages.
pub(super) struct Packages<'a> {
    shell: &'a Shell,
    directory: PathBuf,
    /// Whether the newer releases could be had; else the list is this machine's.
    is_own: bool,
}

impl<'a> Packages<'a> {
    /// Brings the list up to date.
    pub(super) fn open(shell: &'a Shell) -> Result<Self> {
        if shell.find("apt-get").is_none() {
            bail!("no apt-get here: the kernels come from Debian's packages");
        }
        let directory = shell.target().join("vm");
        for below in [
            "apt/lists/partial",
            "apt/cache/archives/partial",
            "packages",
        ] {
            let path = directory.join(below);
            fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        }
        let mut packages = Self {
            shell,
            directory,
            is_own: true,
        };
        packages.write_sources()?;
        let step = shell.step("package lists of newer releases", "vm-apt")?;
        match step.run(packages.apt("apt-get").arg("update")) {
            Ok(()) => step.done(),
            // A list from an earlier run does.
            Err(error) if packages.kernels().is_ok_and(|known| !known.is_empty()) => {
                say::complaint(format_args!("the list is not up to date: {error:#}"));
            }
            Err(error) => {
                packages.is_own = false;
                say::complaint(format_args!(
                    "only the kernels of this machine's own releases: {error:#}"
                ));
            }
        }
        Ok(packages)
    }

    /// Names of the packages that hold a kernel.
    pub(super) fn kernels(&self) -> Result<Vec<String>> {
        let mut command = self.apt("apt-cache");
        command.args(["search", "--names-only", KERNELS]);
        let found = self
            .shell
            .output(&mut command)
            .context("apt-cache finds no kernels")?;
        Ok(found
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .filter(|name| !["-rt-", "-cloud-"].iter().any(|kind| name.contains(kind)))
            .map(str::to_owned)
            .collect())
    }

    /// A statically linked busybox, which runs before there is a root.
    pub(super) fn busybox(&self) -> Result<PathBuf> {
        let unpacked = self.unpack("busybox-static", &[])?;
        ["usr/bin/busybox", "bin/busybox"]
            .map(|place| unpacked.join(place))
            .into_iter()
            .find(|path| path.exists())
            .context("the package busybox-static has no busybox")
    }

    /// A package's kernel and its modules, which since 7.2 are packages of their own.
    pub(super) fn unpack_kernel(&self, name: &str) -> Result<PathBuf> {
        let mut command = self.apt("apt-cache");
        command.args(["depends", "--important", name]);
        let needed = self
            .shell
            .output(&mut command)
            .context("apt-cache does not know what the kernel needs")?;
        let parts: Vec<&str> = needed
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|needed| {
                ["linux-binary-", "linux-modules-"]
                    .iter()
                    .any(|part| needed.starts_with(part))
            })
            .collect();
        self.unpack(name, &parts)
    }

    /// Downloads a package and unpacks it, and others into the same directory, which it gives.
    fn unpack(&self, name: &str, others: &[&str]) -> Result<PathBuf> {
        let unpacked = self.directory.join("unpacked").join(name);
        if unpacked.exists() {
            return Ok(unpacked);
        }
        let step = self.shell.step(name, "vm-package")?;
        let unfinished = self.directory.join("unfinished").join(name);
        fs::create_dir_all(&unfinished)?;
        for part in std::iter::once(name).chain(others.iter().copied()) {
            let downloads = self.directory.join("packages").join(part);
            fs::create_dir_all(&downloads)?;
            let mut download = self.apt("apt-get");
            download.args(["download", part]).current_dir(&downloads);
            step.run(&mut download)?;
            let mut extract = self.shell.program("dpkg-deb");
            extract
                .arg("-x")
                .arg(only_file(&downloads)?)
                .arg(&unfinished);
            step.run(&mut extract)?;
            fs::remove_dir_all(&downloads)?;
        }
        fs::create_dir_all(self.directory.join("unpacked"))?;
        fs::rename(&unfinished, &unpacked)?;
        step.done();
        Ok(unpacked)
    }

    /// How commands are run.
    pub(super) fn shell(&self) -> &Shell {
        self.shell
    }

    fn write_sources(&self) -> Result<()> {
        let signed = if Path::new(KEYRING).exists() {
            format!("Signed-By: {KEYRING}\n")
        } else {
            String::new()
        };
        let mirror = self.mirror();
        let text =
            format!("Types: deb\nURIs: {mirror}\nSuites: {SUITES}\nComponents: main\n{signed}");
        fs::write(self.sources(), text).context("cannot write the list of sources")
    }

    /// The mirror that this machine uses.
    fn mirror(&self) -> String {
        let mut command = self.shell.program("apt-get");
        command.args(["indextargets", "--format", "$(SITE)"]);
        let sites = self.shell.output(&mut command).unwrap_or_default();
        let found = sites.lines().find(|site| site.ends_with("/debian"));
        found.unwrap_or(MIRROR).to_owned()
    }

    fn sources(&self) -> PathBuf {
        self.directory.join("apt/vm.sources")
    }

    fn apt(&self, program: &str) -> Command {
        let mut command = self.shell.program(program);
        command.env("DEBIAN_FRONTEND", "noninteractive");
        if self.is_own {
            let apt = self.directory.join("apt");
            let options = [
                format!("Dir::Etc::sourcelist={}", self.sources().display()),
                "Dir::Etc::sourceparts=/dev/null".to_owned(),
                format!("Dir::State::lists={}", apt.join("lists").display()),
                format!("Dir::Cache={}", apt.join("cache").display()),
                "APT::Sandbox::User=root".to_owned(),
                "Acquire::Languages=none".to_owned(),
                "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            ];
            for option in options {
                command.arg("-o").arg(option);
            }
        }
        command
    }
}

fn only_file(directory: &Path) -> Result<PathBuf> {
    let found = fs::read_dir(directory)?.next();
    let found =
        found.with_context(|| format!("nothing was downloaded to {}", directory.display()))?;
    Ok(found?.path())
}
