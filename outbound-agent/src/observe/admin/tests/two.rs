//! An agent with two tenants, as the admin API sees it.

use std::path::PathBuf;

use http::StatusCode;
use serde_json::Map;

use crate::observe::admin::view::{
    Assign, Assigned, Assignment, Cgroup, ConfigProblem, Configuration, Dispatch, Dispatched,
    Judgement, Limits, Listens, Namespace, Question, Reloaded, Status, TenantView, TrustView,
};
use crate::observe::admin::{Refused, Subject};

pub(super) struct Two;

impl Subject for Two {
    fn status(&self) -> Status {
        Status {
            version: "1.2.3".to_owned(),
            commit: None,
            pid: 7,
            started: "2026-01-31T00:00:00.000Z".to_owned(),
            ready: true,
            waiting_for: Vec::new(),
            tenants: 2,
            assigned_cgroups: 2,
            dispatches: 0,
            namespaces: 0,
            listeners: Vec::new(),
            pin_dir: PathBuf::from("/sys/fs/bpf/outbound"),
            attachments: Vec::new(),
            shared_hooks: Vec::new(),
            features: Vec::new(),
            trust: Some(TrustView::default()),
            configuration: Configuration::default(),
        }
    }

    fn check(&self, question: &Question) -> Result<Judgement, Refused> {
        Ok(Judgement {
            tenant: question.tenant.clone().ok_or_else(refused)?,
            cgroup_id: None,
            dispatch: None,
            policy: "standard".to_owned(),
            mode: "enforce".to_owned(),
            method: question.method.clone(),
            url: question.url.clone(),
            verdict: "allow".to_owned(),
            reason: None,
            failure: None,
            rule: None,
            place: None,
            entry: None,
            seen: true,
            rewritten: None,
            worker: None,
            credentials: vec!["api-key".to_owned()],
            withheld: Vec::new(),
            rate: None,
            timeout_ms: None,
            limits: Limits::default(),
        })
    }

    fn reload(&self) -> Result<Reloaded, Refused> {
        let place = |key: &str| ConfigProblem {
            file: "/etc/outbound/outbound.toml".into(),
            line: 7,
            column: 1,
            key: key.to_owned(),
            message: "is wrong".to_owned(),
        };
        Err(Refused {
            status: StatusCode::UNPROCESSABLE_ENTITY,
            error: "the configuration is wrong".to_owned(),
            problems: vec![place("policies.p.mode")],
        })
    }

    fn tenants(&self) -> Vec<TenantView> {
        ["globex", "acme"]
            .into_iter()
            .filter_map(|name| self.tenant(name))
            .collect()
    }

    fn tenant(&self, name: &str) -> Option<TenantView> {
        ["acme", "globex"].contains(&name).then(|| TenantView {
            name: name.to_owned(),
            policy: "standard".to_owned(),
            mode: "enforce".to_owned(),
            pattern: None,
            cgroup: None,
            cgroup_ids: vec![41],
            namespace: None,
            dispatches: Vec::new(),
            credentials: vec!["api-key".to_owned()],
            trust: Some(TrustView::default()),
        })
    }

    fn assignments(&self) -> Vec<Assignment> {
        Vec::new()
    }

    fn assign(&self, assign: &Assign) -> Result<Assigned, Refused> {
        match &assign.cgroup {
            Cgroup::Cgroup(cgroup) => Ok(Assigned {
                tenant: Some(assign.tenant.clone()),
                cgroup: cgroup.clone(),
                cgroup_id: 42,
                cut: 3,
                left: 0,
                fenced: false,
            }),
            Cgroup::Pid(_) | Cgroup::Unit(_) => Err(refused()),
        }
    }

    fn unassign(&self, _cgroup: &Cgroup) -> Result<Assigned, Refused> {
        Err(refused())
    }

    fn dispatch(&self, namespace: &str, dispatch: &Dispatch) -> Result<Dispatched, Refused> {
        let cgroup = dispatch.place().ok_or_else(refused)?;
        let id = format!("{namespace} {cgroup:?}");
        let outbound = dispatch.outbound.clone();
        Ok(Dispatched {
            outbound,
            ..dispatched(&id)
        })
    }

    fn dispatches(&self, namespace: &str) -> Result<Vec<Dispatched>, Refused> {
        match namespace {
            "production" => Ok(vec![dispatched("1")]),
            _ => Err(refused()),
        }
    }

    fn dispatched(&self, _namespace: &str, id: &str) -> Result<Dispatched, Refused> {
        Ok(dispatched(id))
    }

    fn end_dispatch(&self, _namespace: &str, _id: &str) -> Result<Dispatched, Refused> {
        Err(refused())
    }

    fn listen_in(&self, tenant: &str, _namespace: Namespace) -> Result<Listens, Refused> {
        let is_there = self.tenant(tenant).is_some();
        is_there.then_some(Listens { port: 7 }).ok_or_else(refused)
    }
}

fn dispatched(id: &str) -> Dispatched {
    Dispatched {
        id: id.to_owned(),
        worker: "acme".to_owned(),
        cgroup: "/acme".into(),
        cgroup_id: 42,
        outbound: Map::new(),
        cut: None,
        left: None,
    }
}

fn refused() -> Refused {
    Refused {
        status: StatusCode::CONFLICT,
        error: "as things stand".to_owned(),
        problems: Vec::new(),
    }
}
