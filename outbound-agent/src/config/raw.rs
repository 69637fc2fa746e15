//! The file's shape: what stands in it, before anything refers to anything.

pub(super) mod credential;
mod limits;
mod rule;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::cgroups::{CgroupPattern, Cgroups};
use super::document::{Node, Table, Value};
use super::kind::compound::{InPlace, List, Nested, Optional, Placed};
use super::kind::rule::Tables;
use super::kind::worker::Members;
use super::kind::{FilePath, Flag, Kind as _, TargetText, TenantName, Text, words};
use super::problem::{KeyPath, Problems};
use super::section::{FromNode, Section, as_table, refuse_unknown_keys, section};
use super::{AccessLog, Agent, Limits, Resolver};
use crate::model::place::Place;
use crate::model::policy::{Addressing, Fallback, Mode, Tls};
use crate::model::target::Target;
use crate::model::tenant::TenantId;
use crate::model::worker::Values;
use credential::Credential;
pub(super) use limits::TenantLimits;

pub(super) use rule::{Rule, Set};
pub(super) use worker::{DispatchNamespace, Limits as ServiceLimits, Network, Outbound, Service};

section! {
    /// Rules, by name. Tenants refer to them.
    ///
    /// **Deny wins over allow.** A target is `[scheme://]host[:port]`:
    ///
    /// - `example.com` is that name alone; `*.example.com` is every name below it, at any
    ///   depth, **and not `example.com` itself**; in `api-*.example.com` the star is any run of
    ///   characters but dots; `192.0.2.7` and `192.0.2.0/24` are addresses; `@pypi` is every
    ///   host of a set; `*` is every host.
    /// - Without a scheme an allow is for `http` and `https`, a deny for everything. Other
    ///   protocols are allowed by `tcp://host:port`.
    /// - Without a port an allow is for 80 and 443, a deny for every port. `:*` is every port.
    ///
    /// Loopback, private, link-local and other special addresses are refused, also where an
    /// allowed name leads to one, unless `allow` has that very address or a range around it.
    /// A cloud's metadata service is refused unless `allow` has its very address or name.
    pub(super) struct Policy {
        /// Names of policies whose lists, rules and credentials are this one's as well; all
        /// other keys are not.
        extends: Vec<Placed<String>> as List<InPlace<Text>> = Vec::new();
        /// Whether it is the floor, of which there is at most one: below every other policy,
        /// none of which can loosen it. What its rules deny is denied whatever a tenant's own
        /// policy says, and where its `default` is `deny`, what it does not allow as well.
        floor: Option<Placed<bool>> as Optional<InPlace<Flag>> = None;
        /// Whether verdicts bind. `audit` lets through what would be denied and marks it with
        /// `would_deny` in the access log; `off` judges nothing.
        mode: Mode as ModeText = Mode::default();
        /// What holds where neither list matches.
        default: Fallback as FallbackText = Fallback::default();
        /// Targets that may be reached.
        allow: Vec<Placed<Target>> as List<InPlace<TargetText>> = Vec::new();
        /// Targets that may not, whatever `allow` says.
        deny: Vec<Placed<Target>> as List<InPlace<TargetText>> = Vec::new();
        /// Rules that ask for more than a target.
        rules: Vec<Placed<Rule>> as Tables<Rule> = Vec::new();
        /// Whose TLS ends at the agent: `auto` is that of hosts whose requests have to be seen,
        /// because a credential is bound to them, and everybody's where an outbound worker sees
        /// the requests; `terminate` is everybody's, `passthrough` nobody's, which no tenant with
        /// a worker can have. Workloads have to trust the agent's authority: see `outbound trust`.
        tls: Tls as TlsText = Tls::default();
        /// Targets whose TLS is passed through all the same, as for clients that pin
        /// certificates.
        passthrough: Vec<Placed<Target>> as List<InPlace<TargetText>> = Vec::new();
        /// Files of certificates (PEM) that may vouch for the upstreams of its tenants, besides
        /// those of the host and of `[tls]`.
        roots: Vec<Placed<PathBuf>> as List<InPlace<FilePath>> = Vec::new();
        /// Which address is dialled for the name in a request or a ClientHello: `resolve` is one
        /// that the agent itself finds for the name, so that what the workload connected to
        /// counts for nothing. `verify` is the one that the workload connected to, if the agent's
        /// DNS has told this tenant that it is the name's, or the agent finds so itself; else it
        /// is refused (421). `original` is that one unseen, for names that the agent cannot look
        /// up: whoever may reach a name may then reach any public address under it. A credential
        /// is added only where `verify` would hold.
        destination: Addressing as AddressingText = Addressing::default();
        /// Whether `connect` itself fails where the upstream does: it is held until the upstream
        /// has answered, and gives `ECONNREFUSED`, `EHOSTUNREACH` or `ENETUNREACH`, as a network
        /// would; what no rule can allow gives `ECONNREFUSED`. Without it `connect` succeeds at
        /// once and the connection is reset. Where only the first bytes say what is allowed,
        /// `connect` succeeds in either case. Needs netfilter in the kernel: `outbound status`
        /// says whether it is there.
        true_errors: bool as Flag = false;
        /// Names of the credentials that are added to the requests of its tenants.
        credentials: Vec<Placed<String>> as List<InPlace<Text>> = Vec::new();
        /// What each of its tenants may take: see `[policies.NAME.limits]`.
        limits: TenantLimits as Nested<TenantLimits> = TenantLimits::default();
    }
}

section! {
    /// Who is charged, limited and ruled as one.
    pub(super) struct Tenant {
        /// Its name, in logs, metrics and on the command line.
        name: Placed<TenantId> as InPlace<TenantName>;
        /// The name of its policy.
        policy: Placed<String> as InPlace<Text>;
        /// Its cgroup, below the cgroup root, or a pattern; what is in a cgroup below it is the
        /// tenant's as well, unless that one is given to another tenant. A cgroup that matches a
        /// pattern is the tenant's from when it appears until it is removed; where it lies below
        /// no watched cgroup, what it does in the moment before the agent has seen it is not
        /// fenced, and what it had connected is ended. A cgroup that is named by its path is no
        /// pattern's; one that two tenants' patterns match is neither's.
        cgroup: Placed<Cgroups> as InPlace<CgroupPattern>;
        /// The namespace whose outbound worker its requests pass. Without one: none do.
        namespace: Option<Placed<String>> as Optional<InPlace<Text>> = None;
        /// The parameters that the namespace declares, for what runs in its cgroup. Where they
        /// are not written, nothing leaves before a dispatch has given them.
        outbound: Option<Placed<Values>> as Optional<InPlace<Members>> = None;
        /// Whether its servers may answer peers that connect to them, over TCP.
        inbound: bool as Flag = false;
        /// What it may take: the keys of `[policies.NAME.limits]`, each instead of its policy's.
        limits: TenantLimits as Nested<TenantLimits> = TenantLimits::default();
    }
}

words!(ModeText: Mode, "\"enforce\", \"audit\" or \"off\"", {
    "enforce" => Mode::Enforce,
    "audit" => Mode::Audit,
    "off" => Mode::Off,
});

words!(TlsText: Tls, "\"auto\", \"terminate\" or \"passthrough\"", {
    "auto" => Tls::Auto,
    "terminate" => Tls::Terminate,
    "passthrough" => Tls::Passthrough,
});

words!(AddressingText: Addressing, "\"resolve\", \"verify\" or \"original\"", {
    "resolve" => Addressing::Resolve,
    "verify" => Addressing::Verify,
    "original" => Addressing::Original,
});

words!(FallbackText: Fallback, "\"deny\" or \"allow\"", {
    "deny" => Fallback::Deny,
    "allow" => Fallback::Allow,
});

/// Everything that stands in the files. What could not be read is `None`: its problem is
/// told, and what refers to it is not a second one.
pub(super) struct File {
    pub(super) agent: Option<Agent>,
    pub(super) access_log: Option<AccessLog>,
    pub(super) resolver: Option<Resolver>,
    pub(super) limits: Option<Limits>,
    pub(super) tls: Option<super::Tls>,
    pub(super) dispatch_namespaces: Vec<Option<DispatchNamespace>>,
    pub(super) services: BTreeMap<String, Option<Service>>,
    pub(super) sets: BTreeMap<String, Option<Set>>,
    pub(super) policies: BTreeMap<String, Option<Policy>>,
    pub(super) credentials: BTreeMap<String, Option<Credential>>,
    pub(super) tenants: Vec<Option<Tenant>>,
}

impl File {
    pub(super) fn read(table: &Table, problems: &mut Problems) -> Self {
        refuse_unknown_keys(table, &KEYS, &KeyPath::Top, problems);
        let agent = settings(table, "agent", problems);
        if let Some(agent) = &agent {
            distinct_ports(table, agent, problems);
        }
        one_authority(table, problems);
        Self {
            agent,
            access_log: settings(table, "access_log", problems),
            resolver: settings(table, "resolver", problems),
            limits: settings(table, "limits", problems),
            tls: settings(table, "tls", problems),
            dispatch_namespaces: listed(table, "dispatch_namespaces", problems),
            services: services(table, problems),
            sets: named(table, "sets", problems),
            policies: named(table, "policies", problems),
            credentials: named(table, "credentials", problems),
            tenants: listed(table, "tenants", problems),
        }
    }
}

/// A tenant's process is kept from the agent's ports by number, whatever the protocol.
fn distinct_ports(table: &Table, agent: &Agent, problems: &mut Problems) {
    let Agent { port, dns_port, .. } = *agent;
    if port != dns_port || port == 0 {
        return;
    }
    let Some(Value::Table(keys)) = table.0.get("agent").map(|entry| &entry.node.value) else {
        return;
    };
    let written = ["dns_port", "port"].map(|key| keys.0.get(key).map(|entry| (key, entry)));
    if let Some((key, entry)) = written.into_iter().flatten().next() {
        let section = KeyPath::Key(&KeyPath::Top, "agent");
        let message = format!("`port` and `dns_port` are both {port}; write two ports");
        problems.add(&entry.node.place, KeyPath::Key(&section, key), message);
    }
}

/// Keys of `[tls]` that say whose the authority is, and contradict each other.
fn one_authority(table: &Table, problems: &mut Problems) {
    let Some(Value::Table(keys)) = table.0.get("tls").map(|entry| &entry.node.value) else {
        return;
    };
    let section = KeyPath::Key(&KeyPath::Top, "tls");
    let mut complain = |key, message: &str| {
        if let Some(entry) = keys.0.get(key) {
            problems.add(&entry.node.place, KeyPath::Key(&section, key), message);
        }
    };
    if !keys.0.contains_key("authority") {
        complain(
            "authority_key",
            "is the key of `authority`, which is missing; write both",
        );
    } else if keys
        .0
        .get("authority_per_tenant")
        .is_some_and(|entry| matches!(entry.node.value, Value::Boolean(true)))
    {
        let message = "an authority of your own signs for all tenants; write it or `authority`";
        complain("authority_per_tenant", message);
    }
}

const KEYS: [&str; 11] = [
    "agent",
    "access_log",
    "resolver",
    "limits",
    "tls",
    "dispatch_namespaces",
    "services",
    "sets",
    "policies",
    "credentials",
    "tenants",
];

/// Takes `version` out of a file; the main file has to have it.
pub(super) fn take_version(
    table: &mut Table,
    required_at: Option<&Place>,
    problems: &mut Problems,
) {
    let path = KeyPath::Key(&KeyPath::Top, "version");
    match (table.0.remove("version"), required_at) {
        (Some(entry), _) => match entry.node.value {
            Value::Integer(1) => {}
            _ => {
                let message = format!(
                    "{} is not accepted; this agent reads version 1",
                    entry.node.shown()
                );
                problems.add(&entry.node.place, path, message);
            }
        },
        (None, Some(place)) => problems.add(
            place,
            KeyPath::Top,
            "the key `version` is missing; write version = 1",
        ),
        (None, None) => {}
    }
}

fn settings<S: Section + Default>(table: &Table, key: &str, problems: &mut Problems) -> Option<S> {
    match table.0.get(key) {
        Some(entry) => S::read(&entry.node, &KeyPath::Key(&KeyPath::Top, key), problems),
        None => Some(S::default()),
    }
}

fn named<S: FromNode>(
    table: &Table,
    key: &str,
    problems: &mut Problems,
) -> BTreeMap<String, Option<S>> {
    let Some(entry) = table.0.get(key) else {
        return BTreeMap::new();
    };
    let path = KeyPath::Key(&KeyPath::Top, key);
    let Some(table) = as_table(&entry.node, &path, problems) else {
        return BTreeMap::new();
    };
    let read = |(name, entry): (&String, &super::document::Entry)| {
        let path = KeyPath::Key(&path, name);
        if TenantId::new(name).is_none() {
            problems.add(
                &entry.place,
                path,
                format!("is no name; write {}", TenantName::accepted()),
            );
        }
        (name.clone(), S::from_node(&entry.node, &path, problems))
    };
    table.0.iter().map(read).collect()
}

fn services(table: &Table, problems: &mut Problems) -> BTreeMap<String, Option<Service>> {
    worker::say_what_is_amiss(table, problems);
    named(table, "services", problems)
}

fn listed<S: Section>(table: &Table, key: &str, problems: &mut Problems) -> Vec<Option<S>> {
    let Some(entry) = table.0.get(key) else {
        return Vec::new();
    };
    let path = KeyPath::Key(&KeyPath::Top, key);
    let Value::Array(nodes) = &entry.node.value else {
        let message = format!("{} is not accepted; write [[{key}]]", entry.node.shown());
        problems.add(&entry.place, path, message);
        return Vec::new();
    };
    let read =
        |(index, node): (usize, &Node)| S::read(node, &KeyPath::Index(&path, index), problems);
    nodes.iter().enumerate().map(read).collect()
}
