//! Dispatches: the parameters that a tenant's processes in one cgroup have, as long as it is there.
//!
//! A dispatched cgroup becomes the tenant's in the steps of an assignment, unless it is already.
//! Whose parameters a socket has is decided with whose it is: by the innermost cgroup, in the
//! kernel, when it is made.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tracing::{info, warn};
use uuid::Uuid;

use super::place::Place;
use super::state::Bound;
use super::wanted::Wanted;
use super::{Assignments, Error, enrolment};
use crate::model::tenant::{CgroupId, Tenant, TenantId};
use crate::model::worker::{Namespace, Values};
use crate::redirect::Cut;

/// How many a tenant may have at once.
const MOST_PER_TENANT: usize = 1024;

/// What is to be dispatched.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The namespace.
    pub namespace: String,
    /// The tenant.
    pub worker: String,
    /// The parameters.
    pub outbound: Values,
}

/// What was dispatched.
#[derive(Clone, Debug, PartialEq)]
pub struct Dispatched {
    /// Its name.
    pub id: Arc<str>,
    /// Of whom.
    pub tenant: TenantId,
    /// Its cgroup's id.
    pub cgroup: CgroupId,
    /// Its cgroup's directory.
    pub directory: PathBuf,
    /// The parameters.
    pub outbound: Values,
}

/// A dispatch that is in force.
#[derive(Debug)]
pub(super) struct Dispatch {
    id: Arc<str>,
    given: Values,
    /// As the configuration has it.
    configured: Arc<Tenant>,
    /// The same with these parameters.
    holder: Arc<Tenant>,
}

impl Dispatch {
    fn new(configured: &Arc<Tenant>, given: Values) -> Self {
        Self::named(Uuid::now_v7().to_string().into(), configured, given)
    }

    fn named(id: Arc<str>, configured: &Arc<Tenant>, given: Values) -> Self {
        let namespace = configured.namespace.as_ref();
        // What its namespace does not declare any more is given by nobody: without parameters
        // nothing leaves.
        let parameters = namespace.and_then(|known| known.check(given.clone()).ok());
        let holder = Tenant {
            parameters: parameters.map(Arc::new),
            dispatch: Some(Arc::clone(&id)),
            ..Tenant::clone(configured)
        };
        Self {
            id,
            given,
            configured: Arc::clone(configured),
            holder: Arc::new(holder),
        }
    }

    /// Whether it is this tenant's, and in its namespace.
    fn is_of(&self, tenant: &Tenant) -> bool {
        let namespace = tenant.namespace.as_ref();
        tenant.id == self.configured.id && namespace.is_some_and(|known| self.is_in(&known.name))
    }

    fn is_in(&self, namespace: &str) -> bool {
        let own = self.configured.namespace.as_ref();
        own.is_some_and(|own| *own.name == *namespace)
    }
}

impl Assignments {
    /// What operators may dispatch to.
    pub fn set_namespaces(&mut self, namespaces: Vec<Arc<Namespace>>) {
        self.namespaces = namespaces;
    }

    /// Takes over what an earlier agent has dispatched.
    pub(super) fn restore(&mut self, bound: Vec<Bound>) {
        for bound in bound {
            // Of whom the configuration knows nothing any more, nothing is dispatched.
            let Some(spec) = self.tenant(&bound.tenant) else {
                continue;
            };
            let id = bound.id.as_str().into();
            let dispatch = Dispatch::named(id, &spec.tenant, bound.outbound);
            self.dispatches.insert(CgroupId(bound.cgroup_id), dispatch);
        }
    }

    /// The same, to be written down.
    pub(super) fn bound(&self) -> Vec<Bound> {
        let bound = self.dispatches.iter().map(|(cgroup, dispatch)| Bound {
            id: dispatch.id.to_string(),
            tenant: dispatch.configured.id.to_string(),
            cgroup_id: cgroup.0,
            outbound: dispatch.given.clone(),
        });
        let mut bound: Vec<Bound> = bound.collect();
        bound.sort_by(|one, other| one.id.cmp(&other.id));
        bound
    }

    /// A cgroup's tenant, with the parameters that it has there.
    pub(super) fn holder(&self, cgroup: CgroupId, spec: usize) -> Arc<Tenant> {
        let configured = &self.specs[spec].tenant;
        match self.dispatches.get(&cgroup) {
            Some(dispatch) if Arc::ptr_eq(&dispatch.configured, configured) => {
                Arc::clone(&dispatch.holder)
            }
            Some(_) | None => Arc::clone(configured),
        }
    }

    /// Ends the dispatches whose cgroups are gone or another's, or whose tenants have left their
    /// namespace, and brings the others up to the configuration.
    pub(super) fn renew_dispatches(
        &mut self,
        wanted: &HashMap<CgroupId, Wanted>,
    ) -> Result<(), Error> {
        let (specs, before) = (&self.specs, self.dispatches.len());
        self.dispatches.retain(|cgroup, dispatch| {
            let tenant = wanted.get(cgroup).map(|wanted| &specs[wanted.spec].tenant);
            let Some(tenant) = tenant.filter(|tenant| dispatch.is_of(tenant)) else {
                let (id, tenant) = (&*dispatch.id, &dispatch.configured.id);
                info!(dispatch = id, %tenant, "dispatch ended with its cgroup or configuration");
                return false;
            };
            if !Arc::ptr_eq(tenant, &dispatch.configured) {
                let given = std::mem::take(&mut dispatch.given);
                *dispatch = Dispatch::named(Arc::clone(&dispatch.id), tenant, given);
                if dispatch.holder.parameters.is_none() {
                    warn!(dispatch = &*dispatch.id, tenant = %tenant.id, "its namespace declares other parameters now; dispatch it again");
                }
            }
            true
        });
        match self.dispatches.len() == before {
            true => Ok(()),
            false => self.save(),
        }
    }

    /// Whom this is for: which tenant's specification.
    pub fn expect_worker(&self, request: &Request) -> Result<usize, Error> {
        let namespace = self.expect_namespace(&request.namespace)?;
        let worker = TenantId::new(&request.worker).and_then(|id| self.by_name.get(&id).copied());
        let is_in = |spec: &usize| {
            let own = self.specs[*spec].tenant.namespace.as_ref();
            own.is_some_and(|own| own.name == namespace.name)
        };
        worker.filter(is_in).ok_or_else(|| Error::NoWorker {
            worker: request.worker.clone(),
            namespace: Arc::clone(&namespace.name),
        })
    }

    /// Whether this may be dispatched to a cgroup. Gives the tenant's specification.
    pub fn may_dispatch(&self, request: &Request, place: &Place) -> Result<usize, Error> {
        let spec = self.expect_worker(request)?;
        let namespace = self.expect_namespace(&request.namespace)?;
        namespace.check(request.outbound.clone())?;
        let tenant = self.may_assign(place, &request.worker)?;
        if !has_room(&self.dispatches, &tenant, place.id) {
            let most = MOST_PER_TENANT;
            return Err(Error::TooMany { tenant, most });
        }
        Ok(spec)
    }

    /// Gives a tenant's processes in a cgroup their parameters, in place of those of an earlier
    /// dispatch, from their next request on and also after a restart of the agent. Blocks.
    pub fn dispatch(&mut self, request: Request, place: Place) -> Result<(Dispatched, Cut), Error> {
        let spec = self.may_dispatch(&request, &place)?;
        let configured = Arc::clone(&self.specs[spec].tenant);
        let dispatch = Dispatch::new(&configured, request.outbound);
        let before = self.dispatches.insert(place.id, dispatch);
        let done = match self.tenant_of(place.id) {
            None => self.enrol(&place, &configured.id, true),
            Some(_itself) => self.save().map(|()| {
                self.change(place.id, Some((spec, &place.directory)));
                Cut::default()
            }),
        };
        match (done, self.dispatched(place.id, &place.directory)) {
            (Ok(cut), Some(dispatched)) => Ok((dispatched, cut)),
            (Ok(_), None) => Err(Error::NoCgroup {
                path: place.directory,
                source: std::io::ErrorKind::NotFound.into(),
            }),
            (Err(error), _) => {
                self.dispatches.remove(&place.id);
                self.dispatches
                    .extend(before.map(|before| (place.id, before)));
                Err(error)
            }
        }
    }

    /// Takes the parameters away again. What became the tenant's for this alone and lies within
    /// another cgroup of a tenant's, or below a watched parent, is what it was before; anything
    /// else stays the tenant's, so that no process is set free. Blocks.
    pub fn end_dispatch(&mut self, namespace: &str, id: &str) -> Result<Dispatched, Error> {
        let dispatched = self.expect_dispatch(namespace, id)?;
        let place = Place {
            directory: dispatched.directory.clone(),
            id: dispatched.cgroup,
        };
        self.dispatches.remove(&place.id);
        let is_there = self.homes.borrow().contains_key(&place.id);
        if is_there && let Some(spec) = self.by_name.get(&dispatched.tenant) {
            self.change(place.id, Some((*spec, &place.directory)));
        }
        let lease = self.leases.get_mut(&place.id);
        let is_for_this = lease.is_some_and(|lease| std::mem::take(&mut lease.for_dispatch));
        if is_there && is_for_this && self.is_within_another(&place.directory) {
            self.withdraw(&place)?;
            // Nothing leaves these sockets any more; their owners should be told at once.
            enrolment::cut_strangers(std::iter::once(&place.directory))?;
            self.free(&place)?;
        } else {
            self.save()?;
        }
        Ok(dispatched)
    }

    /// What is dispatched in a namespace, in the order in which it was.
    pub fn dispatches(&self, namespace: &str) -> Result<Vec<Dispatched>, Error> {
        let namespace = self.expect_namespace(namespace)?;
        Ok(self.sorted(|dispatch| dispatch.is_in(&namespace.name)))
    }

    /// What is dispatched in every namespace, likewise.
    pub fn every_dispatch(&self) -> Vec<Dispatched> {
        self.sorted(|_dispatch| true)
    }

    fn sorted(&self, is_meant: impl Fn(&Dispatch) -> bool) -> Vec<Dispatched> {
        let meant = self.all_dispatched().filter(|(_, one)| is_meant(one));
        let mut meant: Vec<Dispatched> = meant.map(|(dispatched, _)| dispatched).collect();
        // They begin with the time.
        meant.sort_by(|one, other| one.id.cmp(&other.id));
        meant
    }

    /// One of them.
    pub fn expect_dispatch(&self, namespace: &str, id: &str) -> Result<Dispatched, Error> {
        let namespace = &self.expect_namespace(namespace)?.name;
        let mut all = self.all_dispatched();
        let found = all.find(|(_, known)| *known.id == *id && known.is_in(namespace));
        let found = found.map(|(dispatched, _)| dispatched);
        found.ok_or_else(|| Error::NoDispatch {
            id: id.to_owned(),
            namespace: Arc::clone(namespace),
        })
    }

    /// How many there are.
    pub fn count_dispatches(&self) -> usize {
        self.dispatches.len()
    }

    fn all_dispatched(&self) -> impl Iterator<Item = (Dispatched, &Dispatch)> {
        let homes = Arc::clone(&self.homes.borrow());
        self.dispatches
            .iter()
            .filter_map(move |(cgroup, dispatch)| {
                let dispatched = self.dispatched(*cgroup, homes.get(cgroup)?);
                Some((dispatched?, dispatch))
            })
    }

    fn dispatched(&self, cgroup: CgroupId, directory: &Path) -> Option<Dispatched> {
        let dispatch = self.dispatches.get(&cgroup)?;
        Some(Dispatched {
            id: Arc::clone(&dispatch.id),
            tenant: dispatch.configured.id.clone(),
            cgroup,
            directory: directory.to_owned(),
            outbound: dispatch.given.clone(),
        })
    }

    fn expect_namespace(&self, name: &str) -> Result<&Arc<Namespace>, Error> {
        let mut namespaces = self.namespaces.iter();
        let found = namespaces.find(|namespace| *namespace.name == *name);
        found.ok_or_else(|| Error::NoNamespace {
            name: name.to_owned(),
        })
    }
}

/// Whether a tenant may have one more, of a cgroup.
fn has_room(dispatches: &HashMap<CgroupId, Dispatch>, tenant: &TenantId, cgroup: CgroupId) -> bool {
    let others = dispatches
        .iter()
        .filter(|(other, dispatch)| dispatch.configured.id == *tenant && **other != cgroup);
    others.count() < MOST_PER_TENANT
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(name: &str) -> Arc<Tenant> {
        Arc::new(Tenant {
            id: TenantId::new(name).unwrap(),
            policy: Arc::default(),
            credentials: Vec::new(),
            namespace: None,
            parameters: None,
            dispatch: None,
            limits: Default::default(),
        })
    }

    #[test]
    fn a_tenant_has_so_many_dispatches_and_takes_no_others() {
        let [acme, globex] = ["acme", "globex"].map(tenant);
        let number = u64::try_from(MOST_PER_TENANT).unwrap();
        let made =
            (0..number).map(|cgroup| (CgroupId(cgroup), Dispatch::new(&acme, Values::new())));
        let mut dispatches: HashMap<CgroupId, Dispatch> = made.collect();
        let next = CgroupId(number);
        assert!(!has_room(&dispatches, &acme.id, next));
        assert!(has_room(&dispatches, &globex.id, next));
        // In place of one that it has.
        assert!(has_room(&dispatches, &acme.id, CgroupId(7)));
        dispatches.remove(&CgroupId(7));
        assert!(has_room(&dispatches, &acme.id, next));
    }

    #[test]
    fn what_a_namespace_does_not_declare_any_more_is_given_by_nobody() {
        let given = [("plan".to_owned(), "free".into())].into_iter().collect();
        let dispatch = Dispatch::new(&tenant("acme"), given);
        assert!(dispatch.holder.parameters.is_none());
        assert_eq!(dispatch.holder.dispatch.as_ref(), Some(&dispatch.id));
    }
}
