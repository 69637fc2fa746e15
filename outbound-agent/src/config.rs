//! The configuration: what the files say is raw, what the agent runs on is [`Config`].
//!
//! Nothing checks a [`Config`]; it cannot be wrong. Each setting and its text are declared once.

pub mod cgroups;
mod change;
mod check;
mod credential;
mod document;
mod expression;
mod files;
mod group;
pub mod import;
mod kind;
mod policy;
pub mod problem;
mod raw;
mod service;
pub mod reference;
mod roots;
mod rule;
pub mod schema;
pub mod secret;
mod section;
mod set;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use self::change::needs_restart;
pub use self::files::files;

use self::cgroups::Cgroups;
use self::document::Table;
use self::kind::compound::{HostTable, List, Optional};
use self::kind::unit::{Size, Time};
use self::kind::{CgroupPath, Count, FilePath, Flag, Listen, Port, Server, Text, TextKind, words};
use self::problem::{KeyPath, Problems};
use self::section::settings;
use crate::model::host::Host;
use crate::model::place::Place;
use crate::model::policy::Policy;
use crate::model::tenant::Tenant;
use crate::model::worker::{Namespace, Service};

/// What the agent runs on.
#[derive(Clone, Debug)]
pub struct Config {
    /// The process itself.
    pub agent: Agent,
    /// Where the account of the traffic goes.
    pub access_log: AccessLog,
    /// How names become addresses.
    pub resolver: Resolver,
    /// How long and how much.
    pub limits: Limits,
    /// Certificates, both ways.
    pub tls: Tls,
    /// Every outbound worker, also one that no namespace has.
    pub services: Vec<Arc<Service>>,
    /// Every namespace, also one that no tenant is in.
    pub namespaces: Vec<Arc<Namespace>>,
    /// Every policy, also one that no tenant has.
    pub policies: Vec<Arc<Policy>>,
    /// Every tenant.
    pub tenants: Vec<TenantSpec>,
    /// Files that it is made of, besides those of the configuration.
    pub watched: Vec<PathBuf>,
    /// The file that it was read from, drop-ins aside.
    file: PathBuf,
    /// Where the keys of its tables are written.
    written: HashMap<String, Place>,
}

/// A tenant and its place on this host.
#[derive(Clone, Debug)]
pub struct TenantSpec {
    /// The tenant.
    pub tenant: Arc<Tenant>,
    /// Its cgroup, or those that its pattern matches.
    pub cgroups: Cgroups,
    /// Whether its servers may answer peers that connect to them.
    pub inbound: bool,
}

settings! {
    /// The agent itself.
    pub struct Agent {
        /// The Unix socket for the other commands.
        admin_socket: PathBuf as FilePath = "/run/outbound/admin.sock".into();
        /// The group that may use the socket. Without one: root alone.
        admin_group: Option<String> as Optional<Text> = None;
        /// Where Prometheus finds the metrics, and others `/healthz` and `/readyz`.
        metrics: SocketAddr as Listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 9464));
        /// What has to survive a restart.
        state_dir: PathBuf as FilePath = "/var/lib/outbound".into();
        /// Where the programs in the kernel are pinned, on a bpf file system.
        pin_dir: PathBuf as FilePath = "/sys/fs/bpf/outbound".into();
        /// Where cgroup v2 is mounted. Without it: where the host's mounts say.
        cgroup_root: Option<PathBuf> as Optional<FilePath> = None;
        /// Cgroups below the cgroup root whose children are all to be tenants: a child that is
        /// nobody's yet has no egress.
        watch: Vec<PathBuf> as List<CgroupPath> = Vec::new();
        /// The port on which the agent takes redirected connections.
        port: u16 as Port = 15001;
        /// The port on which the agent answers DNS, whatever server a tenant asks: another one.
        dns_port: u16 as Port = 15053;
        /// Threads that carry traffic. Without it: one per core.
        threads: Option<usize> as Optional<Count> = None;
        /// How much the agent says about itself on stderr.
        log_level: LogLevel as LogLevelText = LogLevel::Info;
        /// In which form.
        log_format: LogFormat as LogFormatText = LogFormat::Text;
    }
}

settings! {
    /// The account of the traffic: one JSON line per request, connection and refusal.
    pub struct AccessLog {
        /// Where it goes.
        target as "path": LogTarget as LogTargetText = LogTarget::File("/var/log/outbound/access.jsonl".into());
        /// Whether traffic stops when the log cannot be written.
        required: bool as Flag = false;
    }
}

settings! {
    /// How the names of upstreams become addresses.
    pub struct Resolver {
        /// Names whose addresses are known, as in `/etc/hosts`.
        hosts: HashMap<Host, Vec<IpAddr>> as HostTable = HashMap::new();
        /// The servers to ask, port 53 unless written. Without any: those of the host.
        servers: Vec<SocketAddr> as List<Server> = Vec::new();
    }
}

settings! {
    /// Certificates: what workloads have to trust, and whom the agent trusts.
    pub struct Tls {
        /// The certificate (PEM) of the operator's own authority, which signs what the agent
        /// shows to workloads; behind it those that lead to its root. Without it: one that the
        /// agent makes, in `state_dir`.
        authority: Option<PathBuf> as Optional<FilePath> = None;
        /// Its key (PKCS #8, PEM). Without it: in the file of the certificate.
        authority_key: Option<PathBuf> as Optional<FilePath> = None;
        /// Whether the agent makes an authority for each tenant, so that what one tenant's
        /// workloads trust is worth nothing to another's.
        authority_per_tenant: bool as Flag = false;
        /// Files of certificates (PEM) that may vouch for upstreams, besides those of the host.
        roots: Vec<PathBuf> as List<FilePath> = Vec::new();
    }
}

settings! {
    /// How long the agent waits for whom, and how much it holds at once.
    pub struct Limits {
        /// For a workload's first bytes. A workload that is silent for longer waits for its
        /// server to speak first: the connection becomes a tunnel, where policy allows that. Where
        /// it allows HTTP or TLS instead, the workload has as long as `client_hello`.
        detect: Duration as Time = Duration::from_secs(1);
        /// For the whole of a TLS ClientHello, from its first byte.
        client_hello: Duration as Time = Duration::from_secs(10);
        /// For a TLS handshake, with a workload or with an upstream.
        tls_handshake: Duration as Time = Duration::from_secs(10);
        /// For the whole of a request's header, from when the connection could take it: also
        /// for the next request on a workload's open connection.
        request_header: Duration as Time = Duration::from_secs(120);
        /// For a name's addresses.
        resolve: Duration as Time = Duration::from_secs(5);
        /// For a connection to one address of an upstream.
        connect: Duration as Time = Duration::from_secs(10);
        /// For a sign of life of an upstream's host: bytes that it leaves unacknowledged, and
        /// probes that it leaves unanswered, for so long end the connection.
        dead_peer: Duration as Time = Duration::from_secs(60);
        /// For an upstream's response, from the end of the request to the end of the
        /// response's header.
        response_header: Duration as Time = Duration::from_secs(300);
        /// For an upstream's `100 (Continue)`: then a body that waits for it goes without.
        expect_continue: Duration as Time = Duration::from_secs(1);
        /// For the next piece of a body.
        body_idle: Duration as Time = Duration::from_secs(300);
        /// For the next byte, in either direction, through a tunnel.
        tunnel_idle: Duration as Time = Duration::from_secs(3600);
        /// How many connects of one tenant wait for their upstreams at once, where its policy
        /// has `true_errors`. Those on top succeed at once, as without it.
        held_connects: usize as Count = 256;
        /// For a program that a secret's reference runs, as in `cmd:/usr/bin/pass show api`.
        secret_command: Duration as Time = Duration::from_secs(10);
        /// How long what it wrote is used before it is run again.
        secret_command_ttl: Duration as Time = Duration::from_secs(300);
        /// For a token endpoint's answer, from the look-up of its host on.
        token: Duration as Time = Duration::from_secs(10);
        /// How long an upstream's connection is kept for the next request.
        pool_idle: Duration as Time = Duration::from_secs(60);
        /// How many connections are kept per tenant and upstream.
        pool_connections: usize as Count = 32;
        /// For what is under way when the agent is told to stop.
        drain: Duration as Time = Duration::from_secs(30);
        /// Connections at once, of all tenants.
        connections: usize as Count = 16_384;
        /// DNS queries in a second, of one tenant; after a pause twice as many. What is beyond is
        /// refused.
        dns_per_tenant_per_second: usize as Count = 100;
        /// DNS queries under way at once, of one tenant. What is beyond is not answered.
        dns_per_tenant: usize as Count = 256;
        /// The longest name that may be looked up: what data would be carried out in.
        dns_name_bytes: usize as Count = 160;
        /// For the next DNS query on a workload's open connection, and for the room to answer it.
        dns_idle: Duration as Time = Duration::from_secs(10);
        /// Requests at once on one HTTP/2 connection of a workload.
        http2_streams: usize as Count = 128;
        /// A message's header.
        header_bytes: usize as Size = 64 << 10;
        /// Fields in a message's header.
        headers: usize as Count = 100;
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogTarget {
    /// The agent's standard output.
    Stdout,
    /// The journal.
    Journald,
    /// A file that is appended to.
    File(PathBuf),
}

/// What is worth a diagnostic line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// An operator must act.
    Error,
    /// The agent coped, somebody should know.
    Warn,
    /// Start, stop, reload.
    Info,
    /// Each connection.
    Debug,
    /// Each chunk.
    Trace,
}

/// The form of a diagnostic line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines.
    Json,
}

words!(LogLevelText: LogLevel, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", {
    "error" => LogLevel::Error,
    "warn" => LogLevel::Warn,
    "info" => LogLevel::Info,
    "debug" => LogLevel::Debug,
    "trace" => LogLevel::Trace,
});

words!(LogFormatText: LogFormat, "\"text\" or \"json\"", {
    "text" => LogFormat::Text,
    "json" => LogFormat::Json,
});

struct LogTargetText;

impl TextKind for LogTargetText {
    type Out = LogTarget;
    const ACCEPTED: &str = "\"stdout\", \"journald\" or an absolute path";

    fn parse(text: &str) -> Result<LogTarget, Option<String>> {
        match text {
            "stdout" => Ok(LogTarget::Stdout),
            "journald" => Ok(LogTarget::Journald),
            _ => FilePath::parse(text).map(LogTarget::File),
        }
    }

    fn show(value: &LogTarget) -> String {
        match value {
            LogTarget::Stdout => "stdout".to_owned(),
            LogTarget::Journald => "journald".to_owned(),
            LogTarget::File(path) => FilePath::show(path),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or the directory of drop-ins.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What is in them.
    #[error("{0}")]
    Invalid(Problems),
}

/// Reads a file and its drop-ins: `conf.d/*.toml` beside it, in the order of their names.
/// Tables and lists of tables grow from file to file; any other key is written once.
pub fn load(path: &Path) -> Result<Config, Error> {
    let (table, problems) = read_all(path)?;
    finish(path, &table, |name| std::env::var_os(name), problems)
}

/// Reads how to find the agent, and nothing else: the rest's secrets are not for every command.
pub fn load_agent(path: &Path) -> Result<Agent, Error> {
    load_part(path, |file| file.agent)
}

/// Reads where the access log goes, and nothing else.
pub fn load_access_log(path: &Path) -> Result<AccessLog, Error> {
    load_part(path, |file| file.access_log)
}

fn load_part<T>(path: &Path, part: impl FnOnce(raw::File) -> Option<T>) -> Result<T, Error> {
    let (table, problems) = read_all(path)?;
    problems.none_or(Some(())).map_err(Error::Invalid)?;
    let mut problems = Problems::default();
    part(raw::File::read(&table, &mut problems)).ok_or(Error::Invalid(problems))
}

fn read_all(path: &Path) -> Result<(Table, Problems), Error> {
    let mut problems = Problems::default();
    let mut table = read(path, true, &mut problems)?;
    for path in files::drop_ins(path)? {
        let more = read(&path, false, &mut problems)?;
        table.merge(more, &KeyPath::Top, &mut problems);
    }
    Ok((table, problems))
}

/// Reads a text as if it were `file`, without drop-ins.
pub fn parse(text: &str, file: &Path) -> Result<Config, Error> {
    let mut problems = Problems::default();
    let table = parse_file(text, file, true, &mut problems);
    finish(file, &table, |name| std::env::var_os(name), problems)
}

fn finish(
    path: &Path,
    table: &Table,
    environment: impl Fn(&str) -> Option<OsString>,
    mut problems: Problems,
) -> Result<Config, Error> {
    let file = raw::File::read(table, &mut problems);
    let written = change::places(table);
    let config = check::check(file, environment, &mut problems);
    let config = config.map(|config| Config {
        file: path.to_owned(),
        written,
        ..config
    });
    problems.none_or(config).map_err(Error::Invalid)
}

fn read(path: &Path, is_main: bool, problems: &mut Problems) -> Result<Table, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.into(),
        source,
    })?;
    Ok(parse_file(&text, path, is_main, problems))
}

fn parse_file(text: &str, file: &Path, is_main: bool, problems: &mut Problems) -> Table {
    let mut table = Table::parse(text, file, problems);
    let top = Place {
        file: file.into(),
        line: 1,
        column: 1,
    };
    raw::take_version(&mut table, is_main.then_some(&top), problems);
    table
}
