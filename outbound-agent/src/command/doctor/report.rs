//! What was found: lines as they come, or one JSON document at the end.

use std::fmt;
use std::io::{self, IsTerminal as _};

use serde::Serialize;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// As it should be.
    Passed,
    /// Something that should hold does not.
    Failed,
    /// It could not be shown: the attempt fails to get out even where nothing stands in its way.
    NotProven,
    /// Known to be open here, and not the fence's to close: the remedy says whose.
    Open,
    /// There is no such thing on this host.
    Skipped,
}

impl State {
    const ALL: [Self; 5] = [
        Self::Passed,
        Self::Failed,
        Self::NotProven,
        Self::Open,
        Self::Skipped,
    ];

    const fn mark(self) -> &'static str {
        match self {
            Self::Passed => "✓",
            Self::Failed | Self::NotProven => "✗",
            Self::Open => "!",
            Self::Skipped => "–",
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotProven => "not proven",
            Self::Open => "open",
            Self::Skipped => "skipped",
        }
    }

    /// Number of an ANSI colour.
    const fn colour(self) -> u8 {
        match self {
            Self::Passed => 32,
            Self::Failed | Self::NotProven => 31,
            Self::Open => 33,
            Self::Skipped => 2,
        }
    }

    const fn is_bad(self) -> bool {
        match self {
            Self::Failed | Self::NotProven => true,
            Self::Passed | Self::Open | Self::Skipped => false,
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    /// For programs.
    pub(super) name: &'static str,
    /// For people.
    pub(super) title: String,
    pub(super) state: State,
    /// What was seen.
    pub(super) text: String,
    /// What closes this way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) closed_by: Option<&'static str>,
    /// What an operator can do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

impl Check {
    pub(super) fn new(name: &'static str, title: impl Into<String>, state: State) -> Self {
        Self {
            name,
            title: title.into(),
            state,
            text: String::new(),
            closed_by: None,
            remedy: None,
        }
    }

    pub(super) fn says(mut self, text: impl fmt::Display) -> Self {
        self.text = text.to_string();
        self
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// The table as it grows.
pub(super) struct Report<'a> {
    out: &'a mut dyn io::Write,
    json: bool,
    coloured: bool,
    sections: Vec<Section>,
}

#[derive(Serialize)]
struct Section {
    #[serde(rename = "section")]
    name: &'static str,
    checks: Vec<Check>,
}

#[derive(Serialize)]
struct Document<'a> {
    version: &'static str,
    passed: bool,
    sections: &'a [Section],
}

/// Room for the longest title.
const TITLES: usize = 38;

impl<'a> Report<'a> {
    pub(super) fn new(out: &'a mut dyn io::Write, json: bool) -> Self {
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            out,
            json,
            coloured: wanted && io::stdout().is_terminal(),
            sections: Vec::new(),
        }
    }

    /// Begins a section; its name ends at the first colon, the rest explains it.
    pub(super) fn section(&mut self, title: &'static str) -> io::Result<()> {
        let name = title.split_once(':').map_or(title, |(name, _rest)| name);
        let is_first = self.sections.is_empty();
        self.sections.push(Section {
            name,
            checks: Vec::new(),
        });
        if self.json {
            return Ok(());
        }
        if !is_first {
            writeln!(self.out)?;
        }
        writeln!(self.out, "{title}")
    }

    /// Adds a line, and shows it at once: the whole takes some seconds.
    pub(super) fn add(&mut self, check: Check) -> io::Result<()> {
        if !self.json {
            let mark = self.painted(check.state.colour(), check.state.mark());
            let title = &check.title;
            let text = match check.state {
                State::NotProven => format!("not proven: {}", check.text),
                State::Open if !check.text.is_empty() => format!("open: {}", check.text),
                State::Passed | State::Failed | State::Open | State::Skipped => check.text.clone(),
            };
            writeln!(self.out, "  {mark} {title:TITLES$}  {text}")?;
            if let Some(remedy) = &check.remedy {
                let remedy = self.painted(2, &format!("→ {remedy}"));
                writeln!(self.out, "    {:TITLES$}  {remedy}", "")?;
            }
            self.out.flush()?;
        }
        if let Some(section) = self.sections.last_mut() {
            section.checks.push(check);
        }
        Ok(())
    }

    /// Ends the table; gives the exit code.
    pub(super) fn finish(self) -> io::Result<u8> {
        let states = || self.sections.iter().flat_map(|section| &section.checks);
        let passed = !states().any(|check| check.state.is_bad());
        if self.json {
            let document = Document {
                version: env!("CARGO_PKG_VERSION"),
                passed,
                sections: &self.sections,
            };
            serde_json::to_writer_pretty(&mut *self.out, &document)?;
            writeln!(self.out)?;
        } else {
            let counts: Vec<String> = State::ALL
                .into_iter()
                .map(|state| (state, states().filter(|check| check.state == state).count()))
                .filter(|&(state, count)| count > 0 || state == State::Failed)
                .map(|(state, count)| format!("{count} {}", state.words()))
                .collect();
            writeln!(self.out, "\n{}", counts.join(", "))?;
        }
        Ok(u8::from(!passed))
    }

    fn painted(&self, colour: u8, text: &str) -> String {
        if self.coloured {
            format!("\x1b[{colour}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
