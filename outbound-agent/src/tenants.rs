//! Keeps the snapshot of tenants true: what the configuration says, and which cgroups there are.
//!
//! The order is what makes it safe. Hooks are attached to a cgroup before the kernel is told
//! whose it is, so that until then everything in it is refused; and the agent's own snapshot
//! is published before that too, so that no flow arrives that the agent cannot name.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;

use crate::config::TenantSpec;
use crate::model::tenant::{CgroupId, TenantId, Tenants};
use crate::redirect::{self, Redirect};
use crate::sys;

/// The tenants of this host, in the kernel and in the agent.
pub struct Assignments {
    redirect: Redirect,
    root: PathBuf,
    specs: Vec<TenantSpec>,
    snapshot: Arc<ArcSwap<Tenants>>,
    assigned: BTreeMap<CgroupId, Assigned>,
}

/// One cgroup as the kernel was told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Assigned {
    slot: u32,
    flags: u32,
}

/// Where a tenant's cgroup is, for whoever asks.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cgroup's directory.
    pub path: PathBuf,
    /// Its id, where the directory exists.
    pub id: Option<CgroupId>,
}

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
    /// More tenants than there are loopback networks for them.
    #[error("there are more tenants than the {slots} that one host can serve")]
    Slots {
        /// How many fit.
        slots: u32,
    },
    /// The kernel side.
    #[error(transparent)]
    Redirect(#[from] redirect::Error),
}

impl Assignments {
    /// Takes over the kernel side and what an earlier agent assigned there; nothing changes
    /// before [`Self::apply`].
    pub fn new(
        redirect: Redirect,
        root: PathBuf,
        specs: Vec<TenantSpec>,
        snapshot: Arc<ArcSwap<Tenants>>,
    ) -> Result<Self, Error> {
        let assigned = redirect
            .assigned()?
            .into_iter()
            .map(|entry| {
                (
                    CgroupId(entry.cgroup),
                    Assigned {
                        slot: entry.slot,
                        flags: entry.flags,
                    },
                )
            })
            .collect();
        Ok(Self {
            redirect,
            root,
            specs,
            snapshot,
            assigned,
        })
    }

    /// Makes every tenant's cgroup, fences it, and says whose it is. Idempotent: called again,
    /// it finds cgroups that were removed and made anew.
    pub fn apply(&mut self) -> Result<(), Error> {
        let mut found = Vec::with_capacity(self.specs.len());
        for spec in &self.specs {
            let path = self.root.join(&spec.cgroup);
            let id = make_cgroup(&path).map_err(|source| Error::Cgroup {
                tenant: spec.tenant.id.clone(),
                path: path.clone(),
                source,
            })?;
            found.push((id, path, spec));
        }
        let unchanged = found.len() == self.assigned.len()
            && found.iter().all(|(id, _, spec)| {
                self.assigned
                    .get(id)
                    .is_some_and(|known| known.flags == flags(spec))
            })
            && self.snapshot.load().iter().count() == found.len();
        if unchanged {
            return Ok(());
        }
        let gone: Vec<CgroupId> = self
            .assigned
            .keys()
            .filter(|known| !found.iter().any(|(id, ..)| id == *known))
            .copied()
            .collect();
        for cgroup in gone {
            self.redirect.unassign(cgroup)?;
            self.assigned.remove(&cgroup);
        }
        for (_, path, _) in &found {
            self.redirect.watch(path)?;
        }
        self.snapshot.store(Arc::new(
            found
                .iter()
                .map(|(id, _, spec)| (*id, Arc::clone(&spec.tenant)))
                .collect(),
        ));
        for (id, _, spec) in found {
            let slot = match self.assigned.get(&id) {
                Some(known) => known.slot,
                None => self.free_slot()?,
            };
            let flags = flags(spec);
            self.redirect.assign(id, slot, flags)?;
            self.assigned.insert(id, Assigned { slot, flags });
        }
        Ok(())
    }

    /// The slots of the tenants whose connects wait for their upstreams.
    pub fn held_slots(&self) -> BTreeSet<u32> {
        let tenants = self.snapshot.load();
        let held = self.assigned.iter().filter(|(cgroup, _assigned)| {
            tenants
                .of(**cgroup)
                .is_some_and(|tenant| tenant.policy.true_errors)
        });
        held.map(|(_cgroup, assigned)| assigned.slot).collect()
    }

    /// Where a tenant's workloads belong.
    pub fn place(&self, tenant: &str) -> Option<(&TenantSpec, Place)> {
        let spec = self
            .specs
            .iter()
            .find(|spec| spec.tenant.id.as_str() == tenant)?;
        let path = self.root.join(&spec.cgroup);
        let id = sys::cgroup_id(&path).ok().map(CgroupId);
        Some((spec, Place { path, id }))
    }

    /// Whose an assigned cgroup is.
    pub fn tenant_of(&self, cgroup: CgroupId) -> Option<TenantId> {
        self.snapshot
            .load()
            .of(cgroup)
            .map(|tenant| tenant.id.clone())
    }

    /// Every tenant's configuration.
    pub fn specs(&self) -> &[TenantSpec] {
        &self.specs
    }

    /// How many cgroups the kernel redirects.
    pub fn assigned(&self) -> usize {
        self.assigned.len()
    }

    /// The kernel side.
    pub const fn redirect(&self) -> &Redirect {
        &self.redirect
    }

    fn free_slot(&self) -> Result<u32, Error> {
        let taken: BTreeSet<u32> = self
            .assigned
            .values()
            .map(|assigned| assigned.slot)
            .collect();
        let slots = outbound_common::tenant::SLOTS;
        (0..slots)
            .find(|slot| !taken.contains(slot))
            .ok_or(Error::Slots { slots })
    }
}

fn flags(spec: &TenantSpec) -> u32 {
    if spec.inbound {
        outbound_common::tenant::TENANT_INBOUND
    } else {
        0
    }
}

fn make_cgroup(path: &Path) -> io::Result<CgroupId> {
    std::fs::create_dir_all(path)?;
    sys::cgroup_id(path).map(CgroupId)
}

/// Assignments that several parts of the agent ask and change.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Assignments>>);

impl Shared {
    /// Shares them.
    pub fn new(assignments: Assignments) -> Self {
        Self(Arc::new(Mutex::new(assignments)))
    }

    /// Asks or changes them. Never held across a wait.
    pub fn with<T>(&self, act: impl FnOnce(&mut Assignments) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
