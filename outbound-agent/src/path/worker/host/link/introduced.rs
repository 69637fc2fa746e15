//! From what calls are: said to the worker once, and not with every call.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, PoisonError};

use serde_json::Value;

use super::super::message::{Introduction, ToWorker};
use super::Link;
use crate::model::tenant::{Tenant, TenantId};
use crate::model::worker::{Isolation, Namespace, Outbound, Parameters};

/// From what a call is.
#[derive(Clone, Copy)]
pub(in crate::path::worker) struct Caller<'a> {
    pub(in crate::path::worker) tenant: &'a Tenant,
    pub(in crate::path::worker) namespace: &'a Arc<Namespace>,
    pub(in crate::path::worker) outbound: &'a Outbound,
    pub(in crate::path::worker) parameters: &'a Arc<Parameters>,
}

/// What a worker was told. It must know a number for as long as this has another holder.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) number: u64,
    namespace: Arc<Namespace>,
    parameters: Arc<Parameters>,
}

/// All that a worker was told and may still know.
#[derive(Debug, Default)]
pub(super) struct Introduced {
    by_tenant: HashMap<TenantId, Vec<Arc<Told>>>,
    in_order: VecDeque<TenantId>,
}

/// How many of them a worker has to know.
const MOST: usize = 16_384;

impl Link {
    /// The number by which the worker knows from what a call is. Held until the call was sent.
    pub(super) fn introduce(&self, from: &Caller<'_>) -> Arc<Told> {
        let mut introduced = self
            .introduced
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let tenant = &from.tenant.id;
        let known = introduced.by_tenant.get(tenant);
        if let Some(known) = known.and_then(|known| known.iter().find(|told| told.is(from))) {
            return Arc::clone(known);
        }
        while introduced.in_order.len() >= MOST
            && let Some(gone) = introduced.forget_one()
        {
            self.say(ToWorker::Retire(gone));
        }
        let told = Arc::new(Told {
            number: self.number(),
            namespace: Arc::clone(from.namespace),
            parameters: Arc::clone(from.parameters),
        });
        self.say(ToWorker::Introduce(from.introduction(told.number)));
        introduced.in_order.push_back(tenant.clone());
        let of_tenant = introduced.by_tenant.entry(tenant.clone()).or_default();
        of_tenant.push(Arc::clone(&told));
        told
    }
}

impl Introduced {
    /// Forgets the oldest that no call is being sent from; gives its number.
    fn forget_one(&mut self) -> Option<u64> {
        let tenant = self.in_order.pop_front()?;
        let told = self.by_tenant.get_mut(&tenant)?;
        if told
            .first()
            .is_none_or(|oldest| Arc::strong_count(oldest) > 1)
        {
            self.in_order.push_back(tenant);
            return None;
        }
        let gone = told.remove(0);
        if told.is_empty() {
            self.by_tenant.remove(&tenant);
        }
        Some(gone.number)
    }
}

impl Told {
    fn is(&self, from: &Caller<'_>) -> bool {
        Arc::ptr_eq(&self.parameters, from.parameters)
            && Arc::ptr_eq(&self.namespace, from.namespace)
    }
}

impl Caller<'_> {
    fn introduction(&self, number: u64) -> Introduction {
        let outbound = self.outbound;
        let (env, has_own_url) = outbound.lasting_env(self.parameters);
        Introduction {
            number,
            isolate: match outbound.service.isolation {
                Isolation::Tenant => self.tenant.id.to_string(),
                Isolation::Service => String::new(),
            },
            entrypoint: outbound
                .entrypoint
                .as_deref()
                .unwrap_or_default()
                .to_owned(),
            env: Value::from(env).to_string(),
            has_own_url,
        }
    }
}
