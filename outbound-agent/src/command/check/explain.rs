//! What would happen to one request, and why.

use std::fmt;
use std::sync::Arc;

use http::{Method, Uri};
use serde_json::{Value, json};

use super::Error;
use crate::model::credential::Credential;
use crate::model::host::Host;
use crate::model::place::Place;
use crate::model::policy::Policy;
use crate::model::target::Scheme;
use crate::model::tenant::{Tenant, TenantId};
use crate::path::policy::{self, Denial, Destination, Facts, Fit, Verdict};

/// The answer to `outbound check --tenant T METHOD URL`.
pub(super) struct Explanation {
    pub(super) is_allowed: bool,
    tenant: TenantId,
    policy: Arc<Policy>,
    method: Method,
    url: Uri,
    /// What denies it, or would if the policy did more than watch.
    denial: Option<Denial>,
    /// The rule that decided.
    rule: Option<Box<str>>,
    /// The names of the credentials that would be added.
    credentials: Vec<Arc<str>>,
}

/// Decides on a request as the agent would.
pub(super) fn explain(tenant: &Tenant, method: &Method, url: &Uri) -> Result<Explanation, Error> {
    let destination = destination(url)?;
    let is_http = matches!(destination.scheme, Scheme::Http | Scheme::Https);
    let facts = Facts {
        scheme: destination.scheme,
        host: &destination.host,
        port: destination.port,
        method: is_http.then_some(method),
        path: is_http.then_some(url.path()),
    };
    let verdict = policy::decide(&tenant.policy, &facts);
    let (is_allowed, denial, rule) = match verdict {
        Verdict::Allow(permit) => {
            let denial = permit.would_deny().cloned();
            let rule = permit.rule().map(Into::into);
            (true, denial, rule)
        }
        Verdict::Deny(denial) => (false, Some(denial), None),
    };
    let rule = rule.or_else(|| denial.as_ref().and_then(|denial| denial.rule.clone()));
    let is_seen = match destination.scheme {
        Scheme::Http => true,
        Scheme::Https => policy::terminates(tenant, &destination.host, destination.port),
        Scheme::Tcp => false,
    };
    let bound = tenant.credentials.iter();
    let goes = |bound: &&Arc<Credential>| policy::fit(&bound.binding, &facts) == Fit::Goes;
    let bound = bound.filter(|bound| is_allowed && is_seen && goes(bound));
    Ok(Explanation {
        is_allowed,
        tenant: tenant.id.clone(),
        policy: Arc::clone(&tenant.policy),
        method: method.clone(),
        url: url.clone(),
        denial,
        rule,
        credentials: bound.map(|bound| Arc::clone(&bound.name)).collect(),
    })
}

fn destination(url: &Uri) -> Result<Destination, Error> {
    let unusable = || Error::Url(url.to_string());
    let (scheme, port) = match url.scheme_str() {
        Some("http") => (Scheme::Http, Some(80)),
        Some("https") => (Scheme::Https, Some(443)),
        Some("tcp") => (Scheme::Tcp, None),
        _ => return Err(unusable()),
    };
    let host = url.host().ok_or_else(unusable)?;
    let host = host.parse::<Host>().map_err(|source| Error::Host {
        url: url.to_string(),
        source,
    })?;
    let port = url.port_u16().or(port).ok_or_else(unusable)?;
    Ok(Destination { scheme, host, port })
}

impl Explanation {
    const fn verdict(&self) -> &'static str {
        match (self.is_allowed, &self.denial) {
            (true, None) => "allow",
            (true, Some(_)) => "would_deny",
            (false, _) => "deny",
        }
    }

    fn reason(&self) -> Option<&'static str> {
        self.denial.as_ref().map(|denial| denial.reason.label())
    }

    /// Where the rule is written.
    fn place(&self) -> Option<&Place> {
        let label = self.rule.as_deref()?;
        let Policy { allow, deny, .. } = &*self.policy;
        let mut rules = allow.rules().chain(deny.rules());
        rules.find(|rule| &*rule.label == label)?.place.as_ref()
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "tenant": self.tenant.as_str(),
            "policy": &*self.policy.name,
            "method": self.method.as_str(),
            "url": self.url.to_string(),
            "verdict": self.verdict(),
            "reason": self.reason(),
            "rule": self.rule,
            "place": self.place().map(ToString::to_string),
            "credentials": self.credentials.iter().map(|name| &**name).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tenant,
            policy,
            method,
            url,
            ..
        } = self;
        writeln!(
            f,
            "request      {method} {url} of {tenant}, policy {}",
            policy.name
        )?;
        writeln!(f, "verdict      {}", self.verdict())?;
        if let Some(reason) = self.reason() {
            writeln!(f, "reason       {reason}")?;
        }
        match (&self.rule, self.place()) {
            (Some(rule), Some(place)) => writeln!(f, "rule         {rule}   {place}")?,
            (Some(rule), None) => writeln!(f, "rule         {rule}")?,
            (None, _) => writeln!(f, "rule         none matches")?,
        }
        let names = self.credentials.join(", ");
        let names = if names.is_empty() { "none" } else { &names };
        write!(f, "credentials  {names}")
    }
}
