//! How commands are run: shown, timed, and failing with one readable line.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::say;

/// Where the workspace is, and the environment in which its tools run.
pub(crate) struct Shell {
    root: PathBuf,
    cargo_bin: PathBuf,
    path: OsString,
}

impl Shell {
    pub(crate) fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask stands below the workspace")?
            .to_owned();
        let cargo_bin = match env::var_os("CARGO_HOME") {
            Some(home) => PathBuf::from(home).join("bin"),
            None => PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cargo/bin"),
        };
        // First, so that rustup's cargo and rustc win over those that Debian's packages put
        // into /usr/bin.
        let rest = env::var_os("PATH").unwrap_or_default();
        let path = prepended(&cargo_bin, &rest)?;
        Ok(Self {
            root,
            cargo_bin,
            path,
        })
    }

    /// The workspace.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where cargo puts what it builds.
    pub(crate) fn target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => self.root.join(dir),
            None => self.root.join("target"),
        }
    }

    /// A program, in the workspace.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).env("PATH", &self.path);
        // What the outer cargo said about xtask is no business of the commands below it.
        for (name, _value) in env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                command.env_remove(&*name);
            }
        }
        command
    }

    /// rustup's cargo with the toolchain of the host crates.
    pub(crate) fn cargo(&self) -> Command {
        let ours = self.cargo_bin.join("cargo");
        if ours.exists() {
            self.program(ours)
        } else {
            self.program("cargo")
        }
    }

    /// A program of a rustup toolchain, free of what belongs to the one that runs us.
    pub(crate) fn toolchain(&self, name: &str, program: &str) -> Command {
        let mut command = self.program("rustup");
        command
            .args(["run", name, program])
            .env_remove("LD_LIBRARY_PATH")
            .env_remove("RUSTC")
            .env_remove("CARGO")
            .env_remove("RUSTFLAGS");
        command
    }

    /// The same command with `dir` first in its `PATH`.
    pub(crate) fn with_path(&self, mut command: Command, dir: &Path) -> Result<Command> {
        command.env("PATH", prepended(dir, &self.path)?);
        Ok(command)
    }

    /// Where a program is found.
    pub(crate) fn find(&self, program: &str) -> Option<PathBuf> {
        env::split_paths(&self.path)
            .map(|dir| dir.join(program))
            .find(|candidate| candidate.is_file())
    }

    /// Runs it before the person's eyes.
    pub(crate) fn show(&self, command: &mut Command) -> Result<()> {
        say::command(rendered(command));
        let status = command.status().with_context(|| cannot_start(command))?;
        if !status.success() {
            bail!("`{}` ended with {}", rendered(command), ending(status));
        }
        Ok(())
    }

    /// What it prints, where it succeeds.
    pub(crate) fn output(&self, command: &mut Command) -> Option<String> {
        let output = command.stdin(Stdio::null()).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A step whose commands write to `target/xtask/NAME.log`.
    pub(crate) fn step(&self, title: impl Into<String>, name: &str) -> Result<Step> {
        let dir = self.target().join("xtask");
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let log = dir.join(format!("{name}.log"));
        File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let title = title.into();
        if !say::is_screen() {
            say::line(format_args!("  {title} ..."));
        }
        Ok(Step {
            title,
            log,
            started: Instant::now(),
        })
    }
}

/// Commands that are timed together, their output kept in a file.
pub(crate) struct Step {
    title: String,
    log: PathBuf,
    started: Instant,
}

impl Step {
    /// Runs one command; where it fails, says so with the last lines of its output.
    pub(crate) fn run(&self, command: &mut Command) -> Result<()> {
        let log = File::options().append(true).open(&self.log)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| cannot_start(command))?;
        let (ended, end) = mpsc::channel();
        let status = thread::scope(|scope| {
            scope.spawn(move || ended.send(child.wait()));
            let mut reported = Instant::now();
            loop {
                match end.recv_timeout(Duration::from_millis(500)) {
                    Ok(status) => return status,
                    Err(_not_yet) => self.report(&mut reported),
                }
            }
        })?;
        if say::is_screen() {
            say::end_progress();
        }
        if !status.success() {
            bail!(
                "{}: `{}` ended with {}\n{}\n(all of it: {})",
                self.title,
                rendered(command),
                ending(status),
                self.tail(20),
                self.log.display()
            );
        }
        Ok(())
    }

    /// Ends the step.
    pub(crate) fn done(self) {
        say::done(&self.title, self.started.elapsed());
    }

    /// Once a minute where lines cannot be drawn over, else at once.
    fn report(&self, reported: &mut Instant) {
        if say::is_screen() {
            say::progress(&self.title, self.started.elapsed(), &self.tail(1));
        } else if reported.elapsed() >= Duration::from_secs(60) {
            *reported = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            say::line(format_args!("  {} ... {seconds}s", self.title));
        }
    }

    fn tail(&self, lines: usize) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let length = file.metadata().map_or(0, |metadata| metadata.len());
            let from = SeekFrom::Start(length.saturating_sub(8192));
            // A log that cannot be read back shows as empty: the step's own end is what counts.
            file.seek(from).ok();
            file.read_to_end(&mut text).ok();
        }
        last_lines(&String::from_utf8_lossy(&text), lines)
    }
}

/// The command as a person would type it.
pub(crate) fn rendered(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut words = vec![program.file_name().unwrap_or_default().to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words
        .iter()
        .map(|word| {
            if word.contains([' ', '*', '\'', '"']) {
                format!("'{word}'")
            } else {
                word.to_string()
            }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// How a process ended, in words.
pub(crate) fn ending(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit code {code}"),
        None => status.to_string(),
    }
}

fn cannot_start(command: &Command) -> String {
    format!("cannot start `{}`", command.get_program().to_string_lossy())
}

fn prepended(dir: &Path, path: &OsStr) -> Result<OsString> {
    let dirs = [dir.to_owned()].into_iter().chain(env::split_paths(path));
    env::join_paths(dirs).context("a directory of PATH has a colon in its name")
}

/// The last lines that have something in them.
fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .split(['\n', '\r'])
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_reads_as_typed() {
        let mut command = Command::new("/usr/bin/env");
        command.args(["printf", "a b"]);
        assert_eq!(rendered(&command), "env printf 'a b'");
    }

    #[test]
    fn the_end_of_a_log_skips_empty_lines() {
        assert_eq!(last_lines("one\n\ntwo\r\n\nthree\n\n", 2), "two\nthree");
        assert_eq!(last_lines("", 3), "");
    }

    #[test]
    fn rustup_is_found_before_other_directories() {
        let shell = Shell::new().unwrap();
        let first = env::split_paths(&shell.path).next().unwrap();
        assert_eq!(first, shell.cargo_bin);
    }
}
