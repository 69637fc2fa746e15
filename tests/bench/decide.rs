//! What a decision costs, by how many hosts and tenants there are: `cargo bench -p outbound-tests`.
//! Prints a table; a number that grows with the hosts is a fault.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method};
use outbound_agent::config::{self, Config};
use outbound_agent::model::target::Scheme;
use outbound_agent::path::policy::{self, Facts, Readings, Request, Verdict};

fn main() {
    let mut table = String::from("   hosts  tenants        load      decide\n");
    for (hosts, tenants) in [
        (10, 10),
        (1_000, 10),
        (100_000, 10),
        (10, 10_000),
        (1_000, 10_000),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let text = configuration(directory.path(), hosts, tenants);
        let begun = Instant::now();
        let config = config::parse(&text, Path::new("bench.toml")).unwrap();
        let load = begun.elapsed();
        let decide = decision(&config, hosts);
        writeln!(
            table,
            "{hosts:>8} {tenants:>8} {load:>11.1?} {decide:>11.1?}"
        )
        .unwrap();
    }
    table.push_str("\n    keys  when    decide  ratio\n");
    let mut plain = None;
    for (keys, when) in WHEN {
        let directory = tempfile::tempdir().unwrap();
        let text = configuration(directory.path(), 10, 10);
        let text = text.replace(
            "methods = \"GET\"\npaths = \"/v1/**\"\n",
            &format!("{keys}{when}"),
        );
        let config = config::parse(&text, Path::new("bench.toml")).unwrap();
        let decide = decision(&config, 10);
        let ratio = decide.as_secs_f64() / plain.get_or_insert(decide).as_secs_f64();
        let has = |text: &str| if text.is_empty() { "no" } else { "yes" };
        writeln!(
            table,
            "{:>8}  {:>4} {decide:>9.1?} {ratio:>6.2}",
            has(keys),
            has(when)
        )
        .unwrap();
    }
    std::io::stdout().write_all(table.as_bytes()).unwrap();
}

/// What else a rule asks: keys, the same as an expression, and both.
const WHEN: [(&str, &str); 4] = [
    (KEYS, ""),
    ("", EXPRESSION),
    (KEYS, "when = \"tenant == 't9' && !has(headers.cookie)\"\n"),
    (
        KEYS,
        "when = \"path.matches('^/v[0-9]+/[a-z]+/[0-9]+$')\"\n",
    ),
];
const KEYS: &str = "methods = \"GET\"\npaths = \"/v1/**\"\n";
const EXPRESSION: &str = "when = \"method == 'GET' && path.startsWith('/v1/')\"\n";

/// One policy with a set of `hosts` that are denied and a rule for as many that are allowed.
fn configuration(directory: &Path, hosts: usize, tenants: usize) -> String {
    let file = |name: &str, zone: &str| {
        let path = directory.join(name);
        let lines = (0..hosts).map(|number| format!("host-{number}.{zone}\n"));
        std::fs::write(&path, lines.collect::<String>()).unwrap();
        path
    };
    let (good, bad) = (file("good", "good.example"), file("bad", "bad.example"));
    let mut text = format!(
        "version = 1\n[sets.good]\nfile = {good:?}\n[sets.bad]\nfile = {bad:?}\n\
         [policies.p]\ndeny = [\"@bad\"]\n[[policies.p.rules]]\nname = \"good\"\n\
         action = \"allow\"\nhost = \"@good\"\nmethods = \"GET\"\npaths = \"/v1/**\"\n"
    );
    for number in 0..tenants {
        writeln!(
            text,
            "[[tenants]]\nname = \"t{number}\"\npolicy = \"p\"\ncgroup = \"/t{number}\""
        )
        .unwrap();
    }
    text
}

/// The median of many decisions about the last host, by the last tenant.
fn decision(config: &Config, hosts: usize) -> Duration {
    let tenant = &config.tenants.last().unwrap().tenant;
    let host = format!("host-{}.good.example", hosts - 1).parse().unwrap();
    let (path, headers) = (Readings::of("/v1/users/7"), HeaderMap::new());
    let facts = Facts {
        tenant: Some(tenant),
        executable: "curl",
        scheme: Scheme::Https,
        host: &host,
        port: 443,
        request: Some(Request {
            method: &Method::GET,
            path: &path,
            query: None,
            headers: &headers,
        }),
        is_foreseen: false,
    };
    let mut taken: Vec<Duration> = (0..200)
        .map(|_| {
            let begun = Instant::now();
            for _ in 0..100 {
                let verdict = policy::decide(&tenant.policy, black_box(&facts));
                assert!(matches!(black_box(verdict), Verdict::Allow(_)));
            }
            begun.elapsed() / 100
        })
        .collect();
    taken.sort();
    taken[taken.len() / 2]
}
