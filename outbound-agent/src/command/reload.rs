//! `outbound reload`: the running agent reads its configuration again.

use std::io;
use std::path::Path;
use std::process::ExitCode;

use super::client;
use super::output::complain;
use crate::observe::admin::view::{ConfigProblem, Reloaded};

const PATH: &str = "/v1/reload";

/// Success where the configuration was applied.
pub async fn run(socket: &Path, json: bool, out: &mut dyn io::Write) -> anyhow::Result<ExitCode> {
    match client::act_json::<Reloaded>(socket, PATH).await {
        Ok(reloaded) => {
            if json {
                writeln!(out, "{}", serde_json::to_string_pretty(&reloaded)?)?;
            } else {
                tell(&reloaded, out)?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(client::Error::Refused {
            message, problems, ..
        }) => {
            if json {
                let refusal = serde_json::json!({ "error": message, "problems": problems });
                writeln!(out, "{refusal:#}")?;
            } else {
                let problems: String = problems.iter().map(line).collect();
                complain(format_args!("{message}; the last good one holds{problems}"));
            }
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(error.into()),
    }
}

fn tell(reloaded: &Reloaded, out: &mut dyn io::Write) -> io::Result<()> {
    let Reloaded {
        tenants,
        policies,
        ended,
        incomplete,
    } = reloaded;
    writeln!(out, "reloaded: tenants {tenants}, policies {policies}")?;
    if *ended > 0 {
        writeln!(out, "no longer allowed and ended: {ended}")?;
    }
    if let Some(incomplete) = incomplete {
        writeln!(out, "not done yet, and tried again: {incomplete}")?;
    }
    Ok(())
}

/// As `outbound check` tells of it.
fn line(problem: &ConfigProblem) -> String {
    let ConfigProblem {
        file,
        line,
        column,
        key,
        message,
    } = problem;
    let key = if key.is_empty() {
        String::new()
    } else {
        format!("{key}: ")
    };
    format!("\n{}:{line}:{column}: {key}{message}", file.display())
}
