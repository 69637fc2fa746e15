//! What a running agent says to a request that nobody has made.

use std::sync::Arc;

use http::StatusCode;

use super::Host;
use super::operate::{named, refused};
use crate::app::explain::explain;
use crate::model::tenant::{CgroupId, Tenant};
use crate::observe::admin::Refused;
use crate::observe::admin::view::{Judgement, Question};
use crate::tenants;

impl Host {
    pub(super) fn judge(&self, question: &Question) -> Result<Judgement, Refused> {
        let (tenant, cgroup) = self.whose(question)?;
        let judged = explain(&tenant, question);
        let judged = judged.map_err(|wrong| Refused::because(StatusCode::BAD_REQUEST, &wrong))?;
        Ok(Judgement {
            cgroup_id: cgroup.map(|cgroup| cgroup.0),
            ..judged
        })
    }

    fn whose(&self, question: &Question) -> Result<(Arc<Tenant>, Option<CgroupId>), Refused> {
        let found = match (&question.tenant, question.place()) {
            (Some(name), None) if !question.names_cgroup() => {
                self.assignments.with(|assignments| {
                    let spec = assignments.expect_tenant(name)?;
                    Ok((Arc::clone(&spec.tenant), None))
                })
            }
            (None, Some(cgroup)) => self.assignments.with(|assignments| {
                let place = assignments.find(&named(&cgroup))?;
                let (cgroup, tenant) = assignments.holder_of(&place)?;
                Ok((tenant, Some(cgroup)))
            }),
            _ => return Err(Refused::wrong(IN_ONE_WAY)),
        };
        found.map_err(|error: tenants::Error| refused(&error))
    }
}

const IN_ONE_WAY: &str = "say whose request it is in one way: `tenant`, `cgroup`, `pid` or `unit`";
