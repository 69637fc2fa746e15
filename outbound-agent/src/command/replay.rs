//! `outbound replay`: what another configuration would have decided about what was logged.
//!
//! A line has the headers and the query that a rule has logged: one that asks for others is
//! judged as if there were none. Names are not looked up.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::record::{self, Recorded};
use crate::config::Config;
use crate::model::tenant::Tenant;
use crate::path::policy::{self, Facts, Readings, Request, Verdict};

/// What differs, per tenant.
#[derive(Debug, Default)]
pub(super) struct Differences {
    tenants: BTreeMap<String, Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    /// Each with how often, and why.
    denied: BTreeMap<(String, String), usize>,
    allowed: BTreeMap<(String, String), usize>,
    is_gone: bool,
}

/// Decides on every line of `log` again.
pub(super) fn replay(log: &Path, config: &Config) -> io::Result<Differences> {
    let tenants = config.tenants.iter().map(|spec| &spec.tenant);
    let tenants: BTreeMap<&str, _> = tenants.map(|tenant| (tenant.id.as_str(), tenant)).collect();
    let mut differences = Differences::default();
    record::read(log, |recorded| {
        let counts = differences
            .tenants
            .entry(recorded.tenant.clone())
            .or_default();
        counts.all += 1;
        let Some(tenant) = tenants.get(recorded.tenant.as_str()) else {
            counts.is_gone = true;
            return;
        };
        let Some((is_allowed, why)) = decide(tenant, &recorded) else {
            return;
        };
        let into = match (recorded.is_allowed, is_allowed) {
            (true, false) => &mut counts.denied,
            (false, true) => &mut counts.allowed,
            (true, true) | (false, false) => return,
        };
        *into.entry((recorded.shown(), why)).or_default() += 1;
    })?;
    Ok(differences)
}

/// Whether it would pass, and by what. What was refused for the address that its name turned
/// out to have cannot be decided again.
fn decide(tenant: &Tenant, recorded: &Recorded) -> Option<(bool, String)> {
    let by_address = ["private_address", "metadata_address"];
    let reason = recorded.reason.as_deref().unwrap_or_default();
    let host = recorded.host()?;
    if by_address.contains(&reason) && recorded.host.parse::<std::net::IpAddr>().is_err() {
        return None;
    }
    let method = recorded.method();
    let path = recorded.request.as_ref().map_or("/", |(_, path)| path);
    let (path, headers) = (Readings::of(path), recorded.headers());
    let facts = Facts {
        tenant: Some(tenant),
        executable: &recorded.executable,
        scheme: recorded.scheme(),
        host: &host,
        port: recorded.port,
        request: method.as_ref().map(|method| Request {
            method,
            path: &path,
            query: recorded.query.as_deref(),
            headers: &headers,
        }),
        is_foreseen: false,
    };
    Some(match policy::decide(&tenant.policy, &facts) {
        Verdict::Allow(permit) => (true, permit.rule().unwrap_or("the default").to_owned()),
        Verdict::Deny(denial) => {
            let rule = denial.rule.as_deref().unwrap_or("no rule");
            (false, format!("{}, {rule}", denial.reason.label()))
        }
    })
}

impl Differences {
    /// Whether nothing would be decided differently.
    pub(super) fn are_none(&self) -> bool {
        self.tenants
            .values()
            .all(|counts| counts.denied.is_empty() && counts.allowed.is_empty() && !counts.is_gone)
    }

    /// For a person.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for (tenant, counts) in &self.tenants {
            let total = |of: &BTreeMap<_, usize>| of.values().sum::<usize>();
            let (denied, allowed) = (total(&counts.denied), total(&counts.allowed));
            let gone = if counts.is_gone {
                ", not a tenant any more"
            } else {
                ""
            };
            // A String takes every write.
            writeln!(
                text,
                "{tenant}: {} decided, {denied} newly denied, {allowed} newly allowed{gone}",
                counts.all
            )
            .ok();
            for (word, found) in [("deny ", &counts.denied), ("allow", &counts.allowed)] {
                for ((what, why), times) in found {
                    writeln!(text, "  {word}  {times:>6} x  {what}   ({why})").ok();
                }
            }
        }
        text.trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::config;

    const LOG: &str = r#"{"kind":"http","tenant":"acme","url.scheme":"https","server.address":"api.test","server.port":443,"http.request.method":"GET","url.path":"/a","verdict":"allow"}
{"kind":"http","tenant":"acme","url.scheme":"https","server.address":"api.test","server.port":443,"http.request.method":"DELETE","url.path":"/a","verdict":"allow"}
{"kind":"http","tenant":"acme","url.scheme":"https","server.address":"new.test","server.port":443,"http.request.method":"GET","url.path":"/","verdict":"deny","reason":"no_rule"}
{"kind":"tls","tenant":"gone","server.address":"api.test","server.port":443,"verdict":"allow"}
"#;

    #[test]
    fn what_would_be_decided_differently_is_told_per_tenant() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("access.jsonl");
        fs::write(&log, LOG).unwrap();
        let text = r#"version = 1
[policies.p]
allow = ["api.test", "new.test"]
[[policies.p.rules]]
name = "read-only"
action = "deny"
host = "api.test"
methods = "DELETE"
[[tenants]]
name = "acme"
policy = "p"
cgroup = "/acme"
"#;
        let config = config::parse(text, Path::new("o.toml")).unwrap();
        let differences = replay(&log, &config).unwrap();
        assert!(!differences.are_none());
        assert_eq!(
            differences.text(),
            "acme: 3 decided, 1 newly denied, 1 newly allowed\n  \
             deny        1 x  DELETE https://api.test:443/a   (rule_deny, read-only)\n  \
             allow       1 x  GET https://new.test:443/   (allow new.test)\n\
             gone: 1 decided, 0 newly denied, 0 newly allowed, not a tenant any more"
        );
    }

    #[test]
    fn expressions_are_asked_of_what_was_logged() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("access.jsonl");
        let line = |rest: &str| {
            format!(
                r#"{{"kind":"http","tenant":"acme","url.scheme":"https","server.address":"api.test","server.port":443,"http.request.method":"GET","url.path":"/","verdict":"allow","process.executable.name":"curl"{rest}}}"#
            )
        };
        let lines = [
            line(r#","url.query":"page=2","http.request.headers":{"x-plan":["free","pro"]}"#),
            line(r#","url.query":"page=3","http.request.headers":{"x-plan":["free"]}"#),
            line(""),
        ];
        fs::write(&log, lines.join("\n")).unwrap();
        let text = r#"version = 1
[[policies.p.rules]]
name = "pro"
action = "allow"
host = "api.test"
when = "executable == 'curl' && 'pro' in headers['x-plan'] && query.page[0] == '2'"
[[tenants]]
name = "acme"
policy = "p"
cgroup = "/acme"
"#;
        let config = config::parse(text, Path::new("o.toml")).unwrap();
        assert_eq!(
            replay(&log, &config).unwrap().text(),
            "acme: 3 decided, 2 newly denied, 0 newly allowed\n  \
             deny        1 x  GET https://api.test:443/   (condition_failed, pro)\n  \
             deny        1 x  GET https://api.test:443/   (no_rule, no rule)"
        );
    }
}
