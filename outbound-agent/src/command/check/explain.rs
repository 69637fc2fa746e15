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
use crate::path::policy::{
    self, Denial, Destination, Facts, Fit, Permit, Readings, Request, Verdict,
};

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
    rule: Option<Rule>,
    /// The names of the credentials that would be added.
    credentials: Vec<Arc<str>>,
}

/// A rule and where it is written.
struct Rule {
    label: Box<str>,
    place: Option<Place>,
    /// The entry of its set, if it is for one.
    entry: Option<Place>,
}

/// Decides on a request as the agent would.
pub(super) fn explain(tenant: &Tenant, method: &Method, url: &Uri) -> Result<Explanation, Error> {
    let destination = destination(url)?;
    let is_http = matches!(destination.scheme, Scheme::Http | Scheme::Https);
    let (path, headers) = (Readings::of(path(url)), http::HeaderMap::new());
    let facts = Facts {
        tenant: Some(tenant),
        executable: "",
        scheme: destination.scheme,
        host: &destination.host,
        port: destination.port,
        request: is_http.then_some(Request {
            method,
            path: &path,
            query: url.query(),
            headers: &headers,
        }),
        is_foreseen: false,
    };
    let verdict = policy::decide(&tenant.policy, &facts);
    let (is_allowed, denial, rule) = match &verdict {
        Verdict::Allow(permit) => (true, permit.would_deny(), Rule::of_permit(permit)),
        Verdict::Deny(denial) => (false, Some(denial), None),
    };
    let rule = rule.or_else(|| Rule::of_denial(denial?));
    let denial = denial.cloned();
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

impl Rule {
    fn of_permit(permit: &Permit) -> Option<Self> {
        Some(Self {
            label: permit.rule()?.into(),
            place: permit.place().cloned(),
            entry: permit.entry().cloned(),
        })
    }

    fn of_denial(denial: &Denial) -> Option<Self> {
        Some(Self {
            label: denial.rule.clone()?,
            place: denial.place.clone(),
            entry: denial.entry.clone(),
        })
    }
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

fn path(url: &Uri) -> &str {
    match url.path() {
        "" => "/",
        path => path,
    }
}

fn shown(place: Option<&Place>) -> Option<String> {
    place.map(ToString::to_string)
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

    /// Why the rule cannot be evaluated, where it cannot.
    fn failure(&self) -> Option<&'static str> {
        let failure = self.denial.as_ref()?.failure?;
        Some(failure.label())
    }

    pub(super) fn json(&self) -> Value {
        let mut value = json!({
            "tenant": self.tenant.as_str(),
            "policy": &*self.policy.name,
            "method": self.method.as_str(),
            "url": self.url.to_string(),
            "verdict": self.verdict(),
            "reason": self.reason(),
            "rule": self.rule.as_ref().map(|rule| &rule.label),
            "place": shown(self.rule.as_ref().and_then(|rule| rule.place.as_ref())),
            "entry": shown(self.rule.as_ref().and_then(|rule| rule.entry.as_ref())),
            "credentials": self.credentials.iter().map(|name| &**name).collect::<Vec<_>>(),
        });
        if let Some(failure) = self.failure() {
            value["failure"] = failure.into();
        }
        value
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
        if let Some(failure) = self.failure() {
            writeln!(f, "failure      {failure}")?;
        }
        match &self.rule {
            None => writeln!(f, "rule         none matches")?,
            Some(Rule { label, place, .. }) => {
                let place = shown(place.as_ref());
                let place = place.map_or_else(String::new, |place| format!("   {place}"));
                writeln!(f, "rule         {label}{place}")?;
            }
        }
        let entry = self.rule.as_ref().and_then(|rule| rule.entry.as_ref());
        if let Some(entry) = shown(entry) {
            writeln!(f, "entry        {entry}")?;
        }
        let names = self.credentials.join(", ");
        let names = if names.is_empty() { "none" } else { &names };
        write!(f, "credentials  {names}")
    }
}
