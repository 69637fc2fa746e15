//! Cgroups that operators give to tenants, and take back, while the agent runs.
//!
//! A cgroup below a watched parent stays fenced when it is nobody's again: what is below that
//! parent has an owner or no egress. Any other cgroup gets its own set of links with the
//! assignment, and is free without it.

use std::path::Path;
use std::sync::Arc;

use super::place::{Named, Place};
use super::state::{Kept, Lease};
use super::{Assignments, Error, Homes, enrolment};
use crate::model::tenant::{CgroupId, Tenant, TenantId};
use crate::redirect::{self, Cut};

/// What an assignment or its end has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Whose the cgroup is, or was; none where the configuration had lost that tenant.
    pub tenant: Option<TenantId>,
    /// Which one.
    pub place: Place,
    /// What was connected before.
    pub cut: Cut,
    /// Whether the cgroup has no egress while it is nobody's.
    pub is_fenced: bool,
}

impl Assignments {
    /// Makes a cgroup a tenant's from its next connect on, also after a restart of the agent.
    /// What it had connected before is ended. Blocks.
    pub fn assign(&mut self, place: Place, tenant: &str) -> Result<Leased, Error> {
        let tenant = self.may_assign(&place, tenant)?;
        let cut = match self.tenant_of(place.id) {
            Some(_itself) => self.keep(place.id)?,
            None => self.enrol(&place, &tenant, false)?,
        };
        Ok(Leased {
            tenant: Some(tenant),
            is_fenced: self.is_within_another(&place.directory),
            place,
            cut,
        })
    }

    /// Whether a cgroup may be made a tenant's, or is already. Gives the tenant's name.
    pub fn may_assign(&self, place: &Place, tenant: &str) -> Result<TenantId, Error> {
        let cgroup = || place.directory.clone();
        let name = || tenant.to_owned();
        let spec = self.tenant(tenant);
        let tenant = &spec
            .ok_or_else(|| Error::NoTenant { name: name() })?
            .tenant
            .id;
        if redirect::own_cgroup(&self.root)?.starts_with(&place.directory) {
            return Err(Error::OwnCgroup { cgroup: cgroup() });
        }
        let holder = self.tenant_of(place.id);
        match holder.filter(|holder| holder.id != *tenant) {
            None => Ok(tenant.clone()),
            Some(holder) => Err(Error::Taken {
                cgroup: cgroup(),
                tenant: holder.id.clone(),
            }),
        }
    }

    /// What a dispatch alone has made a tenant's is the tenant's from now on without it as well.
    fn keep(&mut self, cgroup: CgroupId) -> Result<Cut, Error> {
        let lease = self.leases.get_mut(&cgroup);
        if lease.is_some_and(|lease| std::mem::take(&mut lease.for_dispatch)) {
            self.save()?;
        }
        Ok(Cut::default())
    }

    pub(super) fn enrol(
        &mut self,
        place: &Place,
        tenant: &TenantId,
        for_dispatch: bool,
    ) -> Result<Cut, Error> {
        let lease = Lease {
            tenant: tenant.to_string(),
            cgroup: place.directory.clone(),
            cgroup_id: place.id.0,
            for_dispatch,
        };
        // First of all: should the agent die from here on, the next one knows whose this is.
        self.leases.insert(place.id, lease);
        let done = self.save().and_then(|()| self.admit_lease(place, tenant));
        if done.is_err() {
            self.withdraw(place)?;
            self.free(place)?;
        }
        done
    }

    fn admit_lease(&mut self, place: &Place, tenant: &TenantId) -> Result<Cut, Error> {
        self.fence(&place.directory)?;
        let strangers = || enrolment::cut_strangers(std::iter::once(&place.directory));
        let mut cut = strangers()?;
        if let Some(spec) = self.by_name.get(tenant).copied() {
            self.change(place.id, Some((spec, &place.directory)));
            self.admit(place.id, &place.directory, spec)?;
        }
        if self.is_within_another(&place.directory) {
            // Made in between, they have the stamp of the tenant around.
            cut.add(strangers()?);
        }
        Ok(cut)
    }

    /// Takes a cgroup back that was assigned, from its next connect on. Blocks.
    pub fn unassign(&mut self, place: Place) -> Result<Leased, Error> {
        let Some(tenant) = self.claimant(place.id) else {
            return self.release(place);
        };
        let configured = self.tenant(tenant.as_str());
        if configured.is_some_and(|spec| self.is_configured(spec, &place.directory)) {
            return Err(Error::Configured {
                cgroup: place.directory,
                tenant,
            });
        }
        self.withdraw(&place)?;
        let is_fenced = self.is_within_another(&place.directory);
        let cut = if is_fenced {
            // Nothing leaves these sockets any more; their owners should be told at once.
            enrolment::cut_strangers(std::iter::once(&place.directory))?
        } else {
            Cut::default()
        };
        self.free(&place)?;
        Ok(Leased {
            tenant: Some(tenant),
            place,
            cut,
            is_fenced,
        })
    }

    /// Whose a cgroup is, also where the configuration does not have that tenant any more.
    fn claimant(&self, cgroup: CgroupId) -> Option<TenantId> {
        let published = self.tenant_of(cgroup).map(|tenant| tenant.id.clone());
        let lease = self.leases.get(&cgroup);
        published.or_else(|| TenantId::new(&lease?.tenant))
    }

    /// Frees a cgroup that is nobody's and fenced all the same, because the configuration has
    /// lost its tenant.
    fn release(&mut self, place: Place) -> Result<Leased, Error> {
        if self.is_within_another(&place.directory) || !self.redirect.has_fenced(&place.directory) {
            return Err(Error::NotAssigned {
                cgroup: place.directory,
            });
        }
        self.free(&place)?;
        Ok(Leased {
            tenant: None,
            place,
            cut: Cut::default(),
            is_fenced: false,
        })
    }

    /// Forgets an assignment, in the file, in the kernel and in the agent.
    pub(super) fn withdraw(&mut self, place: &Place) -> Result<(), Error> {
        self.leases.remove(&place.id);
        self.dispatches.remove(&place.id);
        self.save()?;
        self.revoke(place.id)?;
        self.change(place.id, None);
        Ok(())
    }

    /// Changes one entry of what the other parts of the agent see.
    pub(super) fn change(&self, cgroup: CgroupId, holder: Option<(usize, &Path)>) {
        let mut homes = Homes::clone(&self.homes.borrow());
        let snapshot = self.snapshot.load();
        let others = snapshot.iter().filter(|(id, _)| *id != cgroup);
        let others = others.map(|(id, tenant)| (id, Arc::clone(tenant)));
        homes.remove(&cgroup);
        homes.extend(holder.map(|(_, directory)| (cgroup, Arc::from(directory))));
        let holder = holder.map(|(spec, _)| (cgroup, self.holder(cgroup, spec)));
        self.publish(others.chain(holder).collect(), homes);
    }

    /// Takes the links off a cgroup that has its own.
    pub(super) fn free(&mut self, place: &Place) -> Result<(), Error> {
        if !self.is_covered(&place.directory) {
            self.redirect.unwatch(&place.directory)?;
        }
        Ok(())
    }

    /// Whether the programs of a cgroup above hold for this one as well.
    pub(super) fn is_within_another(&self, directory: &Path) -> bool {
        let is_above = |home: &Arc<Path>| directory != &**home && directory.starts_with(home);
        self.is_covered(directory) || self.homes.borrow().values().any(is_above)
    }

    /// Which cgroup is meant.
    pub fn find(&self, named: &Named) -> Result<Place, Error> {
        named.find(&self.root)
    }

    /// Whose the processes in a cgroup are: the innermost assigned cgroup's, as in the kernel.
    pub fn holder_of(&self, place: &Place) -> Result<(CgroupId, Arc<Tenant>), Error> {
        let homes = self.homes.borrow();
        let above = homes.iter();
        let above = above.filter(|(_, home)| place.directory.starts_with(home));
        let innermost = above.max_by_key(|(_, home)| home.components().count());
        let holder = innermost.and_then(|(id, _)| Some((*id, self.tenant_of(*id)?)));
        holder.ok_or_else(|| Error::Nobodys {
            path: place.directory.clone(),
        })
    }

    /// Every cgroup that operators have assigned.
    pub fn leases(&self) -> impl Iterator<Item = CgroupId> {
        self.leases.keys().copied()
    }

    pub(super) fn save(&self) -> Result<(), Error> {
        let mut assignments: Vec<Lease> = self.leases.values().cloned().collect();
        assignments.sort_by(|one, other| one.cgroup.cmp(&other.cgroup));
        self.state.save(Kept {
            assignments,
            dispatches: self.bound(),
        })
    }
}
