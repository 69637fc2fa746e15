//! The kernel side, as the agent has it: loads or adopts the pinned programs and maps, says which
//! cgroups are whose and where the agent listens, and reads flows, refusals and counters.
//!
//! Programs and maps are pinned and outlive the agent: while it is away the workloads of watched
//! cgroups have no egress. [`detach`] alone takes them off.

mod error;
mod host;
mod load;
mod attach;
mod pins;
mod listeners;
mod others;
mod flows;
mod pending;
mod refusals;
pub mod reserved;
mod sockets;

use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray};
use aya_log::EbpfLogger;
use outbound_common::names::map;
use outbound_common::tenant::{self, SLOTS};
use outbound_common::{Counter, ListenerEntry, TenantEntry};

use crate::model::tenant::CgroupId;
use crate::sys;

pub use error::Error;
pub use flows::KernelFlows;
pub use host::{
    AGENTS_CGROUP, DirectoryLock, cgroup_of, cgroup_root, check_kernel, hold, leave_root,
    missing_capabilities, own_cgroup, release,
};
pub use listeners::Listeners;
pub use load::Features;
pub use others::{Exclusive, Runs, SharedHook, exclusive, shared};
pub use pins::{Attachment, attachments, detach};
pub use refusals::Refusals;
pub use sockets::{Cut, Strangers, cut};

use pending::Pending;

/// Where things are on this host.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory below a bpffs for what is pinned.
    pub pin_dir: PathBuf,
    /// Mount point of the cgroup v2 hierarchy, see [`cgroup_root`].
    pub cgroup_root: PathBuf,
}

/// The loaded kernel side. One process at a time holds it.
pub struct Redirect {
    settings: Settings,
    features: Features,
    object: Ebpf,
    tenants: Mutex<HashMap<MapData, u64, TenantEntry>>,
    levels: Mutex<Array<MapData, u32>>,
    /// Whether the cgroup root is the kernel's own.
    sees_all: bool,
    pending: Mutex<Pending>,
    _lock: DirectoryLock,
}

/// The id of the root of all cgroups.
const KERNELS_ROOT: u64 = 1;

/// Whether this process and this host have what [`Redirect::open`] needs; changes nothing.
pub fn check(settings: &Settings) -> Result<(), Error> {
    host::check_capabilities()?;
    check_kernel()?;
    host::check_cgroup_root(&settings.cgroup_root)
}

impl Redirect {
    /// Loads the object, or adopts what is pinned: maps are taken as they are, the programs of
    /// links are replaced at once.
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        check(settings)?;
        let lock = host::take_pin_dir(&settings.pin_dir)?;
        load::check_layout(&settings.pin_dir)?;
        let (object, features) = load::load(&settings.pin_dir)?;
        let levels = pinned(&settings.pin_dir, map::LEVELS)?;
        let levels = Array::try_from(aya::maps::Map::Array(levels));
        let levels = levels.map_err(map_error(map::LEVELS))?;
        let redirect = Self {
            tenants: open_map(&settings.pin_dir, map::TENANTS)?.into(),
            levels: levels.into(),
            sees_all: sys::cgroup_id(&settings.cgroup_root).is_ok_and(|id| id == KERNELS_ROOT),
            pending: Pending::open(&settings.pin_dir)?.into(),
            settings: settings.clone(),
            features,
            object,
            _lock: lock,
        };
        redirect.adopt()?;
        Ok(redirect)
    }

    /// What this kernel offers beyond the minimum.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Attaches the workload's programs to a cgroup: from now on the processes in it and below
    /// it reach nothing but the agent, and nothing at all until they are assigned.
    ///
    /// The path is absolute or starts at the cgroup root. Does nothing twice.
    pub fn watch(&mut self, cgroup: &Path) -> Result<(), Error> {
        let directory = self.cgroup_directory(cgroup);
        let own = own_cgroup(&self.settings.cgroup_root)?;
        if own.starts_with(&directory) {
            return Err(Error::OwnCgroup { cgroup: directory });
        }
        let group = self.group(&directory)?;
        self.attach(&group, &directory, attach::WORKLOAD)
    }

    /// Whether a cgroup has programs of its own.
    pub fn has_fenced(&self, cgroup: &Path) -> bool {
        let group = self.group(&self.cgroup_directory(cgroup));
        group.is_ok_and(|group| group.is_dir())
    }

    /// Takes the programs off a cgroup that was watched. Its processes are free once it is
    /// unassigned as well: until then the sentinel refuses them sockets without a stamp.
    pub fn unwatch(&mut self, cgroup: &Path) -> Result<(), Error> {
        match self.group(&self.cgroup_directory(cgroup)) {
            Ok(group) => pins::detach_group(&group),
            // Removed, and its links with it: clear away what they have left.
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                self.adopt()
            }
            Err(error) => Err(error),
        }
    }

    /// Clears away what a removed cgroup has left.
    pub fn forget(&mut self, cgroup: CgroupId) -> Result<(), Error> {
        pins::detach_group(&self.settings.pin_dir.join(format!("c{cgroup}")))
    }

    /// Attaches the agent's end of the hand-over to the cgroup that this process is in, and the
    /// sentinel to the cgroup root.
    pub fn guard_agent(&mut self) -> Result<(), Error> {
        let root = self.settings.cgroup_root.clone();
        let own = own_cgroup(&root)?;
        self.attach(&self.settings.pin_dir.join("agent"), &own, attach::AGENT)?;
        self.attach(
            &self.settings.pin_dir.join("sentinel"),
            &root,
            attach::SENTINEL,
        )
    }

    /// Says where the agent listens in a network namespace.
    pub fn listen(&self, netns_cookie: u64, entry: ListenerEntry) -> Result<(), Error> {
        self.listeners()?.listen(netns_cookie, entry)
    }

    /// Where the agent listens.
    pub fn listeners(&self) -> Result<Listeners, Error> {
        Listeners::open(&self.settings.pin_dir)
    }

    /// Makes the cgroup of this directory a tenant's, from the next socket on. Cgroups deeper
    /// than 16 levels below the root are not found by the kernel side: they stay without egress.
    pub fn assign(
        &self,
        cgroup: CgroupId,
        directory: &Path,
        slot: u32,
        flags: u32,
    ) -> Result<(), Error> {
        if slot >= SLOTS {
            return Err(Error::Slot { slot });
        }
        self.look_at(self.level(directory))?;
        let entry = TenantEntry {
            cgroup: cgroup.0,
            slot,
            flags,
        };
        locked(&self.tenants)
            .insert(cgroup.0, entry, 0)
            .map_err(map_error(map::TENANTS))
    }

    /// Lets the kernel side look for tenants at these levels as well.
    fn look_at(&self, levels: u32) -> Result<(), Error> {
        let mut known = locked(&self.levels);
        let failed = map_error(map::LEVELS);
        let before = known.get(&0, 0).map_err(&failed)?;
        if before | levels != before {
            known.set(0, before | levels, 0).map_err(&failed)?;
        }
        Ok(())
    }

    /// The bit of the level that a cgroup lies at. Every bit where a path does not say: in a
    /// cgroup namespace, whose root is not the kernel's.
    fn level(&self, directory: &Path) -> u32 {
        let root = &self.settings.cgroup_root;
        match directory.strip_prefix(root) {
            Ok(path) if self.sees_all => tenant::level(path.components().count()),
            _ => tenant::LEVELS,
        }
    }

    /// Takes a cgroup's tenant away: nothing more leaves it, open connections included.
    pub fn unassign(&self, cgroup: CgroupId) -> Result<(), Error> {
        removed(locked(&self.tenants).remove(&cgroup.0)).map_err(map_error(map::TENANTS))?;
        Ok(())
    }

    /// Every assigned cgroup, also by an earlier agent.
    pub fn assigned(&self) -> Result<Vec<TenantEntry>, Error> {
        locked(&self.tenants)
            .iter()
            .map(|entry| entry.map(|(_cgroup, tenant)| tenant))
            .collect::<Result<_, _>>()
            .map_err(map_error(map::TENANTS))
    }

    /// Flows of accepted connections and received datagrams.
    pub fn flows(&self) -> Result<KernelFlows, Error> {
        KernelFlows::open(&self.settings.pin_dir)
    }

    /// Refusals, as they happen. One reader gets each.
    pub fn refusals(&self) -> Result<Refusals, Error> {
        Refusals::open(&self.settings.pin_dir)
    }

    /// What the kernel side has counted since it was first loaded.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, Error> {
        let data = pinned(&self.settings.pin_dir, map::COUNTERS)?;
        let cells = PerCpuArray::<_, u64>::try_from(aya::maps::Map::PerCpuArray(data))
            .map_err(map_error(map::COUNTERS))?;
        Counter::ALL
            .iter()
            .map(|&counter| {
                let values = cells.get(&(counter as u32), 0);
                let values = values.map_err(map_error(map::COUNTERS))?;
                Ok((counter, values.iter().sum()))
            })
            .collect()
    }

    /// Removes flows that nobody came for: datagrams, and connects whose socket outlived them.
    /// Gives their number.
    pub fn sweep(&self, older_than: Duration) -> Result<usize, Error> {
        locked(&self.pending).sweep(older_than)
    }

    /// How many flows are between a workload's socket and the agent's.
    pub fn pending(&self) -> usize {
        locked(&self.pending).count()
    }

    /// What the programs say of themselves, in an object that was built for development: a task
    /// that passes it on to the diagnostics until it is dropped.
    pub fn program_log(
        &mut self,
    ) -> Result<Option<impl Future<Output = ()> + Send + use<>>, Error> {
        let Ok(mut logger) = EbpfLogger::init(&mut self.object) else {
            return Ok(None);
        };
        let ring = logger.as_fd().try_clone_to_owned();
        let readable = ring
            .and_then(sys::readiness)
            .map_err(file_error("wait on the log of", &self.settings.pin_dir))?;
        Ok(Some(async move {
            while let Ok(mut ready) = readable.readable().await {
                ready.clear_ready();
                logger.flush();
            }
        }))
    }

    fn cgroup_directory(&self, cgroup: &Path) -> PathBuf {
        let root = &self.settings.cgroup_root;
        if cgroup.starts_with(root) {
            return cgroup.to_owned();
        }
        root.join(cgroup.strip_prefix("/").unwrap_or(cgroup))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // One system call is made under the lock; a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// To remove what is gone already is no failure. Gives whether it was there.
fn removed(result: Result<(), MapError>) -> Result<bool, MapError> {
    match result {
        Ok(()) => Ok(true),
        Err(MapError::KeyNotFound) => Ok(false),
        Err(MapError::SyscallError(error)) if error.io_error.kind() == io::ErrorKind::NotFound => {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

fn map_error(map: &'static str) -> impl Fn(MapError) -> Error {
    move |source| Error::Map { map, source }
}

fn file_error<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Error + 'a {
    move |source| Error::File {
        action,
        path: path.to_owned(),
        source,
    }
}

fn pinned(pin_dir: &Path, name: &'static str) -> Result<MapData, Error> {
    MapData::from_pin(pin_dir.join(name)).map_err(map_error(name))
}

fn open_map<K: aya::Pod, V: aya::Pod>(
    pin_dir: &Path,
    name: &'static str,
) -> Result<HashMap<MapData, K, V>, Error> {
    let data = pinned(pin_dir, name)?;
    HashMap::try_from(aya::maps::Map::HashMap(data)).map_err(map_error(name))
}
