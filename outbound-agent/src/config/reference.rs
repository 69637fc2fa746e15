//! The reference of the configuration: `docs/configuration.md`, made of the declarations.

use super::group::GROUPS;
use super::raw::{
    DispatchNamespace, Policy, Rule, Service, ServiceLimits, Set, Tenant, TenantLimits, credential,
};
use super::section::{Key, Section, Unwritten};
use super::{AccessLog, Agent, Limits, Resolver, Tls};

/// The whole document.
pub fn markdown() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (heading, about, keys) in sections() {
        write_section(&mut page, heading, about, &keys);
        if heading == "[sets.NAME]" {
            write_groups(&mut page);
        }
    }
    page
}

fn write_groups(page: &mut String) {
    page.push_str("\n| Built in | Hosts | |\n|---|---|---|\n");
    for group in GROUPS {
        let hosts: Vec<String> = group.hosts.iter().map(|host| format!("`{host}`")).collect();
        let (name, about) = (group.name, group.about);
        page.push_str(&format!("| `@{name}` | {} | {about} |\n", hosts.join(", ")));
    }
}

/// Every table of the file, in the order of the documents.
pub(super) fn sections() -> Vec<(&'static str, &'static str, Vec<Key>)> {
    fn section<S: Section>(heading: &'static str) -> (&'static str, &'static str, Vec<Key>) {
        (heading, S::ABOUT, S::keys())
    }
    let credentials = credential::TYPES.iter();
    let credentials = credentials.map(|(heading, about, keys)| (*heading, *about, keys()));
    let mut sections = vec![
        section::<Agent>("[agent]"),
        section::<AccessLog>("[access_log]"),
        section::<Resolver>("[resolver]"),
        section::<Limits>("[limits]"),
        section::<Tls>("[tls]"),
        section::<DispatchNamespace>("[[dispatch_namespaces]]"),
        section::<Service>("[services.NAME]"),
        section::<ServiceLimits>("[services.NAME.limits]"),
        section::<Policy>("[policies.NAME]"),
        section::<Rule>("[[policies.NAME.rules]]"),
        section::<Set>("[sets.NAME]"),
    ];
    sections.push(section::<TenantLimits>("[policies.NAME.limits]"));
    sections.extend(credentials);
    sections.push(section::<Tenant>("[[tenants]]"));
    sections
}

fn write_section(page: &mut String, heading: &str, about: &str, keys: &[Key]) {
    let about = unindent(about);
    let mut row = |text: String| {
        page.push_str(&text);
        page.push('\n');
    };
    row(format!("\n## `{heading}`\n\n{about}\n"));
    row("| Key | Value | Default | |".to_owned());
    row("|---|---|---|---|".to_owned());
    for key in keys {
        let unwritten = match &key.unwritten {
            Unwritten::Refused => "must be written".to_owned(),
            Unwritten::Nothing => "none".to_owned(),
            Unwritten::Default(default) => format!("`{default}`"),
        };
        let about = unindent(key.about).replace('\n', " ");
        row(format!(
            "| `{}` | {} | {unwritten} | {} |",
            key.name,
            cell(&key.accepted),
            cell(&about)
        ));
    }
}

/// Takes off the space that stands behind `///`.
pub(super) fn unindent(text: &str) -> String {
    let lines = text
        .lines()
        .map(|line| line.strip_prefix(' ').unwrap_or(line));
    lines.collect::<Vec<_>>().join("\n").trim_end().to_owned()
}

/// A bar would end the cell, a star begin emphasis.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('*', "\\*")
}

const INTRODUCTION: &str = "\
<!-- Made of the declarations in src/config; `UPDATE_DOCS=1 cargo test -p outbound-agent` writes it anew. -->

# Configuration

`/etc/outbound/outbound.toml`, and whatever stands in `conf.d/*.toml` beside it, in the order of
the names. Tables and lists of tables grow from file to file; any other key is written once.
The file begins with `version = 1`. `outbound check` says whether the configuration is right, and
for one request what would happen to it. Every problem is told at once, with its file, line and
key; an unknown key is a problem. [`outbound.schema.json`](outbound.schema.json), which
`outbound check --schema` prints, is the same for editors: with Taplo or Even Better TOML, put `#:schema /path/to/outbound.schema.json` on the first
line.

A running agent reads the files again on `outbound reload`, on `POST /v1/reload`, on SIGHUP and
when one of them changes, the lists of sets and certificates among them. It takes a configuration
whole or not at all: where something is wrong, the last good one holds on, and the command, the
agent's messages, `outbound status` and `outbound_config_reloads_total` say so. A change holds from
the next request on, and what is under way is decided again: what is not allowed any more is ended,
with the reason `policy_changed` or `unassigned` in the access log. The tables `[agent]` (but for `log_level`, and more cgroups in `watch`),
`[access_log]`, `[limits]` and `[tls]` (but for `roots`) cannot change while the agent runs: a
configuration in which they differ is refused, with the key and \"needs a restart\".
What a tenant that is gone leaves behind has no egress, also what `outbound assign` gave to it:
it waits for the tenant to come back, or for `outbound unassign`.

Times are written with their unit, `ms`, `s`, `m` or `h`; sizes with `B`, `KiB`, `MiB` or `GiB`.
Every path is absolute.
";
