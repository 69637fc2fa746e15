//! The network namespaces that workloads live in: entered once, listened in, served from outside.
//!
//! Until the agent listens in a namespace the kernel refuses what its workloads ask for, with
//! ENETUNREACH. It listens as soon as a tenant's process is seen there, holds the namespace by
//! nothing but its listeners, and closes them with the last process.
//!
//! Which namespaces: those that the workload was put in. A namespace that the workload made
//! itself, in a user namespace of its own, is left as unconnected as it would be without us: it
//! is how sandboxes (bubblewrap, a build's steps) take the network away, and every one of them
//! would cost the agent two descriptors. So a namespace is served where its owner is the agent's
//! own user namespace, or where an operator has named one of its processes. Serving others would
//! not mix up tenants (identity is the socket's stamp, whatever the namespace), only surprise them.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use tracing::{debug, warn};

use crate::model::tenant::CgroupId;
use crate::redirect::{self, Listeners};
use crate::server::{Listening, Server};
use crate::sys;

mod error;
mod process;

pub use error::Error;

/// The namespaces that the agent listens in, its own aside.
pub struct Namespaces {
    server: Server,
    listeners: Listeners,
    cgroup_root: PathBuf,
    own: u64,
    own_user: u64,
    served: Mutex<HashMap<u64, Namespace>>,
    inherited: Mutex<HashSet<u64>>,
    complained: Mutex<HashSet<CgroupId>>,
}

/// A cgroup that is a tenant's.
#[derive(Clone, Copy, Debug)]
pub struct Home<'a> {
    /// Its id.
    pub cgroup: CgroupId,
    /// Its directory.
    pub directory: &'a Path,
}

/// Whether a namespace is one that a workload was put in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Where its owner is the agent's own user namespace, or an agent served it before.
    Owner,
    /// An operator says so.
    Said,
}

/// One that is served.
struct Namespace {
    _listening: Listening,
    cookie: u64,
    cgroups: BTreeSet<CgroupId>,
    witness: Witness,
}

/// Why a namespace is still served.
#[derive(Clone, Copy)]
enum Witness {
    /// This process or thread was seen in it.
    Seen(u32),
    /// Somebody is about to start a process in it.
    Expected(Instant),
}

/// How long a namespace waits for the first process in it.
const EXPECTED: Duration = Duration::from_secs(10);
/// What one cgroup may cost: two descriptors and a map entry each.
const MAX_PER_CGROUP: usize = 1024;

impl Namespaces {
    /// Serves none yet.
    pub fn new(server: Server, listeners: Listeners, cgroup_root: PathBuf) -> Result<Self, Error> {
        let inherited = listeners.cookies()?.into_iter().collect();
        Ok(Self {
            server,
            listeners,
            cgroup_root,
            own: inode_of(Path::new("/proc/self/ns/net"))?,
            own_user: inode_of(Path::new("/proc/self/ns/user"))?,
            served: Mutex::default(),
            inherited: Mutex::new(inherited),
            complained: Mutex::default(),
        })
    }

    /// How many are served.
    pub fn count(&self) -> usize {
        self.served().len()
    }

    /// Serves the namespace of every process in a tenant's cgroup and below. What does not
    /// succeed is logged, and tried again at the next look. Blocks.
    pub fn look_at_cgroup(&self, home: Home<'_>, trust: Trust) {
        for pid in process::all_in(home.directory) {
            self.look_at(pid, home, trust);
        }
    }

    /// Serves the namespaces of a process of which the kernel says that it found no listener.
    /// Blocks.
    pub fn look_at_process(&self, pid: u32, home: Home<'_>) {
        for thread in process::threads(pid) {
            self.look_at(thread, home, Trust::Owner);
        }
    }

    fn look_at(&self, pid: u32, home: Home<'_>, trust: Trust) {
        match self.serve_process(pid, home, trust) {
            Ok(()) => {}
            // It has ended meanwhile.
            Err(Error::Look { source, .. }) if is_gone(&source) => {}
            // Said once per cgroup, as it is tried again and again.
            Err(error) if self.complained().insert(home.cgroup) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                warn!(%error, cause, pid, cgroup.id = %home.cgroup, "network namespace not served");
            }
            Err(_said_before) => {}
        }
    }

    fn serve_process(&self, pid: u32, home: Home<'_>, trust: Trust) -> Result<(), Error> {
        let path = process::netns(pid);
        let inode = inode_of(&path)?;
        if inode == self.own {
            return Ok(());
        }
        let witness = match trust {
            Trust::Owner => Witness::Seen(pid),
            // The cgroup is about to be a tenant's.
            Trust::Said => Witness::Expected(Instant::now() + EXPECTED),
        };
        let netns = File::open(&path).map_err(|source| Error::Look { path, source })?;
        // Another process may have got the number since the cgroup was read.
        if !self.is_in(pid, home.directory) {
            return Ok(());
        }
        self.hold(netns.as_fd(), home, trust, witness)
    }

    /// Serves a namespace that a tenant's first process is about to start in: the descriptor
    /// `fd` of the process `pid`. Blocks.
    pub fn expect(&self, pid: u32, fd: u32, home: Home<'_>) -> Result<(), Error> {
        let path = PathBuf::from(format!("/proc/{pid}/fd/{fd}"));
        let netns = process::open_namespace(&path)?;
        let witness = Witness::Expected(Instant::now() + EXPECTED);
        self.hold(netns.as_fd(), home, Trust::Said, witness)
    }

    /// Serves a namespace that is not served, and notes who lives there.
    fn hold(
        &self,
        netns: BorrowedFd<'_>,
        home: Home<'_>,
        trust: Trust,
        witness: Witness,
    ) -> Result<(), Error> {
        let inode = inode(netns).map_err(|source| Error::Enter { inode: 0, source })?;
        if inode == self.own {
            return Ok(());
        }
        let mut served = self.served();
        if let Some(namespace) = served.get_mut(&inode) {
            namespace.witness = witness;
            namespace.cgroups.insert(home.cgroup);
            return Ok(());
        }
        let of_cgroup = |one: &&Namespace| one.cgroups.contains(&home.cgroup);
        if served.values().filter(of_cgroup).count() >= MAX_PER_CGROUP {
            return Err(Error::TooMany);
        }
        let Some((cookie, listening)) = self.enter(netns, inode, trust)? else {
            debug!(netns = inode, cgroup.id = %home.cgroup, "a workload's own namespace is left alone");
            return Ok(());
        };
        // The kernel is told last.
        self.listeners.listen(cookie, listening.entry())?;
        debug!(netns = inode, cgroup.id = %home.cgroup, "listening in a network namespace");
        let namespace = Namespace {
            _listening: listening,
            cookie,
            cgroups: BTreeSet::from([home.cgroup]),
            witness,
        };
        served.insert(inode, namespace);
        Ok(())
    }

    /// Listens in a namespace and gives its cookie; `None` where it is the workload's own making.
    fn enter(
        &self,
        netns: BorrowedFd<'_>,
        inode: u64,
        trust: Trust,
    ) -> Result<Option<(u64, Listening)>, Error> {
        let is_workloads = trust == Trust::Said || self.is_owned_by_us(netns);
        if !is_workloads && self.inherited().is_empty() {
            return Ok(None);
        }
        let listened = sys::within_netns(netns, || -> Result<_, Error> {
            let failed = |source| Error::Enter { inode, source };
            let cookie = cookie_here().map_err(failed)?;
            if !is_workloads && !self.inherited().contains(&cookie) {
                return Ok(None);
            }
            sys::bring_loopback_up().map_err(|source| Error::Loopback { inode, source })?;
            let ports = self.server.ports();
            if let Err(error) = redirect::reserved::reserve(&ports) {
                debug!(%error, netns = inode, "cannot reserve the agent's ports");
            }
            let listening = self.server.listen();
            let listening = listening.map_err(|source| Error::Listen { inode, source })?;
            Ok(Some((cookie, listening)))
        });
        listened.map_err(|source| Error::Enter { inode, source })?
    }

    /// Leaves the namespaces in which no process of a tenant is left. Blocks.
    pub fn leave_empty(&self, homes: &HashMap<CgroupId, Arc<Path>>) {
        self.complained()
            .retain(|cgroup| homes.contains_key(cgroup));
        let mut served = self.served();
        let now = Instant::now();
        served.retain(|inode, namespace| {
            if self.has_process(*inode, namespace, homes, now) {
                return true;
            }
            // The kernel is told first: no connect is sent to a listener that is closing.
            if let Err(error) = self.listeners.unlisten(namespace.cookie) {
                warn!(%error, netns = inode, "cannot take a network namespace's entry away");
                return true;
            }
            debug!(netns = inode, "left a network namespace");
            false
        });
    }

    /// Takes the entries of namespaces away that an earlier agent served and that have not been
    /// found again. Called once, after the first look at every tenant.
    pub fn forget_inherited(&self, own_cookie: u64) -> Result<(), Error> {
        let served = self.served();
        let known: HashSet<u64> = served.values().map(|namespace| namespace.cookie).collect();
        for cookie in std::mem::take(&mut *self.inherited()) {
            if cookie != own_cookie && !known.contains(&cookie) {
                self.listeners.unlisten(cookie)?;
            }
        }
        Ok(())
    }

    /// Whether the witness still stands, or another is found in the cgroups that were seen there.
    fn has_process(
        &self,
        inode: u64,
        namespace: &mut Namespace,
        homes: &HashMap<CgroupId, Arc<Path>>,
        now: Instant,
    ) -> bool {
        let is_there = |pid, directory: &Path| {
            inode_of(&process::netns(pid)).is_ok_and(|found| found == inode)
                && self.is_in(pid, directory)
        };
        let cgroups = &mut namespace.cgroups;
        let directories = |cgroups: &BTreeSet<CgroupId>| {
            let found = cgroups.iter().filter_map(|cgroup| homes.get(cgroup));
            found.map(Arc::clone).collect::<Vec<_>>()
        };
        match namespace.witness {
            Witness::Expected(until) if now < until => return true,
            Witness::Seen(pid) if directories(cgroups).iter().any(|home| is_there(pid, home)) => {
                return true;
            }
            Witness::Expected(_) | Witness::Seen(_) => {}
        }
        cgroups.retain(|cgroup| homes.contains_key(cgroup));
        let found = directories(cgroups).into_iter().find_map(|home| {
            let mut pids = process::all_in(&home).into_iter();
            pids.find(|pid| is_there(*pid, &home))
        });
        if let Some(pid) = found {
            namespace.witness = Witness::Seen(pid);
        }
        found.is_some()
    }

    /// Whether a process is in a cgroup or below it.
    fn is_in(&self, pid: u32, directory: &Path) -> bool {
        redirect::cgroup_of(pid, &self.cgroup_root).is_ok_and(|own| own.starts_with(directory))
    }

    fn is_owned_by_us(&self, netns: BorrowedFd<'_>) -> bool {
        // What is outside of our own user namespace is not ours: EPERM.
        sys::owner_of_namespace(netns)
            .and_then(|owner| inode(&owner))
            .is_ok_and(|owner| owner == self.own_user)
    }

    fn served(&self) -> MutexGuard<'_, HashMap<u64, Namespace>> {
        locked(&self.served)
    }

    fn inherited(&self) -> MutexGuard<'_, HashSet<u64>> {
        locked(&self.inherited)
    }

    fn complained(&self) -> MutexGuard<'_, HashSet<CgroupId>> {
        locked(&self.complained)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The cookie of the namespace that the calling thread is in.
fn cookie_here() -> io::Result<u64> {
    let (family, kind) = (AddressFamily::Inet, SockType::Datagram);
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    sys::netns_cookie(socket.as_fd())
}

fn inode_of(path: &Path) -> Result<u64, Error> {
    let found = std::fs::metadata(path).map_err(|source| Error::Look {
        path: path.to_owned(),
        source,
    })?;
    Ok(found.ino())
}

fn inode(file: impl AsFd) -> io::Result<u64> {
    Ok(nix::sys::stat::fstat(file)?.st_ino)
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound)
        || error.raw_os_error() == Some(nix::libc::ESRCH)
}
