//! `outbound check`: is the configuration right, and what would happen to a request?
//!
//! It reads the configuration as the agent does and asks the policy that the agent asks; or has
//! the running agent answer, by the configuration that holds.

#[cfg(test)]
mod tests;
mod told;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use http::Method;
use serde_json::{Value, json};

use self::told::Told;
use super::output::{chain, complain, say};
use super::{client, parameters};
use crate::app::explain::{Wrong, explain};
use crate::cli;
use crate::config::problem::Problems;
use crate::config::{self, Config};
use crate::observe::admin::view::{Judgement, OneOrMore, Question};

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
    Judged(Judgement),
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Config(config::Error),
    #[error("no tenant is called {0:?}")]
    Tenant(String),
    #[error("--header: {0:?} is no header; write NAME: VALUE, as in 'x-env: prod'")]
    Header(String),
    #[error(transparent)]
    Wrong(#[from] Wrong),
    #[error("{0:#}")]
    Parameters(anyhow::Error),
    #[error("--param and --params-json are for a request: name a tenant, a method and a URL")]
    NoRequest,
    #[error("{0:#}")]
    Agent(anyhow::Error),
}

fn answer(args: &cli::Check, file: &Path) -> Result<Answer, Error> {
    let question = question(args)?;
    if let (Some(question), true) = (&question, args.live) {
        let asked = ask(question, args, file);
        return asked.map(Answer::Judged).map_err(Error::Agent);
    }
    let config = match config::load(file) {
        Ok(config) => config,
        Err(config::Error::Invalid(problems)) => return Ok(Answer::Wrong(problems)),
        Err(error @ config::Error::Read { .. }) => return Err(Error::Config(error)),
    };
    match question {
        Some(question) => judge(&config, &question).map(Answer::Judged),
        None => Ok(Answer::Right {
            tenants: config.tenants.len(),
            policies: config.policies.len(),
        }),
    }
}

/// What is asked, if it is about a request.
fn question(args: &cli::Check) -> Result<Option<Question>, Error> {
    let params = parameters::read(&args.parameters).map_err(Error::Parameters)?;
    let (Some(method), Some(url)) = (&args.method, &args.url) else {
        return match params {
            Some(_) => Err(Error::NoRequest),
            None => Ok(None),
        };
    };
    let mut headers: BTreeMap<String, OneOrMore> = BTreeMap::new();
    for header in &args.header {
        let parts = header.split_once(':');
        let (name, value) = parts.ok_or_else(|| Error::Header(header.clone()))?;
        let before = headers.remove(name);
        let before = before.as_ref().map_or(&[][..], OneOrMore::values);
        let values = [before, &[value.trim().to_owned()]].concat();
        headers.insert(name.to_owned(), OneOrMore::More(values));
    }
    let cli::Whose {
        tenant,
        cgroup,
        pid,
        unit,
    } = &args.whose;
    Ok(Some(Question {
        tenant: tenant.clone(),
        cgroup: cgroup.clone(),
        pid: *pid,
        unit: unit.clone(),
        method: method.to_string(),
        url: url.to_string(),
        headers,
        params,
        executable: args.executable.clone(),
        address: args.address.map(|address| address.to_string()),
    }))
}

/// Has the running agent answer.
fn ask(question: &Question, args: &cli::Check, file: &Path) -> anyhow::Result<Judgement> {
    let socket = super::socket(args.socket.clone(), file)?;
    super::wait(async {
        let asked = client::send_json(&socket, Method::POST, "/v1/policy:check", question);
        Ok(asked.await?)
    })
}

fn judge(config: &Config, question: &Question) -> Result<Judgement, Error> {
    let name = question.tenant.as_deref().unwrap_or_default();
    let mut tenants = config.tenants.iter().map(|spec| &spec.tenant);
    let tenant = tenants
        .find(|known| known.id.as_str() == name)
        .ok_or_else(|| Error::Tenant(name.to_owned()))?;
    Ok(explain(tenant, question)?)
}

impl Answer {
    fn is_good(&self) -> bool {
        match self {
            Self::Wrong(_) => false,
            Self::Right { .. } => true,
            Self::Judged(judgement) => judgement.is_allowed(),
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
            Self::Judged(judgement) => Told(judgement).to_string(),
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
            Self::Judged(judgement) => json!(judgement),
        }
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
