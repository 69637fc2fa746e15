//! Why tenants are not assigned.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::model::tenant::TenantId;
use crate::model::worker::ParameterError;
use crate::redirect;

/// Why tenants could not be assigned.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cgroup's directory.
    #[error("cannot make the cgroup {path} of tenant {tenant}")]
    Cgroup {
        /// Whose.
        tenant: TenantId,
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A watched parent's directory.
    #[error("cannot make the watched cgroup {path}")]
    Watched {
        /// Where.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// More tenants than there are loopback networks for them.
    #[error(
        "there are more cgroups than the {} that one host can serve",
        outbound_common::tenant::SLOTS
    )]
    Slots,
    /// What was connected before cannot be ended.
    #[error("cannot end what was connected before the assignment")]
    Strangers {
        /// The system's answer.
        source: io::Error,
    },
    /// The configuration does not have it.
    #[error("there is no tenant {name}")]
    NoTenant {
        /// As asked for.
        name: String,
    },
    /// It has a pattern, and no cgroup of its own.
    #[error(
        "tenant {tenant} has the cgroups that match {pattern}, none to run a command in; name one \
         with `outbound assign`"
    )]
    OnlyPattern {
        /// Whose.
        tenant: TenantId,
        /// In the configuration.
        pattern: String,
    },
    /// A path that leads elsewhere.
    #[error("{path} is not below the cgroup root {root}")]
    Outside {
        /// As asked for.
        path: PathBuf,
        /// The root.
        root: PathBuf,
    },
    /// Nothing is there.
    #[error("there is no cgroup {path}")]
    NoCgroup {
        /// Where it would be.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// Neither it nor a cgroup above it is a tenant's.
    #[error("{path} is no tenant's; `outbound tenants` lists the cgroups that are")]
    Nobodys {
        /// Where it is.
        path: PathBuf,
    },
    /// The kernel side would not find it.
    #[error("{path} is more than 16 levels below the cgroup root")]
    TooDeep {
        /// Where it is.
        path: PathBuf,
    },
    /// No such process.
    #[error("there is no process {pid}")]
    NoProcess {
        /// As asked for.
        pid: u32,
    },
    /// No such unit, or it does not run.
    #[error("no unit {unit} is running")]
    NoUnit {
        /// As asked for.
        unit: String,
    },
    /// Two units of one name.
    #[error("{unit} may be {one} or {other}; name the cgroup instead")]
    Ambiguous {
        /// As asked for.
        unit: String,
        /// One.
        one: PathBuf,
        /// Another.
        other: PathBuf,
    },
    /// The agent would redirect itself.
    #[error("the agent itself runs in {cgroup}")]
    OwnCgroup {
        /// The cgroup.
        cgroup: PathBuf,
    },
    /// Somebody else has it.
    #[error("{cgroup} is tenant {tenant}'s; unassign it first")]
    Taken {
        /// The cgroup.
        cgroup: PathBuf,
        /// Whose it is.
        tenant: TenantId,
    },
    /// It stands in the configuration.
    #[error("{cgroup} is tenant {tenant}'s by the configuration; change it there")]
    Configured {
        /// The cgroup.
        cgroup: PathBuf,
        /// Whose it is.
        tenant: TenantId,
    },
    /// Nobody has it.
    #[error("{cgroup} is not assigned")]
    NotAssigned {
        /// The cgroup.
        cgroup: PathBuf,
    },
    /// The configuration does not have it.
    #[error("there is no dispatch namespace {name}")]
    NoNamespace {
        /// As asked for.
        name: String,
    },
    /// The namespace has no such tenant.
    #[error("Worker not found: dispatch namespace {namespace} has no tenant {worker}")]
    NoWorker {
        /// As asked for.
        worker: String,
        /// Where.
        namespace: Arc<str>,
    },
    /// What was given is not what is declared.
    #[error(transparent)]
    Parameters(#[from] ParameterError),
    /// A tenant has enough of them.
    #[error("tenant {tenant} has {most} dispatches; end one first")]
    TooMany {
        /// Whose.
        tenant: TenantId,
        /// The most that it may have.
        most: usize,
    },
    /// It has ended, or never was.
    #[error("dispatch namespace {namespace} has no dispatch {id}")]
    NoDispatch {
        /// As asked for.
        id: String,
        /// Where.
        namespace: Arc<str>,
    },
    /// The file of assignments.
    #[error("cannot {action} {path}")]
    State {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The kernel side.
    #[error(transparent)]
    Redirect(#[from] redirect::Error),
}
