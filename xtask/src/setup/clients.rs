//! Clients and servers that the system tier runs: Debian's programs, and Python's and Node's
//! packages in `target/clients`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::shell::Shell;

/// Programs, and the package that brings each.
const PROGRAMS: [(&str, &str); 15] = [
    ("git", "git"),
    ("gnutls-cli", "gnutls-bin"),
    ("gron", "gron"),
    ("hey", "hey"),
    ("mosquitto", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("psql", "postgresql-client"),
    ("redis-cli", "redis-tools"),
    ("redis-server", "redis-server"),
    ("rhino", "rhino"),
    ("ssh", "openssh-client"),
    ("sshd", "openssh-server"),
    ("wget", "wget"),
];

/// Where Debian keeps what is not for every user's `PATH`.
const SBIN: &str = "/usr/sbin";

/// Below it Debian has a directory per version of the server.
const POSTGRES: &str = "/usr/lib/postgresql";

/// The programs that are not here, with their packages.
pub(super) fn missing_programs(
    shell: &Shell,
) -> impl Iterator<Item = (&'static str, &'static str)> {
    let postgres = (!has_postgres()).then_some(("postgres", "postgresql"));
    PROGRAMS
        .into_iter()
        .filter(|(program, _package)| {
            shell.find(program).is_none() && !Path::new(SBIN).join(program).is_file()
        })
        .chain(postgres)
}

fn has_postgres() -> bool {
    let versions = fs::read_dir(POSTGRES).into_iter().flatten().flatten();
    versions
        .into_iter()
        .any(|version| version.path().join("bin/postgres").is_file())
}

/// Packages of a language, kept in a directory of their own.
#[derive(Clone, Copy)]
pub(super) enum Collection {
    Python,
    Node,
}

impl Collection {
    pub(super) const ALL: [Self; 2] = [Self::Python, Self::Node];

    const fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
        }
    }

    pub(super) fn describe(self) -> String {
        let (registry, list) = match self {
            Self::Python => ("PyPI", self.list()),
            Self::Node => ("npm", self.list()),
        };
        format!(
            "{} clients: tests/clients/{list}, from {registry}",
            self.name()
        )
    }

    /// The package without which it cannot be installed.
    pub(super) fn package(self, shell: &Shell) -> Option<String> {
        match self {
            Self::Python => {
                let probe = ["-c", "import ensurepip, venv"];
                let has_venv = shell.output(shell.program("python3").args(probe));
                has_venv.is_none().then(|| "python3-venv".to_owned())
            }
            Self::Node => None,
        }
    }

    /// What is to be installed, below `tests/clients`.
    const fn list(self) -> &'static str {
        match self {
            Self::Python => "requirements.txt",
            Self::Node => "package.json",
        }
    }

    /// Whether exactly what is listed was installed, in whole.
    pub(super) fn is_here(self, shell: &Shell) -> bool {
        let stamp = fs::read(self.stamp(shell));
        let list = fs::read(self.source(shell));
        matches!((stamp, list), (Ok(stamp), Ok(list)) if stamp == list)
    }

    pub(super) fn install(self, shell: &Shell) -> Result<()> {
        let directory = self.directory(shell);
        if directory.exists() {
            fs::remove_dir_all(&directory)
                .with_context(|| format!("cannot remove {}", directory.display()))?;
        }
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot make {}", directory.display()))?;
        match self {
            Self::Python => self.install_python(shell, &directory)?,
            Self::Node => self.install_node(shell, &directory)?,
        }
        // Last, so that what was broken off is begun anew.
        fs::copy(self.source(shell), self.stamp(shell)).context("cannot keep the list")?;
        Ok(())
    }

    fn install_python(self, shell: &Shell, directory: &Path) -> Result<()> {
        let step = shell.step("pip install", "clients-python")?;
        step.run(shell.program("python3").args(["-m", "venv"]).arg(directory))?;
        step.run(
            shell
                .program(directory.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--only-binary", ":all:"])
                .arg("--requirement")
                .arg(self.source(shell)),
        )?;
        step.done();
        Ok(())
    }

    fn install_node(self, shell: &Shell, directory: &Path) -> Result<()> {
        let step = shell.step("npm install", "clients-node")?;
        fs::copy(self.source(shell), directory.join(self.list()))
            .context("cannot copy the list")?;
        step.run(
            shell
                .program("npm")
                .args(["install", "--ignore-scripts", "--no-audit", "--no-fund"])
                .arg("--prefix")
                .arg(directory),
        )?;
        step.done();
        Ok(())
    }

    fn source(self, shell: &Shell) -> PathBuf {
        shell.root().join("tests/clients").join(self.list())
    }

    fn stamp(self, shell: &Shell) -> PathBuf {
        self.directory(shell).join("installed")
    }

    fn directory(self, shell: &Shell) -> PathBuf {
        shell.target().join("clients").join(self.name())
    }
}
