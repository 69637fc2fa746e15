//! Why a network namespace is not served.

use std::io;
use std::path::PathBuf;

use super::MAX_PER_CGROUP;
use crate::redirect;
use crate::server;

/// Why a namespace is not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be looked at.
    #[error("cannot look at {path}; the agent needs CAP_SYS_PTRACE for other users' processes")]
    Look {
        /// Where.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It is something else.
    #[error("{path} is no network namespace")]
    NotANamespace {
        /// What was opened.
        path: PathBuf,
    },
    /// It cannot be entered.
    #[error("cannot enter the network namespace {inode}; the agent needs CAP_SYS_ADMIN")]
    Enter {
        /// Which one.
        inode: u64,
        /// What the system says.
        source: io::Error,
    },
    /// Its loopback interface stays down.
    #[error("cannot bring `lo` up in the network namespace {inode}")]
    Loopback {
        /// Which one.
        inode: u64,
        /// What the system says.
        source: io::Error,
    },
    /// The port is taken there.
    #[error("cannot listen in the network namespace {inode}")]
    Listen {
        /// Which one.
        inode: u64,
        /// Why.
        source: server::Error,
    },
    /// One tenant has too many.
    #[error("a cgroup has at most {MAX_PER_CGROUP} network namespaces")]
    TooMany,
    /// The kernel cannot be told.
    #[error(transparent)]
    Redirect(#[from] redirect::Error),
}
