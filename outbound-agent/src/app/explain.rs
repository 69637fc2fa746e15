//! What would happen to one request, and why: the answer of a running agent, and of a file.
//!
//! It asks the policy that the agent asks, in the agent's order. It looks no name up: what the
//! address of a name may change is part of the answer only where the address is said as well.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use serde_json::{Map, Value};

use crate::model::credential::Credential;
use crate::model::host::{Host, HostError};
use crate::model::place::Place;
use crate::model::policy::Mode;
use crate::model::reason::Reason;
use crate::model::target::Scheme;
use crate::model::tenant::{Tenant, TenantId};
use crate::model::worker::ParameterError;
use crate::observe::admin::view::{self, Judgement, Question};
use crate::path::policy::{
    self, Denial, Destination, Facts, Fit, Permit, Readings, Verdict, rewrite,
};

/// Why a question is none: the key, the value, and what is accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Wrong {
    #[error("method: {0:?} is no method; write one, as in GET")]
    Method(String),
    #[error(
        "url: {0:?} is not a URL with http, https or tcp and a host; write one, as in https://example.com/ or tcp://db.example.com:5432"
    )]
    Url(String),
    #[error("url: {url:?} has no usable host")]
    Host { url: String, source: HostError },
    #[error("headers: {0:?} is no name of a header; write letters, digits and -, as in x-env")]
    HeaderName(String),
    #[error("headers.{name}: {value:?} is no value of a header; write one line of text")]
    HeaderValue { name: HeaderName, value: String },
    #[error("address: {0:?} is no IP address; write one, as in 203.0.113.7 or 2001:db8::7")]
    Address(String),
    #[error("params: {0}")]
    Parameters(#[from] ParameterError),
    #[error("params: {0} is in no dispatch namespace; leave them out, or give it a `namespace`")]
    NoNamespace(TenantId),
}

/// A request that is to be judged.
struct Asked<'a> {
    tenant: &'a Tenant,
    executable: &'a str,
    destination: Destination,
    request: Request<()>,
    /// Whether the agent sees more of it than its host and port.
    is_seen: bool,
}

/// Decides on a request as the agent would.
pub(crate) fn explain(tenant: &Tenant, question: &Question) -> Result<Judgement, Wrong> {
    let tenant = &*with_parameters(tenant, question)?;
    let (destination, uri) = destination(&question.url)?;
    let is_seen = match destination.scheme {
        Scheme::Http => true,
        Scheme::Https => policy::terminates(tenant, &destination.host, destination.port),
        Scheme::Tcp => false,
    };
    let mut asked = Asked {
        tenant,
        executable: known_name(question.executable.as_deref().unwrap_or_default()),
        destination,
        request: request(question, uri)?,
        is_seen,
    };
    let address = question.address.as_deref().map(|address| {
        let parsed = address.parse::<IpAddr>();
        parsed.map_err(|_invalid| Wrong::Address(address.to_owned()))
    });
    let (judged, is_rewritten) = asked.judge(address.transpose()?);
    let rewritten = is_rewritten.then(|| asked.url());
    Ok(asked.told(question, &judged, rewritten))
}

impl Asked<'_> {
    fn facts<'a>(&'a self, path: &'a Readings<'a>) -> Facts<'a> {
        let request = policy::Request {
            method: self.request.method(),
            path,
            query: self.request.uri().query(),
            headers: self.request.headers(),
        };
        Facts {
            tenant: Some(self.tenant),
            executable: self.executable,
            scheme: self.destination.scheme,
            host: &self.destination.host,
            port: self.destination.port,
            request: self.is_seen.then_some(request),
            is_foreseen: false,
        }
    }

    fn decide(&self) -> Result<Permit, Denial> {
        let path = Readings::of(self.request.uri().path());
        match policy::decide(&self.tenant.policy, &self.facts(&path)) {
            Verdict::Allow(permit) => Ok(permit),
            Verdict::Deny(denial) => Err(denial),
        }
    }

    /// Decides, and where the rule rewrites host or path, again; gives whether it does.
    fn judge(&mut self, address: Option<IpAddr>) -> (Result<Permit, Denial>, bool) {
        let mut is_rewritten = false;
        let mut judged = self.decide();
        if self.is_seen
            && let Ok(first) = &judged
            && let Some(effects) = first.effects()
            && let Some(moved) = rewrite::rewrite(&mut self.request, effects, first.destination())
        {
            is_rewritten = true;
            self.destination = moved;
            judged = self
                .decide()
                .and_then(|second| Ok(second.rewritten_by(judged?)));
        }
        if let (Ok(permit), Some(address)) = (&mut judged, address)
            && let Err(denial) = permit.check_address(address)
        {
            judged = Err(denial);
        }
        (judged, is_rewritten)
    }

    fn url(&self) -> String {
        let Destination { scheme, .. } = self.destination;
        let target = self.request.uri().path_and_query();
        format!(
            "{}://{}{}",
            scheme.label(),
            self.destination.authority(),
            target.map_or("/", PathAndQuery::as_str)
        )
    }

    fn told(
        &self,
        question: &Question,
        judged: &Result<Permit, Denial>,
        rewritten: Option<String>,
    ) -> Judgement {
        let tenant = self.tenant;
        let permit = judged.as_ref().ok();
        let denial = match judged {
            Ok(permit) => permit.would_deny(),
            Err(denial) => Some(denial),
        };
        let outbound = tenant.namespace.as_ref();
        let outbound = outbound.and_then(|namespace| namespace.outbound.as_ref());
        let is_stuck = permit.is_some() && outbound.is_some() && tenant.parameters.is_none();
        let permit = permit.filter(|_| !is_stuck);
        let (reason, verdict) = match (is_stuck, permit, denial) {
            (true, _, _) => (Some(Reason::NotDispatched), "deny"),
            (false, Some(_), None) => (None, "allow"),
            (false, Some(_), Some(denial)) => (Some(denial.reason), "would_deny"),
            (false, None, denial) => (denial.map(|denial| denial.reason), "deny"),
        };
        let (rule, place, entry) = rule(judged, denial);
        let effects = permit.and_then(Permit::effects);
        Judgement {
            tenant: tenant.id.to_string(),
            cgroup_id: None,
            dispatch: tenant.dispatch.as_deref().map(str::to_owned),
            policy: tenant.policy.name.to_string(),
            mode: mode(tenant.policy.mode).to_owned(),
            method: question.method.clone(),
            url: question.url.clone(),
            verdict: verdict.to_owned(),
            reason: reason.map(|reason| reason.label().to_owned()),
            failure: denial
                .and_then(|denial| denial.failure)
                .map(|failure| failure.label().to_owned()),
            rule,
            place: place.map(ToString::to_string),
            entry: entry.map(ToString::to_string),
            seen: self.is_seen,
            rewritten,
            worker: outbound
                .and_then(|outbound| match permit {
                    Some(permit) => permit.through(outbound),
                    None => Some(Cow::Borrowed(outbound)),
                })
                .map(|outbound| outbound.service.name.to_string()),
            credentials: self.credentials(permit, Fit::Goes),
            withheld: self.credentials(permit, Fit::Withheld),
            rate: effects.and_then(|effects| effects.rate).map(Into::into),
            timeout_ms: effects
                .and_then(|effects| effects.timeout)
                .map(view::milliseconds),
            limits: tenant.limits.into(),
        }
    }

    /// The names of the credentials with which it is so.
    fn credentials(&self, permit: Option<&Permit>, wanted: Fit) -> Vec<String> {
        let Some(permit) = permit.filter(|_| self.is_seen) else {
            return Vec::new();
        };
        let path = Readings::of(self.request.uri().path());
        let facts = self.facts(&path);
        let bound = self.tenant.credentials.iter();
        let fits = |one: &&Arc<Credential>| match policy::fit(&one.binding, &facts) {
            Fit::Goes if !permit.takes(&one.name) => wanted == Fit::Withheld,
            fit => fit == wanted,
        };
        bound.filter(fits).map(|one| one.name.to_string()).collect()
    }
}

/// The rule that decided, and where it is written.
fn rule<'a>(
    judged: &'a Result<Permit, Denial>,
    denial: Option<&'a Denial>,
) -> (Option<String>, Option<&'a Place>, Option<&'a Place>) {
    if let Ok(permit) = judged
        && let Some(rule) = permit.rule()
    {
        return (Some(rule.to_owned()), permit.place(), permit.entry());
    }
    denial.map_or((None, None, None), |denial| {
        let rule = denial.rule.as_deref().map(str::to_owned);
        (rule, denial.place.as_ref(), denial.entry.as_ref())
    })
}

/// A mode's name in the configuration.
pub(super) const fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "enforce",
        Mode::Audit => "audit",
        Mode::Off => "off",
    }
}

/// The tenant, with the parameters that are asked about.
fn with_parameters<'a>(tenant: &'a Tenant, question: &Question) -> Result<Cow<'a, Tenant>, Wrong> {
    let Some(params) = &question.params else {
        return Ok(Cow::Borrowed(tenant));
    };
    let namespace = tenant.namespace.as_ref();
    let namespace = namespace.ok_or_else(|| Wrong::NoNamespace(tenant.id.clone()))?;
    let parameters = namespace.check(Map::<String, Value>::clone(params))?;
    Ok(Cow::Owned(Tenant {
        parameters: Some(Arc::new(parameters)),
        ..tenant.clone()
    }))
}

fn destination(url: &str) -> Result<(Destination, Uri), Wrong> {
    let unusable = || Wrong::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_invalid| unusable())?;
    let (scheme, port) = match uri.scheme_str() {
        Some("http") => (Scheme::Http, Some(80)),
        Some("https") => (Scheme::Https, Some(443)),
        Some("tcp") => (Scheme::Tcp, None),
        _ => return Err(unusable()),
    };
    let host = uri.host().ok_or_else(unusable)?;
    let host = host.parse::<Host>().map_err(|source| Wrong::Host {
        url: url.to_owned(),
        source,
    })?;
    let port = uri.port_u16().or(port).ok_or_else(unusable)?;
    Ok((Destination { scheme, host, port }, uri))
}

fn request(question: &Question, uri: Uri) -> Result<Request<()>, Wrong> {
    let method = question.method.parse::<Method>();
    let method = method.map_err(|_invalid| Wrong::Method(question.method.clone()))?;
    let mut headers = HeaderMap::new();
    for (name, values) in &question.headers {
        let parsed = name.parse::<HeaderName>();
        let name = parsed.map_err(|_invalid| Wrong::HeaderName(name.clone()))?;
        for value in values.values() {
            let parsed = value.parse::<HeaderValue>();
            let parsed = parsed.map_err(|_invalid| Wrong::HeaderValue {
                name: name.clone(),
                value: value.clone(),
            })?;
            headers.append(&name, parsed);
        }
    }
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = uri;
    *request.headers_mut() = headers;
    Ok(request)
}

/// As much of a process's name as the kernel has.
fn known_name(name: &str) -> &str {
    &name[..name.floor_char_boundary(NAME_OCTETS)]
}

/// `TASK_COMM_LEN`, without the octet that ends it.
const NAME_OCTETS: usize = 15;

#[cfg(test)]
mod tests;
