//! Which cgroups ought to be whose: by the configuration, its patterns and what operators said.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use tracing::warn;

use super::matched::{self, Matched};
use super::state::Lease;
use super::{Assignments, Error, is_cgroup, make_cgroup};
use crate::config::cgroups::Cgroups;
use crate::model::tenant::{CgroupId, TenantId};
use crate::redirect;

/// One cgroup as it ought to be.
pub(super) struct Wanted {
    pub(super) directory: Arc<Path>,
    pub(super) spec: usize,
}

impl Assignments {
    /// What the patterns match now. Says where else to look from now on.
    pub(super) fn matched(&mut self) -> Result<Matched, Error> {
        if self
            .specs
            .iter()
            .all(|spec| spec.cgroups.pattern().is_none())
        {
            return Ok(Matched::default());
        }
        let own = redirect::own_cgroup(&self.root)?;
        let matched = matched::find(&self.root, &self.specs, &own, &mut self.contested);
        self.nurseries.send_if_modified(|known| {
            let is_new = **known != matched.nurseries;
            if is_new {
                *known = Arc::new(matched.nurseries.clone());
            }
            is_new
        });
        Ok(matched)
    }

    /// What the configuration and the operators say, as far as it is there.
    pub(super) fn wanted(
        &mut self,
        matched: Matched,
        failure: &mut Option<Error>,
    ) -> HashMap<CgroupId, Wanted> {
        let mut wanted = HashMap::with_capacity(self.specs.len() + self.leases.len());
        for (id, (directory, spec)) in matched.cgroups {
            let directory = directory.into();
            wanted.insert(id, Wanted { directory, spec });
        }
        let (by_name, gone) = (&self.by_name, self.leases.len());
        self.leases.retain(|id, lease| {
            if !is_cgroup(&lease.cgroup, *id) {
                let cgroup = lease.cgroup.display();
                warn!(%cgroup, tenant = lease.tenant, "assignment dropped, its cgroup is gone");
                return false;
            }
            // Of a tenant that the configuration does not have, it waits without egress.
            let spec = TenantId::new(&lease.tenant).and_then(|name| by_name.get(&name).copied());
            if let Some(spec) = spec {
                let directory = Arc::from(&*lease.cgroup);
                wanted.insert(*id, Wanted { directory, spec });
            }
            true
        });
        if self.leases.len() != gone
            && let Err(error) = self.save()
        {
            failure.get_or_insert(error);
        }
        for (spec, configured) in self.specs.iter().enumerate() {
            let Cgroups::One(path) = &configured.cgroups else {
                continue;
            };
            let directory = self.root.join(path);
            match make_cgroup(&directory) {
                Ok(id) => {
                    let directory = directory.into();
                    wanted.insert(id, Wanted { directory, spec });
                }
                Err(source) => {
                    let tenant = configured.tenant.id.clone();
                    let path = directory;
                    failure.get_or_insert(Error::Cgroup {
                        tenant,
                        path,
                        source,
                    });
                }
            }
        }
        wanted
    }

    /// Whether the configuration has the tenant of an assignment.
    fn has_tenant(&self, lease: &Lease) -> bool {
        self.tenant(&lease.tenant).is_some()
    }

    /// Says which assignments are of tenants that the configuration does not have.
    pub(super) fn tell_of_orphans(&self) {
        for lease in self.leases.values().filter(|lease| !self.has_tenant(lease)) {
            let (cgroup, tenant) = (lease.cgroup.display(), &lease.tenant);
            warn!(%cgroup, tenant, "assigned to a tenant that the configuration does not have: no egress until it has, or until `outbound unassign`");
        }
    }

    /// Whether every cgroup that was published is still there, and none is missing.
    pub(super) fn is_true(&self, matched: &Matched) -> bool {
        let homes = self.homes.borrow();
        let by_path = |cgroups: &Cgroups| cgroups.pattern().is_none();
        let configured = self
            .specs
            .iter()
            .filter(|spec| by_path(&spec.cgroups))
            .count();
        let mut by_pattern = matched.cgroups.keys();
        let held = self.leases.values().filter(|lease| self.has_tenant(lease));
        let wanted = configured
            + held.count()
            + by_pattern
                .clone()
                .filter(|id| {
                    let lease = self.leases.get(id);
                    lease.is_none_or(|lease| !self.has_tenant(lease))
                })
                .count();
        wanted == homes.len()
            && wanted == self.in_kernel.len()
            && by_pattern.all(|id| homes.contains_key(id))
            && homes
                .iter()
                .all(|(id, directory)| is_cgroup(directory, *id))
    }
}
