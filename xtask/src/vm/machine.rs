//! The machine: QEMU, started, watched and ended.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use super::kernel::Kernel;
use super::outcome::Outcome;
use crate::say;
use crate::shell::{Shell, rendered};

/// What runs the machine's code.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Accelerator {
    /// This machine's processor.
    Kvm,
    /// A translator: works everywhere, some ten times slower.
    Tcg,
}

impl Accelerator {
    /// The fastest that this machine has. The device alone is no proof: a machine in a machine
    /// may show it without a processor that could.
    pub(super) fn best() -> Self {
        let device = File::options().read(true).write(true).open("/dev/kvm");
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let is_able = processor
            .split_whitespace()
            .any(|flag| flag == "vmx" || flag == "svm");
        match device {
            Ok(_device) if is_able => Self::Kvm,
            Ok(_) | Err(_) => Self::Tcg,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg, without hardware acceleration",
        }
    }

    const fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Kvm => ["-accel", "kvm", "-cpu", "host"],
            Self::Tcg => ["-accel", "tcg,thread=multi", "-cpu", "max"],
        }
    }
}

/// A machine that is about to run.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Kernel,
    pub(super) initramfs: PathBuf,
    pub(super) accelerator: Accelerator,
    pub(super) deadline: Duration,
}

/// An oops is the end, and the end is no new beginning.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=4 oops=panic panic=-1 rdinit=/init";
const MEMORY: &str = "2048";

impl Machine<'_> {
    /// Runs it before the person's eyes until its job is done.
    pub(super) fn run(&self, shell: &Shell) -> Result<Outcome> {
        let answer = shell
            .target()
            .join(format!("vm/answer-{}", self.kernel.release()));
        fs::write(&answer, "").with_context(|| format!("cannot write {}", answer.display()))?;
        let mut command = self.command(shell, &answer);
        say::command(rendered(&command));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start QEMU")?;
        let mut outcome = Outcome::default();
        let is_late = self.watch(&mut child, &mut outcome)?;
        child.wait().context("cannot wait for QEMU")?;
        if is_late {
            outcome.ended(None, "it was stopped at the deadline");
        } else {
            let answer = fs::read_to_string(&answer).unwrap_or_default();
            outcome.ended(Some(&answer), "the machine ended before the tests did");
        }
        Ok(outcome)
    }

    fn command(&self, shell: &Shell, answer: &Path) -> Command {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        let mut command = shell.program("qemu-system-x86_64");
        command
            .args([
                "-machine",
                "q35",
                "-nodefaults",
                "-no-reboot",
                "-display",
                "none",
            ])
            .args(self.accelerator.arguments())
            .args(["-m", MEMORY, "-smp", &processors.to_string()])
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(&self.initramfs)
            .args(["-append", COMMAND_LINE])
            .args(["-serial", "stdio", "-serial"])
            .arg(format!("file:{}", answer.display()))
            .args([
                "-virtfs",
                "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap",
            ]);
        command
    }

    /// Shows what it prints. Ends it at the deadline, and says whether it had to.
    fn watch(&self, child: &mut Child, outcome: &mut Outcome) -> Result<bool> {
        let output = child.stdout.take().context("QEMU has no output")?;
        let (sender, lines) = mpsc::channel();
        let reader = thread::spawn(move || {
            let mut output = BufReader::new(output);
            let mut line = Vec::new();
            while output
                .read_until(b'\n', &mut line)
                .is_ok_and(|length| length > 0)
            {
                let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                if sender.send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });
        let deadline = Instant::now() + self.deadline;
        let is_late = loop {
            match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    say::line(format_args!("  {line}"));
                    outcome.read(&line);
                }
                Err(RecvTimeoutError::Disconnected) => break false,
                Err(RecvTimeoutError::Timeout) => {
                    child.kill().context("cannot stop QEMU")?;
                    break true;
                }
            }
        };
        drop(lines);
        reader.join().ok();
        Ok(is_late)
    }
}
