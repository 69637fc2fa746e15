//! What a command tells its user: answers on stdout, complaints on stderr.

use std::error::Error;
use std::fmt;
use std::io::{self, Write as _};

/// Prints an answer. Fails where nobody reads it, as behind a pipe that was closed.
pub fn say(answer: impl fmt::Display) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{answer}")
}

/// Prints what went wrong. Where even that fails there is nobody left to tell.
pub fn complain(problem: impl fmt::Display) {
    writeln!(io::stderr().lock(), "outbound: {problem}").ok();
}

/// An error with all its causes, on one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
