//! The access log, read back: what tenants did, as far as a line says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Deserialize;

use crate::model::host::Host;
use crate::model::target::Scheme;

/// One request or connection that policy was asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Recorded {
    pub(super) tenant: String,
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) port: u16,
    /// Method and path, of a request.
    pub(super) request: Option<(String, String)>,
    /// As far as a rule has them logged.
    pub(super) query: Option<String>,
    headers: BTreeMap<String, Vec<String>>,
    /// The name of the process; empty where it has none.
    pub(super) executable: String,
    pub(super) is_allowed: bool,
    pub(super) reason: Option<String>,
    pub(super) would_deny: Option<String>,
}

/// A line, as far as it is needed.
#[derive(Deserialize)]
struct Line {
    kind: String,
    tenant: Option<String>,
    verdict: Option<String>,
    reason: Option<String>,
    would_deny: Option<String>,
    #[serde(rename = "server.address")]
    host: Option<String>,
    #[serde(rename = "server.port")]
    port: Option<u16>,
    #[serde(rename = "url.scheme")]
    scheme: Option<String>,
    #[serde(rename = "url.path")]
    path: Option<String>,
    #[serde(rename = "http.request.method")]
    method: Option<String>,
    #[serde(rename = "url.query")]
    query: Option<String>,
    #[serde(rename = "http.request.headers", default)]
    headers: BTreeMap<String, Vec<String>>,
    #[serde(rename = "process.executable.name", default)]
    executable: String,
}

/// Reads every line of a log that is about a tenant's request or connection and its verdict;
/// others, and what is no line of the log, are passed over.
pub(super) fn read(log: &Path, mut each: impl FnMut(Recorded)) -> io::Result<()> {
    for line in BufReader::new(File::open(log)?).split(b'\n') {
        let parsed = serde_json::from_slice::<Line>(&line?).ok();
        if let Some(recorded) = parsed.and_then(Line::recorded) {
            each(recorded);
        }
    }
    Ok(())
}

impl Line {
    fn recorded(self) -> Option<Recorded> {
        let scheme = match (self.kind.as_str(), self.scheme.as_deref()) {
            (_, Some("https")) | ("tls", _) => Scheme::Https,
            (_, Some("http")) => Scheme::Http,
            ("tcp", _) => Scheme::Tcp,
            _ => return None,
        };
        Some(Recorded {
            tenant: self.tenant?,
            scheme: scheme.label(),
            host: self.host?,
            port: self.port?,
            request: self.method.zip(self.path),
            query: self.query,
            headers: self.headers,
            executable: self.executable,
            is_allowed: self.verdict? == "allow",
            reason: self.reason,
            would_deny: self.would_deny,
        })
    }
}

impl Recorded {
    pub(super) fn scheme(&self) -> Scheme {
        let mut all = Scheme::ALL.into_iter();
        all.find(|scheme| scheme.label() == self.scheme)
            .unwrap_or(Scheme::Tcp)
    }

    pub(super) fn host(&self) -> Option<Host> {
        self.host.parse().ok()
    }

    pub(super) fn method(&self) -> Option<Method> {
        self.request.as_ref()?.0.parse().ok()
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let each = self.headers.iter().flat_map(|(name, values)| {
            let name = HeaderName::from_bytes(name.as_bytes()).ok();
            let values = values
                .iter()
                .filter_map(|value| HeaderValue::from_str(value).ok());
            values.filter_map(move |value| Some((name.clone()?, value)))
        });
        let mut headers = HeaderMap::new();
        each.for_each(|(name, value)| _ = headers.append(name, value));
        headers
    }

    /// As a person would write it.
    pub(super) fn shown(&self) -> String {
        let host = match self.host() {
            Some(Host::Address(std::net::IpAddr::V6(address))) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        let url = format!("{}://{host}:{}", self.scheme, self.port);
        match &self.request {
            Some((method, path)) => format!("{method} {url}{path}"),
            None => url,
        }
    }
}
