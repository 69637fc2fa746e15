//! What operators change on a running agent: whose a cgroup is, and what it is dispatched with.

use http::StatusCode;

use super::Host;
use crate::model::tenant::TenantId;
use crate::namespaces::{Home, Trust};
use crate::observe::admin::Refused;
use crate::observe::admin::view::{self, Assign, Assigned, Cgroup, Dispatched};
use crate::tenants::{self, Leased, Named, Place, Request};

impl Host {
    /// The agent listens wherever processes of the cgroup live before they are sent to it.
    pub(super) fn put_under(&self, assign: &Assign) -> Result<Assigned, Refused> {
        let named = named(&assign.cgroup);
        let place = self.assignments.with(|assignments| {
            let place = assignments.find(&named)?;
            assignments.may_assign(&place, &assign.tenant)?;
            Ok(place)
        });
        let place = place.map_err(|error| refused(&error))?;
        self.listen_for(&place);
        let assigned = self
            .assignments
            .with(|assignments| assignments.assign(place, &assign.tenant));
        let assigned = assigned.map_err(|error| refused(&error))?;
        tracing::info!(
            tenant = assigned.tenant.as_ref().map(TenantId::as_str),
            cgroup = %assigned.place.directory.display(),
            cut = assigned.cut.ended,
            left = assigned.cut.left,
            "cgroup assigned"
        );
        Ok(told(assigned))
    }

    pub(super) fn take_off(&self, cgroup: &Cgroup) -> Result<Assigned, Refused> {
        let unassigned = self.assignments.with(|assignments| {
            let place = assignments.find(&named(cgroup))?;
            assignments.unassign(place)
        });
        let unassigned = unassigned.map_err(|error| refused(&error))?;
        tracing::info!(
            tenant = unassigned.tenant.as_ref().map(TenantId::as_str),
            cgroup = %unassigned.place.directory.display(),
            "cgroup unassigned"
        );
        Ok(told(unassigned))
    }

    /// As with an assignment: listens first.
    pub(super) fn bind(
        &self,
        namespace: &str,
        dispatch: &view::Dispatch,
    ) -> Result<Dispatched, Refused> {
        let Some(cgroup) = dispatch.place() else {
            let error = "name the cgroup in one way: `cgroup`, `pid` or `unit`";
            return Err(Refused::wrong(error));
        };
        let request = Request {
            namespace: namespace.to_owned(),
            worker: dispatch.worker.clone(),
            outbound: dispatch.outbound.clone(),
        };
        let named = named(&cgroup);
        let place = self.assignments.with(|assignments| {
            // Of a tenant that is not there, the cgroup does not matter.
            assignments.expect_worker(&request)?;
            let place = assignments.find(&named)?;
            assignments.may_dispatch(&request, &place)?;
            Ok(place)
        });
        let place = place.map_err(|error| refused(&error))?;
        self.listen_for(&place);
        let done = self
            .assignments
            .with(|assignments| assignments.dispatch(request, place));
        let (dispatched, cut) = done.map_err(|error| refused(&error))?;
        tracing::info!(
            dispatch = &*dispatched.id,
            tenant = %dispatched.tenant,
            cgroup = %dispatched.directory.display(),
            cut = cut.ended,
            left = cut.left,
            "dispatched"
        );
        Ok(Dispatched {
            cut: Some(cut.ended),
            left: Some(cut.left),
            ..shown(dispatched)
        })
    }

    pub(super) fn all_bound(&self, namespace: &str) -> Result<Vec<Dispatched>, Refused> {
        let all = self
            .assignments
            .with(|assignments| assignments.dispatches(namespace));
        let all = all.map_err(|error| refused(&error))?;
        Ok(all.into_iter().map(shown).collect())
    }

    pub(super) fn one_bound(&self, namespace: &str, id: &str) -> Result<Dispatched, Refused> {
        let found = self
            .assignments
            .with(|assignments| assignments.expect_dispatch(namespace, id));
        found.map(shown).map_err(|error| refused(&error))
    }

    pub(super) fn release(&self, namespace: &str, id: &str) -> Result<Dispatched, Refused> {
        let ended = self
            .assignments
            .with(|assignments| assignments.end_dispatch(namespace, id));
        let ended = ended.map_err(|error| refused(&error))?;
        tracing::info!(
            dispatch = &*ended.id,
            tenant = %ended.tenant,
            cgroup = %ended.directory.display(),
            "dispatch ended"
        );
        Ok(shown(ended))
    }

    /// Listens wherever processes of a cgroup live, before they are sent to the agent.
    fn listen_for(&self, place: &Place) {
        let home = Home {
            cgroup: place.id,
            directory: &place.directory,
        };
        self.namespaces.look_at_cgroup(home, Trust::Said);
    }
}

/// A dispatch as the admin API shows it.
pub(super) fn shown(dispatched: tenants::Dispatched) -> Dispatched {
    Dispatched {
        id: dispatched.id.to_string(),
        worker: dispatched.tenant.to_string(),
        cgroup: dispatched.directory,
        cgroup_id: dispatched.cgroup.0,
        outbound: dispatched.outbound,
        cut: None,
        left: None,
    }
}

pub(super) fn named(cgroup: &Cgroup) -> Named {
    match cgroup {
        Cgroup::Cgroup(path) => Named::Cgroup(path.clone()),
        Cgroup::Pid(pid) => Named::Process(*pid),
        Cgroup::Unit(unit) => Named::Unit(unit.clone()),
    }
}

fn told(leased: Leased) -> Assigned {
    Assigned {
        tenant: leased.tenant.map(|tenant| tenant.to_string()),
        cgroup: leased.place.directory,
        cgroup_id: leased.place.id.0,
        cut: leased.cut.ended,
        left: leased.cut.left,
        fenced: leased.is_fenced,
    }
}

pub(super) fn refused(error: &tenants::Error) -> Refused {
    use tenants::Error;
    let status = match error {
        Error::NoTenant { .. }
        | Error::NoCgroup { .. }
        | Error::NoProcess { .. }
        | Error::NoUnit { .. }
        | Error::NotAssigned { .. }
        | Error::Nobodys { .. }
        | Error::NoNamespace { .. }
        | Error::NoWorker { .. }
        | Error::NoDispatch { .. } => StatusCode::NOT_FOUND,
        Error::Outside { .. }
        | Error::TooDeep { .. }
        | Error::Ambiguous { .. }
        | Error::Parameters(_) => StatusCode::BAD_REQUEST,
        Error::OwnCgroup { .. }
        | Error::Taken { .. }
        | Error::Configured { .. }
        | Error::OnlyPattern { .. }
        | Error::TooMany { .. }
        | Error::Slots => StatusCode::CONFLICT,
        Error::Cgroup { .. }
        | Error::Watched { .. }
        | Error::Strangers { .. }
        | Error::State { .. }
        | Error::Redirect(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refused::because(status, error)
}
