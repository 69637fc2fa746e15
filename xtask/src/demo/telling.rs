//! How a step is told: what is typed, what comes back, what is promised.

use std::process::Output;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::evidence::{Line, Lines};
use super::scene::{Scene, pause};
use crate::say::{self, Paint, paint};

/// A show under way.
pub(super) struct Show<'a> {
    pub(super) scene: &'a Scene,
    pub(super) origin: Lines,
    pub(super) log: Lines,
    pub(super) step: u32,
    pub(super) is_fast: bool,
}

impl Show<'_> {
    /// A step begins.
    pub(super) fn title(&mut self, title: &str, text: &str) {
        if !self.is_fast && self.step > 0 {
            pause(Duration::from_millis(1500));
        }
        self.step += 1;
        say::line("");
        let title = format!("{}. {title}", self.step);
        say::line(paint(Paint::Bold, paint(Paint::Cyan, title)));
        say::line(format_args!("   {text}"));
    }

    /// Runs a command as a tenant: what it printed, or why it failed.
    pub(super) fn tenant(&self, tenant: &str, command: &[String]) -> Result<String> {
        say::line(format_args!(
            "  {} {}",
            paint(Paint::Yellow, format_args!("{tenant} $")),
            typed(command)
        ));
        let answer = text(&self.scene.run(tenant, command)?);
        say::line(indented(&pretty(answer.trim()), "      "));
        Ok(answer)
    }

    /// The same with a dispatch of its own.
    pub(super) fn dispatched(
        &self,
        tenant: &str,
        parameter: &str,
        command: &[String],
    ) -> Result<String> {
        say::line(format_args!(
            "  {} {}",
            paint(
                Paint::Yellow,
                format_args!("{tenant}, --param {parameter} $")
            ),
            typed(command)
        ));
        let answer = text(&self.scene.run_with(tenant, &[parameter], command)?);
        say::line(indented(&pretty(answer.trim()), "      "));
        Ok(answer)
    }

    /// What the origin saw.
    pub(super) fn seen(&mut self, headers: &[&str]) -> Result<Line> {
        let line = self.origin.next()?;
        said("origin saw", &line.as_seen(headers));
        Ok(line)
    }

    /// What the agent logged.
    pub(super) fn logged(&mut self) -> Result<Line> {
        let line = self.log.next()?;
        said("agent logged", &line.as_logged());
        Ok(line)
    }
}

/// What a step promises.
pub(super) fn expect(promise: &str, is_kept: bool) -> Result<()> {
    if !is_kept {
        bail!("not shown: {promise}");
    }
    say::line(format_args!("  {} {promise}", paint(Paint::Green, "✓")));
    Ok(())
}

pub(super) fn said(who: &str, what: &str) {
    let what = indented(what, "      ");
    say::line(format_args!(
        "  {} {}",
        paint(Paint::Magenta, who),
        what.trim_start()
    ));
}

/// curl for a URL, told where the name is: no resolver serves the tenants here.
pub(super) fn curl(url: &str, address: &str) -> Vec<String> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let name = rest.split('/').next().unwrap_or_default();
    let port = if scheme == "https" { 443 } else { 80 };
    let address = if address.contains(':') {
        format!("[{address}]")
    } else {
        address.to_owned()
    };
    let resolve = format!("{name}:{port}:{address}");
    [
        "curl",
        url,
        "-sS",
        "--max-time",
        "10",
        "--resolve",
        &resolve,
    ]
    .map(str::to_owned)
    .into()
}

pub(super) fn python(program: &str) -> Vec<String> {
    ["python3", "-c", program].map(str::to_owned).into()
}

/// A command as its user would type it, what is only needed here in the background.
fn typed(command: &[String]) -> String {
    let shown = format!("{} {}", command[0], command[1]);
    let rest = command[2..].join(" ");
    if rest.contains('\n') {
        return format!("{shown} '\n{}'", indented(rest.trim(), "      "));
    }
    format!("{shown} {}", paint(Paint::Dim, rest))
}

pub(super) fn text(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    text
}

/// JSON on several lines; anything else as it is.
fn pretty(answer: &str) -> String {
    match serde_json::from_str::<Value>(answer) {
        Ok(value) if value.is_object() => format!("{value:#}"),
        _ => answer.to_owned(),
    }
}

pub(super) fn indented(text: &str, indent: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("{indent}{line}")).collect();
    lines.join("\n")
}
