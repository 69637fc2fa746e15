//! A judgement, as it reads on a terminal.

use std::fmt;

use serde_json::Value;

use crate::observe::admin::view::{Judgement, Rate};

/// Shows a judgement.
pub(super) struct Told<'a>(pub(super) &'a Judgement);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement {
            tenant,
            policy,
            mode,
            method,
            url,
            verdict,
            ..
        } = self.0;
        writeln!(
            f,
            "request      {method} {url} of {tenant}, policy {policy}"
        )?;
        writeln!(f, "mode         {mode}")?;
        writeln!(f, "verdict      {verdict}")?;
        self.reason(f)?;
        self.way(f)?;
        write!(f, "credentials  {}", listed(&self.0.credentials))?;
        self.limits(f)
    }
}

impl Told<'_> {
    /// Why, and where that is written.
    fn reason(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement {
            reason,
            failure,
            rule,
            place,
            entry,
            ..
        } = self.0;
        if let Some(reason) = reason {
            writeln!(f, "reason       {reason}")?;
        }
        if let Some(failure) = failure {
            writeln!(f, "failure      {failure}")?;
        }
        match (rule, place) {
            (None, _) => writeln!(f, "rule         none matches")?,
            (Some(rule), None) => writeln!(f, "rule         {rule}")?,
            (Some(rule), Some(place)) => writeln!(f, "rule         {rule}   {place}")?,
        }
        match entry {
            Some(entry) => writeln!(f, "entry        {entry}"),
            None => Ok(()),
        }
    }

    /// How it would go.
    fn way(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement {
            seen,
            rewritten,
            worker,
            ..
        } = self.0;
        if !seen {
            writeln!(f, "seen         host and port alone: it passes through")?;
        }
        if let Some(url) = rewritten {
            writeln!(f, "rewritten    {url}")?;
        }
        match worker {
            Some(worker) => writeln!(f, "worker       {worker}"),
            None => Ok(()),
        }
    }

    /// What else is held against it.
    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Judgement {
            withheld,
            rate,
            timeout_ms,
            limits,
            ..
        } = self.0;
        if !withheld.is_empty() {
            write!(f, "\nwithheld     {}", listed(withheld))?;
        }
        if let Some(Rate { per_second, burst }) = rate {
            write!(f, "\nrate         {per_second} a second, {burst} at once")?;
        }
        if let Some(timeout) = timeout_ms {
            write!(f, "\ntimeout      {timeout} ms")?;
        }
        let limits = serde_json::to_value(limits).map_err(|_never| fmt::Error)?;
        let limits = limits.as_object().into_iter().flatten();
        let limits: Vec<String> = limits.map(|(name, limit)| one(name, limit)).collect();
        match limits[..] {
            [] => Ok(()),
            _ => write!(f, "\nlimits       {}", limits.join(", ")),
        }
    }
}

fn one(name: &str, limit: &Value) -> String {
    format!("{name} {limit}")
}

fn listed(names: &[String]) -> String {
    match names {
        [] => "none".to_owned(),
        names => names.join(", "),
    }
}
