//! A kernel of a package: its image and its modules.

use std::collections::HashSet;
use std::convert::Infallible;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Result, bail};

use super::packages::Packages;

/// A kernel as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// The newest that Debian has.
    Newest,
    /// The newest of a series, such as 6.1.
    Series(Vec<u64>),
    /// A package.
    Package(String),
}

impl FromStr for Wanted {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "newest" {
            Self::Newest
        } else if text.starts_with("linux-image-") {
            Self::Package(text.to_owned())
        } else {
            Self::Series(numbers(text))
        })
    }
}

impl Wanted {
    fn choose(&self, packages: &[String]) -> Option<String> {
        let version = |name: &str| numbers(name.strip_prefix("linux-image-").unwrap_or(name));
        packages
            .iter()
            .filter(|name| match self {
                Self::Newest => true,
                Self::Series(series) => version(name).starts_with(series),
                Self::Package(wanted) => *name == wanted,
            })
            .max_by_key(|name| version(name))
            .cloned()
    }
}

/// The numbers of a version, in order: what is between them does not count.
fn numbers(version: &str) -> Vec<u64> {
    let version = version.strip_suffix("-amd64").unwrap_or(version);
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// An unpacked kernel.
pub(super) struct Kernel {
    release: String,
    directory: PathBuf,
}

impl Kernel {
    /// Downloads it unless it is here already.
    pub(super) fn bring(packages: &Packages<'_>, wanted: &Wanted, busybox: &Path) -> Result<Self> {
        let known = packages.kernels()?;
        let Some(name) = wanted.choose(&known) else {
            bail!(
                "no package has the kernel {wanted:?}; these have one: {}",
                known.join(" ")
            );
        };
        let directory = packages.unpack_kernel(&name)?;
        let release = name.trim_start_matches("linux-image-").to_owned();
        let kernel = Self { release, directory };
        kernel.index_modules(packages, busybox)?;
        Ok(kernel)
    }

    /// As `uname -r` says.
    pub(super) fn release(&self) -> &str {
        &self.release
    }

    /// What the machine starts.
    pub(super) fn image(&self) -> PathBuf {
        let split = self.modules().join("vmlinuz");
        if split.exists() {
            return split;
        }
        self.directory
            .join(format!("boot/vmlinuz-{}", self.release))
    }

    /// The directory of its modules.
    pub(super) fn modules(&self) -> PathBuf {
        let below = ["usr/lib/modules", "lib/modules"]
            .map(|place| self.directory.join(place).join(&self.release));
        let [merged, split] = below;
        if merged.exists() { merged } else { split }
    }

    /// The files of these modules and of all that they need, those that are needed first.
    pub(super) fn load_order(&self, names: &[&str]) -> Result<Vec<PathBuf>> {
        let index = fs::read_to_string(self.modules().join("modules.dep"))
            .context("the modules have no index")?;
        let files = load_order(&index, names)?;
        Ok(files
            .into_iter()
            .map(|file| self.modules().join(file))
            .collect())
    }

    /// Makes `modules.dep`, which a package leaves to its installation.
    fn index_modules(&self, packages: &Packages<'_>, busybox: &Path) -> Result<()> {
        let modules = self.modules();
        if modules.join("modules.dep").exists() {
            return Ok(());
        }
        let shell = packages.shell();
        let step = shell.step(format!("modules of {}", self.release), "vm-modules")?;
        // Newer packages compress them, which the loader in the machine does not know.
        let unpack = format!(
            "find '{}' -name '*.ko.xz' | xargs -r -n 50 '{}' unxz",
            modules.display(),
            busybox.display()
        );
        step.run(shell.program("sh").args(["-c", &unpack]))?;
        let base = modules
            .ancestors()
            .nth(3)
            .context("a directory of modules")?;
        let base = if modules.starts_with(self.directory.join("usr")) {
            self.directory.join("usr")
        } else {
            base.to_owned()
        };
        let mut index = shell.program(busybox);
        index.args(["depmod", "-b"]).arg(base).arg(&self.release);
        step.run(&mut index)?;
        step.done();
        Ok(())
    }
}

/// From lines `file: needed needed`, each file after what it needs.
fn load_order<'a>(index: &'a str, names: &[&str]) -> Result<Vec<&'a str>> {
    let lines: Vec<(&str, Vec<&str>)> = index
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(file, needed)| (file, needed.split_whitespace().collect()))
        .collect();
    let line = |file: &str| lines.iter().find(|(found, _needed)| *found == file);
    let mut order = Vec::new();
    let mut seen = HashSet::new();
    // A stack of files, each with whether what it needs has been put before it.
    let mut waiting: Vec<(&str, bool)> = Vec::new();
    for name in names {
        let found = lines.iter().find(|(file, _needed)| is_module(file, name));
        // What is not a module is part of the kernel.
        waiting.extend(found.map(|(file, _needed)| (*file, false)));
        while let Some((file, is_ready)) = waiting.pop() {
            if is_ready {
                order.push(file);
            } else if seen.insert(file) {
                let (file, needed) = line(file).context("a module that is not in the index")?;
                waiting.push((file, true));
                waiting.extend(needed.iter().map(|needed| (*needed, false)));
            }
        }
    }
    Ok(order)
}

fn is_module(file: &str, name: &str) -> bool {
    let file = file.rsplit('/').next().unwrap_or(file);
    file.strip_suffix(".ko")
        .is_some_and(|module| module.replace('-', "_") == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn chosen(wanted: &str) -> Option<String> {
        let Ok(wanted) = wanted.parse::<Wanted>();
        wanted.choose(&[
            "linux-image-6.1.0-9-amd64".to_owned(),
            "linux-image-6.1.0-56-amd64".to_owned(),
            "linux-image-6.12.107+deb13-amd64".to_owned(),
            "linux-image-6.12.95+deb12-amd64".to_owned(),
        ])
    }

    #[test]
    fn the_newest_of_a_series_is_chosen_by_number() {
        assert_eq!(chosen("6.1").as_deref(), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(
            chosen("6.12").as_deref(),
            Some("linux-image-6.12.107+deb13-amd64")
        );
        assert_eq!(chosen("newest"), chosen("6.12"));
        assert_eq!(chosen("5.15"), None);
        let package = "linux-image-6.1.0-9-amd64";
        assert_eq!(chosen(package).as_deref(), Some(package));
    }

    #[test]
    fn modules_come_after_what_they_need() {
        let index = "k/9p.ko: k/9pnet.ko k/netfs.ko\nk/9pnet.ko:\nk/netfs.ko: k/base.ko\n\
                     k/base.ko:\nk/over-lay.ko:\n";
        let order = load_order(index, &["9p", "over_lay", "netfs", "built_in"]).unwrap();
        let at = |file| order.iter().position(|found| *found == file).unwrap();
        assert_eq!(order.len(), 5);
        assert!(at("k/base.ko") < at("k/netfs.ko"));
        assert!(at("k/netfs.ko") < at("k/9p.ko"));
        assert!(at("k/9pnet.ko") < at("k/9p.ko"));
    }
}
