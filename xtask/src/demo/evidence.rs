//! What the origins saw and what the agent logged, line by line as it appears.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;

use super::scene::wait_for;
use crate::say::{Paint, paint};

/// How long a line may take to appear.
const APPEARANCE: Duration = Duration::from_secs(5);

/// A file of JSON lines that grows.
pub(super) struct Lines {
    path: PathBuf,
    read: usize,
}

impl Lines {
    pub(super) const fn new(path: PathBuf) -> Self {
        Self { path, read: 0 }
    }

    /// The next line.
    pub(super) fn next(&mut self) -> Result<Line> {
        match wait_for(APPEARANCE, || self.whole_lines().into_iter().nth(self.read)) {
            Some(line) => {
                self.read += 1;
                Ok(Line(serde_json::from_str(&line)?))
            }
            None => bail!("no new line in {}", self.path.display()),
        }
    }

    /// Whether nothing has been added since.
    pub(super) fn is_silent(&self) -> bool {
        self.whole_lines().len() == self.read
    }

    /// Steps over what has been added since.
    pub(super) fn skip(&mut self) {
        self.read = self.whole_lines().len();
    }

    /// All of it.
    pub(super) fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_default()
    }

    fn whole_lines(&self) -> Vec<String> {
        let text = self.text();
        text.split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .map(str::to_owned)
            .collect()
    }
}

/// One line.
pub(super) struct Line(Value);

impl Line {
    /// A field as text, empty where it is absent.
    pub(super) fn get(&self, key: &str) -> String {
        text(self.0.get(key))
    }

    /// A header of an origin's note, empty where it is absent.
    pub(super) fn header(&self, name: &str) -> String {
        text(self.0.get("headers").and_then(|headers| headers.get(name)))
    }

    /// Whether every field is as said.
    pub(super) fn says(&self, fields: &[(&str, &str)]) -> bool {
        fields.iter().all(|(key, value)| self.get(key) == *value)
    }

    /// A line of the access log, short enough to be read in passing.
    pub(super) fn as_logged(&self) -> String {
        let verdict = self.get("verdict");
        let verdict = match verdict.as_str() {
            "allow" => paint(Paint::Green, verdict),
            _ => paint(Paint::Red, verdict),
        };
        let server = self.get("server.address");
        let what = if self.get("kind") == "http" {
            let (method, path) = (self.get("http.request.method"), self.get("url.path"));
            format!(
                "{method} {server}{path} {}",
                self.get("http.response.status_code")
            )
        } else {
            format!("{} {server}", self.get("kind"))
        };
        let mut line = format!(
            "tenant={} by={} {} verdict={verdict}",
            self.get("tenant"),
            self.get("process.executable.name"),
            paint(Paint::Bold, what.trim_end()),
        );
        for key in ["reason", "rule", "credential", "original_dst"] {
            let value = self.get(key);
            if !value.is_empty() {
                line.push_str(&format!(
                    " {}",
                    paint(Paint::Dim, format_args!("{key}={value}"))
                ));
            }
        }
        line
    }

    /// An origin's note: the request line and the headers that it came with.
    pub(super) fn as_seen(&self, headers: &[&str]) -> String {
        let mut line = format!(
            "{} {} {}",
            self.get("address"),
            self.get("method"),
            self.get("path")
        );
        let server_name = self.get("server_name");
        if !server_name.is_empty() {
            line.push_str(&format!("  TLS for {server_name}"));
        }
        for name in headers {
            let value = self.header(name);
            line.push_str(&format!("\n{name}: {}", paint(Paint::Bold, value)));
        }
        line
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_by_its_fields() {
        let line = Line(serde_json::json!({
            "kind": "http", "http.response.status_code": 403, "headers": {"host": "a"}
        }));
        assert!(line.says(&[("kind", "http"), ("http.response.status_code", "403")]));
        assert!(!line.says(&[("verdict", "deny")]));
        assert_eq!(line.header("host"), "a");
        assert_eq!(line.header("cookie"), "");
    }
}
