//! `outbound suggest`: the smallest allow list that what a tenant did would need.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::path::Path;

use super::record::{self, Recorded};
use crate::model::host::Host;
use crate::model::target::Scheme;

/// The list, as TOML. Only what this tenant itself did counts, so that no tenant opens a door
/// for another; and of that, what was let through or lacked nothing but a rule.
pub(super) fn suggest(log: &Path, tenant: &str) -> io::Result<String> {
    let mut targets = BTreeSet::new();
    record::read(log, |recorded| {
        let lacked = recorded.reason.as_deref() == Some("no_rule");
        let would = recorded.would_deny.as_deref();
        let is_wanted = match recorded.is_allowed {
            true => would.is_none_or(|reason| reason == "no_rule"),
            false => lacked,
        };
        if recorded.tenant == tenant && is_wanted {
            targets.extend(target(&recorded));
        }
    })?;
    let mut text = String::from("allow = [\n");
    for target in targets {
        text.push_str(&format!("  {target:?},\n"));
    }
    text.push(']');
    Ok(text)
}

fn target(recorded: &Recorded) -> Option<String> {
    let host = match recorded.host()? {
        Host::Address(IpAddr::V6(address)) => format!("[{address}]"),
        host => host.to_string(),
    };
    Some(match (recorded.scheme(), recorded.port) {
        (Scheme::Tcp, port) => format!("tcp://{host}:{port}"),
        (Scheme::Http | Scheme::Https, 80 | 443) => host,
        (Scheme::Http | Scheme::Https, port) => format!("{host}:{port}"),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_list_is_what_this_tenant_did_or_lacked_a_rule_for() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("access.jsonl");
        let http = |tenant: &str, host: &str, port: u16, rest: &str| {
            format!(
                r#"{{"kind":"http","tenant":"{tenant}","url.scheme":"https","server.address":"{host}","server.port":{port},{rest}}}"#
            )
        };
        let lines = [
            http("acme", "api.test", 443, r#""verdict":"allow""#),
            http("acme", "api.test", 80, r#""verdict":"allow""#),
            http("acme", "new.test", 8443, r#""verdict":"deny","reason":"no_rule""#),
            http("acme", "seen.test", 443, r#""verdict":"allow","would_deny":"no_rule""#),
            http("acme", "evil.test", 443, r#""verdict":"deny","reason":"rule_deny""#),
            http("acme", "bad.test", 443, r#""verdict":"allow","would_deny":"rule_deny""#),
            http("acme", "broken.test", 443, r#""verdict":"deny","reason":"condition_failed""#),
            http("acme", "10.0.0.1", 443, r#""verdict":"deny","reason":"private_address""#),
            http("globex", "other.test", 443, r#""verdict":"allow""#),
            r#"{"kind":"tcp","tenant":"acme","server.address":"2001:db8::1","server.port":5432,"verdict":"allow"}"#.to_owned(),
            r#"{"kind":"dns","tenant":"acme","dns.question.name":"x.test"}"#.to_owned(),
            "not a line".to_owned(),
        ];
        fs::write(&log, lines.join("\n")).unwrap();
        assert_eq!(
            suggest(&log, "acme").unwrap(),
            "allow = [\n  \"api.test\",\n  \"new.test:8443\",\n  \"seen.test\",\n  \"tcp://[2001:db8::1]:5432\",\n]"
        );
    }
}
