//! Cgroups that operators give to tenants, and take back, while the agent runs.
//!
//! A cgroup below a watched parent stays fenced when it is nobody's again: what is below that
//! parent has an owner or no egress. Any other cgroup gets its own set of links with the
//! assignment, and is free without it.

use std::path::Path;
use std::sync::Arc;

use super::place::{Named, Place};
use super::state::Lease;
use super::{Assignments, Error, Homes, enrolment};
use crate::model::tenant::{CgroupId, TenantId};
use crate::redirect::{self, Cut};

/// What an assignment or its end has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// Whose the cgroup is, or was.
    pub tenant: TenantId,
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
            Some(_itself) => Cut::default(),
            None => self.enrol(&place, &tenant)?,
        };
        Ok(Leased {
            tenant,
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

    fn enrol(&mut self, place: &Place, tenant: &TenantId) -> Result<Cut, Error> {
        let lease = Lease {
            tenant: tenant.to_string(),
            cgroup: place.directory.clone(),
            cgroup_id: place.id.0,
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
        let cut = enrolment::cut_strangers(std::iter::once(&place.directory))?;
        if let Some(spec) = self.by_name.get(tenant).copied() {
            self.change(place.id, Some((spec, &place.directory)));
            self.admit(place.id, &place.directory, spec)?;
        }
        Ok(cut)
    }

    /// Takes a cgroup back that was assigned, from its next connect on. Blocks.
    pub fn unassign(&mut self, place: Place) -> Result<Leased, Error> {
        let Some(holder) = self.tenant_of(place.id) else {
            return Err(Error::NotAssigned {
                cgroup: place.directory,
            });
        };
        let tenant = holder.id.clone();
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
            tenant,
            place,
            cut,
            is_fenced,
        })
    }

    /// Forgets an assignment, in the file, in the kernel and in the agent.
    fn withdraw(&mut self, place: &Place) -> Result<(), Error> {
        self.leases.remove(&place.id);
        self.save()?;
        self.revoke(place.id)?;
        self.change(place.id, None);
        Ok(())
    }

    /// Changes one entry of what the other parts of the agent see.
    fn change(&self, cgroup: CgroupId, holder: Option<(usize, &Path)>) {
        let mut homes = Homes::clone(&self.homes.borrow());
        let snapshot = self.snapshot.load();
        let others = snapshot.iter().filter(|(id, _)| *id != cgroup);
        let others = others.map(|(id, tenant)| (id, Arc::clone(tenant)));
        homes.remove(&cgroup);
        homes.extend(holder.map(|(_, directory)| (cgroup, Arc::from(directory))));
        let holder = holder.map(|(spec, _)| (cgroup, Arc::clone(&self.specs[spec].tenant)));
        self.publish(others.chain(holder).collect(), homes);
    }

    /// Takes the links off a cgroup that has its own.
    fn free(&mut self, place: &Place) -> Result<(), Error> {
        if !self.is_covered(&place.directory) {
            self.redirect.unwatch(&place.directory)?;
        }
        Ok(())
    }

    /// Whether the programs of a cgroup above hold for this one as well.
    fn is_within_another(&self, directory: &Path) -> bool {
        let is_above = |home: &Arc<Path>| directory != &**home && directory.starts_with(home);
        self.is_covered(directory) || self.homes.borrow().values().any(is_above)
    }

    /// Which cgroup is meant.
    pub fn find(&self, named: &Named) -> Result<Place, Error> {
        named.find(&self.root)
    }

    /// Every cgroup that operators have assigned.
    pub fn leases(&self) -> impl Iterator<Item = CgroupId> {
        self.leases.keys().copied()
    }

    pub(super) fn save(&self) -> Result<(), Error> {
        let mut leases: Vec<Lease> = self.leases.values().cloned().collect();
        leases.sort_by(|one, other| one.cgroup.cmp(&other.cgroup));
        self.state.save(leases)
    }
}
