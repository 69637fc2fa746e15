//! Runs the program that a secret's reference names. No shell reads its arguments.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{SecretError, read_all};
use crate::model::secret::Secret;

/// What it writes to its standard output. What it complains of goes nowhere: that may hold a
/// secret. It and what it started are killed once its time is over.
pub(super) fn run(words: &[String], within: Duration) -> Result<Secret, SecretError> {
    let (program, arguments) = words.split_first().ok_or(SecretError::Empty)?;
    let failed = |source| SecretError::Run {
        program: program.clone(),
        source,
    };
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let Some(output) = child.stdout.take() else {
        return Err(SecretError::Empty);
    };
    let (written, read) = mpsc::channel();
    // Reads until every holder of the pipe is gone: the killed group is.
    thread::spawn(move || written.send(read_all(output)));
    let secret = match read.recv_timeout(within) {
        Ok(secret) => secret.map_err(failed),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => Err(SecretError::Late {
            program: program.clone(),
            within,
        }),
    };
    let secret = secret.inspect_err(|_late| end(&child));
    let status = child.wait().map_err(failed)?;
    let secret = secret?;
    if !status.success() {
        let program = program.clone();
        return Err(SecretError::Failed { program, status });
    }
    Ok(secret)
}

fn end(child: &Child) {
    let Ok(group) = i32::try_from(child.id()) else {
        return;
    };
    if let Err(error) = killpg(Pid::from_raw(group), Signal::SIGKILL) {
        tracing::debug!(%error, "cannot end a secret's program");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_a_program_writes_is_the_secret_and_no_shell_reads_it() {
        let secret = run(&words(&["/bin/echo", "a b", "$HOME"]), LONG).unwrap();
        assert_eq!(secret.expose(), b"a b $HOME");
    }

    #[test]
    fn a_program_that_fails_gives_nothing() {
        let error = run(
            &words(&["/bin/sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]),
            LONG,
        );
        let told = error.unwrap_err().to_string();
        assert!(
            told.ends_with("exit status: 3") && !told.contains("hunter2"),
            "{told}"
        );
        let error = run(&words(&["/nowhere"]), LONG).unwrap_err();
        assert!(matches!(error, SecretError::Run { .. }), "{error}");
    }

    #[test]
    fn a_program_that_takes_too_long_is_killed_with_what_it_started() {
        let sleeping = words(&["/bin/sh", "-c", "/bin/sleep 1000 & /bin/sleep 1000"]);
        let error = run(&sleeping, Duration::from_millis(50)).unwrap_err();
        assert!(matches!(error, SecretError::Late { .. }), "{error}");
    }
}
