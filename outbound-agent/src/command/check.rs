//! `outbound check`: is the configuration right, and what would happen to a request?
//!
//! It reads the configuration as the agent does and asks the policy that the agent asks. It
//! looks no name up: what the address of a name may change is not part of the answer.

mod explain;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::process::ExitCode;

use http::{Method, Uri};
use serde_json::{Value, json};

use self::explain::Explanation;
use super::output::{chain, complain, say};
use crate::cli;
use crate::config::problem::Problems;
use crate::config::{self, Config};
use crate::model::host::HostError;

/// Runs the command: success where the configuration is right and the request, if there is
/// one, would pass.
pub fn run(args: &cli::Check, file: &Path) -> ExitCode {
    if args.schema {
        return say(config::schema::text()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
    }
    let answer = match answer(args, file) {
        Ok(answer) => answer,
        Err(error) => {
            complain(chain(&error));
            return ExitCode::FAILURE;
        }
    };
    let told = match (&answer, args.json) {
        (answer, true) => say(answer.json()),
        (Answer::Wrong(problems), false) => {
            complain(format_args!("the configuration is wrong\n{problems}"));
            Ok(())
        }
        (answer, false) => say(answer.text()),
    };
    if told.is_ok() && answer.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

#[expect(clippy::large_enum_variant, reason = "there is one, once")]
enum Answer {
    /// The configuration is wrong.
    Wrong(Problems),
    /// It is right; how much of it there is.
    Right { tenants: usize, policies: usize },
    /// What would happen to a request.
    Judged(Explanation),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(config::Error),
    #[error("no tenant is called {0:?}")]
    Tenant(String),
    #[error(
        "{0:?} is not a URL with http, https or tcp and a host; write one, as in https://example.com/"
    )]
    Url(String),
    #[error("{url:?} has no usable host")]
    Host { url: String, source: HostError },
}

fn answer(args: &cli::Check, file: &Path) -> Result<Answer, Error> {
    let config = match config::load(file) {
        Ok(config) => config,
        Err(config::Error::Invalid(problems)) => return Ok(Answer::Wrong(problems)),
        Err(error @ config::Error::Read { .. }) => return Err(Error::Config(error)),
    };
    match (&args.tenant, &args.method, &args.url) {
        (Some(tenant), Some(method), Some(url)) => {
            judge(&config, tenant, method, url).map(Answer::Judged)
        }
        _ => Ok(Answer::Right {
            tenants: config.tenants.len(),
            policies: config.policies.len(),
        }),
    }
}

fn judge(config: &Config, tenant: &str, method: &Method, url: &Uri) -> Result<Explanation, Error> {
    let mut tenants = config.tenants.iter().map(|spec| &spec.tenant);
    let tenant = tenants
        .find(|known| known.id.as_str() == tenant)
        .ok_or_else(|| Error::Tenant(tenant.to_owned()))?;
    explain::explain(tenant, method, url)
}

impl Answer {
    const fn is_good(&self) -> bool {
        match self {
            Self::Wrong(_) => false,
            Self::Right { .. } => true,
            Self::Judged(explanation) => explanation.is_allowed,
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Wrong(problems) => problems.to_string(),
            Self::Right { tenants, policies } => {
                format!(
                    "OK: {}, {}",
                    count(*tenants, "tenant", "tenants"),
                    count(*policies, "policy", "policies")
                )
            }
            Self::Judged(explanation) => explanation.to_string(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Self::Wrong(problems) => {
                let problem = |problem: &config::problem::Problem| {
                    json!({
                        "file": problem.place.file.display().to_string(),
                        "line": problem.place.line,
                        "column": problem.place.column,
                        "key": problem.key,
                        "message": problem.message,
                    })
                };
                let problems: Vec<_> = problems.iter().map(problem).collect();
                json!({ "ok": false, "problems": problems })
            }
            Self::Right { tenants, policies } => {
                json!({ "ok": true, "tenants": tenants, "policies": policies })
            }
            Self::Judged(explanation) => explanation.json(),
        }
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
