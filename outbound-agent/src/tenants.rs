//! Keeps the snapshot of tenants true: what the configuration says, what operators have assigned
//! since, and which cgroups there are.
//!
//! The order is what makes it safe. Hooks are attached to a cgroup before the kernel is told
//! whose it is, so that until then everything in it is refused; what was connected before is
//! ended in between; and the agent's own snapshot is published before the kernel's, so that no
//! flow arrives that the agent cannot name.

mod slots;
mod place;
mod state;
mod enrolment;
pub mod events;
mod error;
mod lease;
mod dispatch;
mod shared;
mod matched;
mod wanted;
pub mod runs;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::config::TenantSpec;
use crate::config::cgroups::Cgroups;
use crate::model::tenant::{CgroupId, Tenant, TenantId, Tenants};
use crate::model::worker::Namespace;
use crate::redirect::{Cut, Redirect};
use crate::sys;

pub use dispatch::{Dispatched, Request};
pub use error::Error;
pub use lease::Leased;
pub use matched::Nurseries;
pub use place::{Named, Place};
pub use shared::Shared;

use dispatch::Dispatch;
use slots::Slots;
use state::{Kept, Lease, State};
use wanted::Wanted;

/// The directory of every cgroup that is a tenant's.
pub type Homes = HashMap<CgroupId, Arc<Path>>;

/// The tenants of this host, in the kernel and in the agent.
pub struct Assignments {
    redirect: Redirect,
    root: PathBuf,
    /// Directories whose links cover everything below them.
    parents: Vec<PathBuf>,
    specs: Vec<TenantSpec>,
    by_name: HashMap<TenantId, usize>,
    snapshot: Arc<ArcSwap<Tenants>>,
    homes: watch::Sender<Arc<Homes>>,
    nurseries: watch::Sender<Arc<Nurseries>>,
    /// Cgroups that patterns of two tenants match.
    contested: HashSet<PathBuf>,
    in_kernel: HashMap<CgroupId, Assigned>,
    slots: Slots,
    state: State,
    leases: HashMap<CgroupId, Lease>,
    dispatches: HashMap<CgroupId, Dispatch>,
    namespaces: Vec<Arc<Namespace>>,
    /// The configuration was replaced, and that was not published yet.
    is_stale: bool,
}

/// One cgroup as the kernel was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Assigned {
    slot: u32,
    flags: u32,
}

impl Assignments {
    /// Takes over the kernel side and what an earlier agent assigned there; nothing changes
    /// before [`Self::apply`].
    pub fn new(
        redirect: Redirect,
        root: PathBuf,
        specs: Vec<TenantSpec>,
        snapshot: Arc<ArcSwap<Tenants>>,
        state_dir: &Path,
    ) -> Result<Self, Error> {
        let in_kernel: HashMap<_, _> = redirect
            .assigned()?
            .into_iter()
            .map(|entry| {
                let (slot, flags) = (entry.slot, entry.flags);
                (CgroupId(entry.cgroup), Assigned { slot, flags })
            })
            .collect();
        let taken = in_kernel.values().map(|assigned| assigned.slot).collect();
        let state = State::within(state_dir);
        let Kept {
            assignments,
            dispatches,
        } = state.load()?;
        let leases = assignments.into_iter();
        let by_name = specs.iter().enumerate();
        let mut assignments = Self {
            redirect,
            root,
            parents: Vec::new(),
            by_name: by_name
                .map(|(index, spec)| (spec.tenant.id.clone(), index))
                .collect(),
            specs,
            snapshot,
            homes: watch::Sender::default(),
            nurseries: watch::Sender::default(),
            contested: HashSet::new(),
            slots: Slots::without(&taken),
            in_kernel,
            leases: leases
                .map(|lease| (CgroupId(lease.cgroup_id), lease))
                .collect(),
            dispatches: HashMap::new(),
            namespaces: Vec::new(),
            state,
            is_stale: false,
        };
        assignments.restore(dispatches);
        Ok(assignments)
    }

    /// Takes another configuration's tenants from now on, all at once, and [applies](Self::apply)
    /// that. What is nobody's any more stays fenced. What cannot be done now is tried again.
    pub fn replace(&mut self, specs: Vec<TenantSpec>, watch: &[PathBuf]) -> Result<Cut, Error> {
        let names = specs.iter().enumerate();
        self.by_name = names
            .map(|(index, spec)| (spec.tenant.id.clone(), index))
            .collect();
        self.specs = specs;
        self.is_stale = true;
        self.tell_of_orphans();
        let watched = watch.iter().try_for_each(|parent| self.watch(parent));
        let cut = self.apply()?;
        watched.map(|()| cut)
    }

    /// Fences a parent whose children are all to be tenants; it is made where it is not there.
    pub fn watch(&mut self, parent: &Path) -> Result<(), Error> {
        let directory = self.root.join(parent.strip_prefix("/").unwrap_or(parent));
        if self.parents.contains(&directory) {
            return Ok(());
        }
        make_cgroup(&directory).map_err(|source| Error::Watched {
            path: directory.clone(),
            source,
        })?;
        self.redirect.watch(&directory)?;
        self.parents.push(directory);
        Ok(())
    }

    /// Makes every tenant's cgroup, fences it, and says whose it is. Idempotent: called again,
    /// it finds cgroups that were removed and made anew. What one cgroup lacks keeps no other
    /// from being served.
    pub fn apply(&mut self) -> Result<Cut, Error> {
        let matched = self.matched()?;
        if !self.is_stale && self.is_true(&matched) {
            return Ok(Cut::default());
        }
        let mut failure = None;
        let mut wanted = self.wanted(matched, &mut failure);
        succeeded(self.renew_dispatches(&wanted), &mut failure);
        self.revoke_all_but(&wanted)?;
        let homes = Arc::clone(&self.homes.borrow());
        wanted.retain(|id, wanted| {
            if homes.contains_key(id) {
                return true;
            }
            match self.fence(&wanted.directory) {
                // It has come and gone.
                Err(_) if !is_cgroup(&wanted.directory, *id) => false,
                fenced => succeeded(fenced, &mut failure),
            }
        });
        let new = wanted
            .iter()
            .filter(|(id, _)| !self.in_kernel.contains_key(id));
        let cut = enrolment::cut_strangers(new.map(|(_, wanted)| &wanted.directory))?;
        self.publish(
            wanted
                .iter()
                .map(|(id, wanted)| (*id, self.holder(*id, wanted.spec)))
                .collect(),
            wanted
                .iter()
                .map(|(id, wanted)| (*id, Arc::clone(&wanted.directory)))
                .collect(),
        );
        self.is_stale = false;
        for (id, wanted) in wanted {
            succeeded(self.admit(id, &wanted.directory, wanted.spec), &mut failure);
        }
        failure.map_or(Ok(cut), Err)
    }

    /// Says whose every cgroup is, to the other parts of the agent.
    fn publish(&self, tenants: Tenants, homes: Homes) {
        self.snapshot.store(Arc::new(tenants));
        self.homes.send_replace(Arc::new(homes));
    }

    /// Attaches the programs to a cgroup, unless those of a parent do for it.
    fn fence(&mut self, directory: &Path) -> Result<(), Error> {
        if !self.is_covered(directory) {
            self.redirect.watch(directory)?;
        }
        Ok(())
    }

    /// The slots of the tenants whose connects wait for their upstreams.
    pub fn held_slots(&self) -> BTreeSet<u32> {
        let tenants = self.snapshot.load();
        let held = self.in_kernel.iter().filter(|(cgroup, _assigned)| {
            tenants
                .of(**cgroup)
                .is_some_and(|tenant| tenant.policy.true_errors)
        });
        held.map(|(_cgroup, assigned)| assigned.slot).collect()
    }

    /// Tells the kernel whose a cgroup is.
    fn admit(&mut self, cgroup: CgroupId, directory: &Path, spec: usize) -> Result<(), Error> {
        let flags = flags(&self.specs[spec]);
        let known = self.in_kernel.get(&cgroup).copied();
        if known.is_some_and(|known| known.flags == flags) {
            return Ok(());
        }
        let slot = match known {
            Some(known) => known.slot,
            None => self.slots.take().ok_or(Error::Slots)?,
        };
        self.redirect.assign(cgroup, directory, slot, flags)?;
        self.in_kernel.insert(cgroup, Assigned { slot, flags });
        Ok(())
    }

    /// Tells the kernel that a cgroup is nobody's.
    fn revoke(&mut self, cgroup: CgroupId) -> Result<(), Error> {
        self.redirect.unassign(cgroup)?;
        if let Some(assigned) = self.in_kernel.remove(&cgroup) {
            self.slots.give_back(assigned.slot);
        }
        Ok(())
    }

    /// Tells the kernel that what nobody wants is nobody's. A cgroup that is still there stays
    /// fenced.
    fn revoke_all_but(&mut self, wanted: &HashMap<CgroupId, Wanted>) -> Result<(), Error> {
        let homes = Arc::clone(&self.homes.borrow());
        let assigned: Vec<CgroupId> = self.in_kernel.keys().copied().collect();
        for cgroup in assigned {
            if wanted.contains_key(&cgroup) {
                continue;
            }
            self.revoke(cgroup)?;
            if let Some(directory) = homes.get(&cgroup)
                && !is_cgroup(directory, cgroup)
            {
                self.redirect.forget(cgroup)?;
            }
        }
        Ok(())
    }

    /// Whether the links of a watched parent do for this cgroup.
    fn is_covered(&self, directory: &Path) -> bool {
        self.parents
            .iter()
            .any(|parent| directory.starts_with(parent))
    }

    /// A tenant's configuration.
    pub fn tenant(&self, name: &str) -> Option<&TenantSpec> {
        let index = self.by_name.get(&TenantId::new(name)?)?;
        self.specs.get(*index)
    }

    /// The same, of a tenant who must be there.
    pub fn expect_tenant(&self, name: &str) -> Result<&TenantSpec, Error> {
        self.tenant(name).ok_or_else(|| Error::NoTenant {
            name: name.to_owned(),
        })
    }

    /// The directory of a tenant's configured cgroup; none where it has a pattern.
    pub fn directory(&self, spec: &TenantSpec) -> Option<PathBuf> {
        match &spec.cgroups {
            Cgroups::One(path) => Some(self.root.join(path)),
            Cgroups::Matching(_) => None,
        }
    }

    /// Whether the configuration gives a tenant this cgroup.
    fn is_configured(&self, spec: &TenantSpec, directory: &Path) -> bool {
        let Ok(path) = directory.strip_prefix(&self.root) else {
            return false;
        };
        match &spec.cgroups {
            Cgroups::One(configured) => configured == path,
            Cgroups::Matching(pattern) => pattern.matches(path),
        }
    }

    /// Whose an assigned cgroup is.
    pub fn tenant_of(&self, cgroup: CgroupId) -> Option<Arc<Tenant>> {
        self.snapshot.load().of(cgroup).map(Arc::clone)
    }

    /// Every tenant's configuration.
    pub fn specs(&self) -> &[TenantSpec] {
        &self.specs
    }

    /// Every assigned cgroup, and word of every change.
    pub fn homes(&self) -> watch::Receiver<Arc<Homes>> {
        self.homes.subscribe()
    }

    /// Where cgroups that patterns match may appear, and word of every change.
    pub fn nurseries(&self) -> watch::Receiver<Arc<Nurseries>> {
        self.nurseries.subscribe()
    }

    /// The kernel side.
    pub const fn redirect(&self) -> &Redirect {
        &self.redirect
    }
}

/// Keeps the first failure of many attempts; gives whether this one succeeded.
fn succeeded(attempt: Result<(), Error>, failure: &mut Option<Error>) -> bool {
    match attempt {
        Ok(()) => true,
        Err(error) => {
            failure.get_or_insert(error);
            false
        }
    }
}

fn is_cgroup(directory: &Path, id: CgroupId) -> bool {
    sys::cgroup_id(directory).is_ok_and(|found| found == id.0)
}

fn flags(spec: &TenantSpec) -> u32 {
    if spec.inbound {
        outbound_common::tenant::TENANT_INBOUND
    } else {
        0
    }
}

fn make_cgroup(path: &Path) -> io::Result<CgroupId> {
    let id = match sys::cgroup_id(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path)?;
            sys::cgroup_id(path)?
        }
        found => found?,
    };
    Ok(CgroupId(id))
}
