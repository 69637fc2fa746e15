//! What the tools say to the person before the screen: the only place that prints.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line tool speaks on its standard streams"
)]

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::LazyLock;
use std::time::Duration;

/// A colour or weight, by its ANSI number.
#[derive(Clone, Copy)]
pub(crate) enum Paint {
    Bold = 1,
    Dim = 2,
    Red = 31,
    Green = 32,
    Yellow = 33,
    Magenta = 35,
    Cyan = 36,
}

/// `text` in that colour where the screen has colours.
pub(crate) fn paint(paint: Paint, text: impl Display) -> String {
    if *COLOURS {
        format!("\x1b[{}m{text}\x1b[0m", paint as u8)
    } else {
        text.to_string()
    }
}

/// Whether lines can be drawn over.
pub(crate) fn is_screen() -> bool {
    io::stdout().is_terminal()
}

/// A line.
pub(crate) fn line(text: impl Display) {
    println!("{text}");
}

/// A heading of a step that is about to run.
pub(crate) fn heading(text: impl Display) {
    println!("{} {text}", paint(Paint::Cyan, "==>"));
}

/// A command that is about to run, its output following.
pub(crate) fn command(text: impl Display) {
    println!("{}", paint(Paint::Dim, format_args!("  $ {text}")));
}

/// The step that is under way, drawn over the one before where the screen allows it.
pub(crate) fn progress(title: &str, elapsed: Duration, last: &str) {
    let room = 100_usize.saturating_sub(title.len());
    let last: String = last.chars().take(room).collect();
    print!(
        "\r\x1b[2K  {title} {}",
        paint(Paint::Dim, format_args!("{}s {last}", elapsed.as_secs()))
    );
    io::stdout().flush().ok();
}

/// Takes away what [`progress`] drew.
pub(crate) fn end_progress() {
    if is_screen() {
        print!("\r\x1b[2K");
    }
}

/// A step that went well.
pub(crate) fn done(title: &str, elapsed: Duration) {
    println!(
        "  {} {title} {}",
        paint(Paint::Green, "✓"),
        paint(Paint::Dim, format_args!("{:.1}s", elapsed.as_secs_f64()))
    );
}

/// Something that is missing or wrong, and what to do about it.
pub(crate) fn complaint(text: impl Display) {
    println!("  {} {text}", paint(Paint::Red, "✗"));
}

/// What ended the command, on standard error.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("{} {error:#}", paint(Paint::Red, "error:"));
}

static COLOURS: LazyLock<bool> = LazyLock::new(|| {
    let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    wanted && (is_screen() || env::var_os("CLICOLOR_FORCE").is_some_and(|value| value == "1"))
});
