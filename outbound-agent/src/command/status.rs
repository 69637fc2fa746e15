//! `outbound status`: what the agent does, or what is left of it.

use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::client;
use crate::observe::admin::view::{Attachment, ConfigProblem, Configuration, SharedHook, Status};

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The agent could not be asked.
    #[error(transparent)]
    Client(client::Error),
    /// The answer could not be printed.
    #[error("cannot print the status")]
    Print(#[from] io::Error),
}

/// Whether an agent answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It did.
    Running,
    /// There is none; what is attached was printed.
    NotRunning,
}

impl Answer {
    /// What the command exits with.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::NotRunning => 1,
        }
    }
}

/// Prints the status of the agent on `socket`. Without an agent, prints what is attached
/// nevertheless: programs stay when the agent goes, and tenants then have no egress.
pub async fn run(
    socket: &Path,
    json: bool,
    attached: impl FnOnce() -> Vec<Attachment>,
    out: &mut dyn io::Write,
) -> Result<Answer, Error> {
    match client::get_json::<Status>(socket, "/v1/status").await {
        Ok(status) => {
            if json {
                print_json(
                    &Report::Running {
                        running: true,
                        status: &status,
                    },
                    out,
                )?;
            } else {
                out.write_all(table(&status).as_bytes())?;
            }
            Ok(Answer::Running)
        }
        Err(error @ client::Error::NotRunning { .. }) => {
            let mut attachments = attached();
            attachments.sort();
            let error = error.to_string();
            if json {
                print_json(
                    &Report::NotRunning {
                        running: false,
                        error,
                        attachments,
                    },
                    out,
                )?;
            } else {
                writeln!(out, "{error}")?;
                out.write_all(leftovers(&attachments).as_bytes())?;
            }
            Ok(Answer::NotRunning)
        }
        Err(error) => Err(Error::Client(error)),
    }
}

/// What `--json` prints.
#[derive(Serialize)]
#[serde(untagged)]
enum Report<'a> {
    Running {
        running: bool,
        #[serde(flatten)]
        status: &'a Status,
    },
    NotRunning {
        running: bool,
        error: String,
        attachments: Vec<Attachment>,
    },
}

fn print_json(report: &Report<'_>, out: &mut dyn io::Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

fn table(status: &Status) -> String {
    let mut rows = Rows::default();
    let commit = status
        .commit
        .as_ref()
        .map(|commit| format!(" ({commit})"))
        .unwrap_or_default();
    rows.add(
        "agent",
        format!(
            "{}{commit}, pid {}, since {}",
            status.version, status.pid, status.started
        ),
    );
    rows.add("state", state(status));
    rows.all("config", configuration(&status.configuration));
    rows.add(
        "tenants",
        format!(
            "{} in {}",
            status.tenants,
            count(status.assigned_cgroups, "cgroup")
        ),
    );
    rows.add("dispatches", status.dispatches.to_string());
    rows.add(
        "namespaces",
        match status.namespaces {
            0 => "the agent's own".to_owned(),
            others => format!("the agent's own and {}", count(others, "other")),
        },
    );
    rows.all(
        "listeners",
        status
            .listeners
            .iter()
            .map(|listener| format!("{}  {}", listener.address, listener.name)),
    );
    rows.add("pinned at", status.pin_dir.display().to_string());
    rows.all("attached", attachments(&status.attachments));
    rows.all("others", status.shared_hooks.iter().map(shared));
    rows.all(
        "kernel",
        status
            .features
            .iter()
            .map(|feature| match (&feature.remedy, feature.present) {
                (_, true) => format!("{}: yes", feature.name),
                (Some(remedy), false) => format!("{}: no; {remedy}", feature.name),
                (None, false) => format!("{}: no", feature.name),
            }),
    );
    rows.text()
}

/// The order in which the programs of a hook run, others' in brackets.
fn shared(hook: &SharedHook) -> String {
    let programs = hook.programs.iter().map(|program| match program.ours {
        true => program.name.clone(),
        false => format!("[{}]", program.name),
    });
    let order = programs.collect::<Vec<_>>().join(", ");
    format!("{}  {}: {order}", hook.cgroup.display(), hook.hook)
}

/// Since when it holds, and whether the last one that was to replace it could not.
fn configuration(held: &Configuration) -> Vec<String> {
    let mut texts = vec![format!("{}, since {}", held.file.display(), held.since)];
    if let Some(reload) = held.reload.as_ref().filter(|reload| !reload.applied) {
        let error = reload.error.as_deref().unwrap_or_default();
        texts.push(format!(
            "NOT reloaded at {} ({}): {error}",
            reload.at, reload.by
        ));
        let place = |problem: &ConfigProblem| {
            let (file, line, key) = (problem.file.display(), problem.line, &problem.key);
            format!("{file}:{line}: {key}: {}", problem.message)
        };
        texts.extend(reload.problems.iter().map(place));
    }
    texts
}

fn state(status: &Status) -> String {
    if status.ready {
        return "ready".to_owned();
    }
    format!("not ready, waiting for {}", status.waiting_for.join(", "))
}

fn leftovers(left: &[Attachment]) -> String {
    if left.is_empty() {
        return "nothing is attached: no process is restricted\n".to_owned();
    }
    let mut rows = Rows::default();
    rows.all("attached", attachments(left));
    format!(
        "{}tenants have no egress until an agent runs again, or `outbound detach` takes this off\n",
        rows.text()
    )
}

/// One text per cgroup, with its programs.
fn attachments(attachments: &[Attachment]) -> Vec<String> {
    let mut by_cgroup: Vec<(&PathBuf, Vec<&str>)> = Vec::new();
    for Attachment { cgroup, program } in attachments {
        match by_cgroup.iter_mut().find(|(known, _)| *known == cgroup) {
            Some((_, programs)) => programs.push(program),
            None => by_cgroup.push((cgroup, vec![program])),
        }
    }
    by_cgroup
        .into_iter()
        .map(|(cgroup, programs)| format!("{}: {}", cgroup.display(), programs.join(" ")))
        .collect()
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Labelled lines whose texts begin in one column.
#[derive(Default)]
struct Rows(Vec<(&'static str, String)>);

impl Rows {
    fn add(&mut self, label: &'static str, text: String) {
        self.0.push((label, text));
    }

    /// The label stands before the first; `none` where there is none.
    fn all(&mut self, label: &'static str, texts: impl IntoIterator<Item = String>) {
        let before = self.0.len();
        for text in texts {
            let label = if self.0.len() == before { label } else { "" };
            self.add(label, text);
        }
        if self.0.len() == before {
            self.add(label, "none".to_owned());
        }
    }

    fn text(&self) -> String {
        let width = self
            .0
            .iter()
            .map(|(label, _)| label.len())
            .max()
            .unwrap_or_default();
        self.0
            .iter()
            .map(|(label, text)| format!("{label:width$}  {text}\n"))
            .collect()
    }
}

#[cfg(test)]
mod tests;
