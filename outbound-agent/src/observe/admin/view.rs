//! What the admin API shows, as its clients read it back.

mod judgement;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use judgement::{Judgement, Limits, OneOrMore, Question, Rate, milliseconds};

/// The agent as a whole: `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// The agent's version.
    pub version: String,
    /// The commit it was built from, where the build knew it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub commit: Option<String>,
    /// Its process id.
    pub pid: u32,
    /// Since when it runs, RFC 3339.
    pub started: String,
    /// Whether tenants are served.
    pub ready: bool,
    /// What readiness waits for.
    #[serde(default)]
    pub waiting_for: Vec<String>,
    /// How many tenants there are.
    pub tenants: usize,
    /// How many cgroups are assigned to them.
    pub assigned_cgroups: usize,
    /// How many dispatches are in force.
    #[serde(default)]
    pub dispatches: usize,
    /// In how many network namespaces beside its own the agent listens.
    #[serde(default)]
    pub namespaces: usize,
    /// Where it listens.
    pub listeners: Vec<Listener>,
    /// Where programs and maps are pinned.
    pub pin_dir: PathBuf,
    /// Which programs are attached where.
    pub attachments: Vec<Attachment>,
    /// Hooks of the agent's cgroups on which programs of others run as well.
    #[serde(default)]
    pub shared_hooks: Vec<SharedHook>,
    /// What the kernel has of what we can use.
    pub features: Vec<Feature>,
    /// What workloads have to trust; absent where that is another thing for each tenant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trust: Option<TrustView>,
    /// Which configuration holds.
    #[serde(default)]
    pub configuration: Configuration,
}

/// The configuration that holds, and what became of the last one that was to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Configuration {
    /// Its file, drop-ins aside.
    pub file: PathBuf,
    /// Since when it holds, RFC 3339.
    pub since: String,
    /// The last reload, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reload: Option<Reload>,
}

/// A reload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reload {
    /// When, RFC 3339.
    pub at: String,
    /// What for: `api`, `files` or `signal`.
    pub by: String,
    /// Whether it was applied; otherwise the configuration before it holds on.
    pub applied: bool,
    /// Why it was not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
    /// Each thing that is wrong with the files.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<ConfigProblem>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ConfigProblem {
    /// In which file.
    pub file: PathBuf,
    /// In which line.
    pub line: u32,
    /// At which character of it.
    pub column: u32,
    /// The key, as in `policies.standard.allow[2]`; empty where there is none.
    pub key: String,
    /// The value and what is accepted.
    pub message: String,
}

/// What a reload has brought: `POST /v1/reload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reloaded {
    /// How many tenants there are now.
    pub tenants: usize,
    /// How many policies.
    pub policies: usize,
    /// How many open connections, tunnels and requests are not allowed any more, and were ended.
    pub ended: usize,
    /// What could not be done yet and is tried again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub incomplete: Option<String>,
}

/// A listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// What for: `tenants`, `metrics`, `admin`.
    pub name: String,
    /// An address and a port, or a path.
    pub address: String,
}

/// A hook on which programs of others run beside ours.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct SharedHook {
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// The hook, in the kernel's words.
    pub hook: String,
    /// In the order in which they run.
    pub programs: Vec<Runs>,
}

/// A program that runs on a hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Runs {
    /// Its name, or its number where it has none.
    pub name: String,
    /// Whether it is ours.
    pub ours: bool,
}

/// One program on one cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Attachment {
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// The program's name.
    pub program: String,
}

/// Something of the kernel that we use where it is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Feature {
    /// Its name.
    pub name: String,
    /// Whether it is there.
    pub present: bool,
    /// What would bring it, where it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub remedy: Option<String>,
}

/// One tenant: `GET /v1/tenants/{name}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TenantView {
    /// Its name.
    pub name: String,
    /// Its policy's name.
    pub policy: String,
    /// That policy's mode: `enforce`, `audit` or `off`.
    pub mode: String,
    /// The pattern of the cgroups that the configuration gives it, where it is one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pattern: Option<String>,
    /// The cgroup that the configuration gives it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<PathBuf>,
    /// The ids of the cgroups that are its now.
    pub cgroup_ids: Vec<u64>,
    /// The dispatch namespace that it is in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub namespace: Option<String>,
    /// What is dispatched to it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub dispatches: Vec<Dispatched>,
    /// The names of its credentials.
    pub credentials: Vec<String>,
    /// What its workloads have to trust.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub trust: Option<TrustView>,
}

/// Files with certificates that workloads have to trust: PEM, but for Java's.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TrustView {
    /// The agent's authority alone.
    pub authority: PathBuf,
    /// The host's roots, and the agent's authority.
    pub bundle: PathBuf,
    /// Both in the form of Java's `cacerts`; the password is `changeit`.
    #[serde(default)]
    pub java: PathBuf,
    /// A directory with the agent's authority under the names that OpenSSL looks for.
    #[serde(default)]
    pub directory: PathBuf,
}

/// A cgroup, as an operator names it: exactly one of the three.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Cgroup {
    /// Its path, from the cgroup root or absolute.
    Cgroup(PathBuf),
    /// The cgroup that this process is in.
    Pid(u32),
    /// The cgroup of this unit of the service manager.
    Unit(String),
}

/// What is to be assigned: `PUT /v1/assignments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assign {
    /// To whom.
    pub tenant: String,
    /// Which cgroup.
    #[serde(flatten)]
    pub cgroup: Cgroup,
}

/// A cgroup that is a tenant's: `GET /v1/assignments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assignment {
    /// Whose it is.
    pub tenant: String,
    /// Its directory.
    pub cgroup: PathBuf,
    /// Its id.
    pub cgroup_id: u64,
    /// Who says so: `configuration` or `operator`.
    pub by: String,
}

/// Every assignment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AssignmentList {
    /// In the order of their cgroups' directories.
    pub assignments: Vec<Assignment>,
}

/// What became of an assignment: `PUT` and `DELETE /v1/assignments`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Assigned {
    /// Whose the cgroup is, or was; absent where the configuration had lost that tenant.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tenant: Option<String>,
    /// Its directory.
    pub cgroup: PathBuf,
    /// Its id.
    pub cgroup_id: u64,
    /// How many sockets of before were ended.
    pub cut: usize,
    /// How many this kernel cannot end; nothing leaves them.
    pub left: usize,
    /// Whether the cgroup has no egress while it is nobody's.
    pub fenced: bool,
}

/// What is to be dispatched: `POST /v1/namespaces/{namespace}/dispatch`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dispatch {
    /// The tenant.
    pub worker: String,
    /// The cgroup that its processes are in, from the cgroup root or absolute.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cgroup: Option<PathBuf>,
    /// Instead: the cgroup that this process is in.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<u32>,
    /// Instead: the cgroup of this unit of the service manager.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub unit: Option<String>,
    /// The parameters that the namespace declares.
    #[serde(default)]
    pub outbound: Map<String, Value>,
}

impl Dispatch {
    /// The cgroup, where it is named in exactly one way.
    pub fn place(&self) -> Option<Cgroup> {
        one_place(self.cgroup.as_ref(), self.pid, self.unit.as_ref())
    }
}

/// A cgroup that is named in exactly one way.
fn one_place(cgroup: Option<&PathBuf>, pid: Option<u32>, unit: Option<&String>) -> Option<Cgroup> {
    let named = [
        cgroup.cloned().map(Cgroup::Cgroup),
        pid.map(Cgroup::Pid),
        unit.cloned().map(Cgroup::Unit),
    ];
    let mut named = named.into_iter().flatten();
    named.next().filter(|_| named.next().is_none())
}

/// A dispatch: `GET` and `DELETE /v1/namespaces/{namespace}/dispatch/{id}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Dispatched {
    /// Its name.
    pub id: String,
    /// The tenant.
    pub worker: String,
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// The cgroup's id.
    pub cgroup_id: u64,
    /// The parameters, as they were given.
    pub outbound: Map<String, Value>,
    /// How many sockets of before were ended, where it was just made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cut: Option<usize>,
    /// How many this kernel cannot end; nothing leaves them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub left: Option<usize>,
}

/// What is dispatched: `GET /v1/namespaces/{namespace}/dispatch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DispatchList {
    /// In the order in which it was.
    pub dispatches: Vec<Dispatched>,
}

/// A network namespace that a tenant's process is about to start in:
/// `POST /v1/tenants/{name}/namespaces`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Namespace {
    /// The process that holds it open, as the agent counts.
    pub pid: u32,
    /// The descriptor by which it does.
    pub fd: u32,
}

/// The agent listens in a network namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listens {
    /// On this port of its loopback interface.
    pub port: u16,
}

/// Every tenant: `GET /v1/tenants`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TenantList {
    /// In the order of their names.
    pub tenants: Vec<TenantView>,
}

/// The agent lives: `GET /healthz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Always `ok`: who is not well does not answer.
    pub status: String,
}

impl Default for Health {
    fn default() -> Self {
        Self {
            status: "ok".to_owned(),
        }
    }
}

/// Whether tenants are served: `GET /readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ready {
    /// Whether they are.
    pub ready: bool,
    /// What is waited for.
    pub waiting_for: Vec<String>,
}

/// Every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What is wrong, for a person.
    pub error: String,
    /// Each thing that is wrong with the configuration, where it was to be reloaded.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub problems: Vec<ConfigProblem>,
}
