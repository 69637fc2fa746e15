//! What the admin API shows of a running agent.

mod judge;
mod operate;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use http::StatusCode;

use super::daemon::reload::{By, Reloads};
use super::explain::mode;
use crate::config::{Config, TenantSpec};
use crate::connection::Agent;
use crate::hold;
use crate::model::tenant::{CgroupId, TenantId};
use crate::namespaces::{Home, Namespaces};
use crate::observe::admin::view::{
    Assign, Assigned, Assignment, Attachment, Cgroup, Dispatch, Dispatched, Feature, Judgement,
    Listener, Listens, Namespace, Question, Reloaded, Runs, SharedHook, Status, TenantView,
    TrustView,
};
use crate::observe::admin::{Refused, Subject};
use crate::observe::readiness::Readiness;
use crate::observe::timestamp::Timestamp;
use crate::redirect;
use crate::tenants::{self, Named, Shared};

use operate::{refused, shown};

/// This host's agent.
pub(super) struct Host {
    started: Timestamp,
    port: u16,
    listeners: Vec<Listener>,
    pin_dir: PathBuf,
    assignments: Shared,
    namespaces: Arc<Namespaces>,
    readiness: Readiness,
    agent: Arc<Agent>,
    /// Why connects cannot be held, if they cannot; found out when somebody asks.
    true_errors: OnceLock<Option<String>>,
    reloads: Reloads,
}

impl Host {
    pub(super) fn new(
        config: &Config,
        assignments: Shared,
        namespaces: Arc<Namespaces>,
        (agent, port): (Arc<Agent>, u16),
        readiness: Readiness,
        reloads: Reloads,
    ) -> Self {
        let listener = |name: &str, address: String| Listener {
            name: name.to_owned(),
            address,
        };
        let true_errors = OnceLock::new();
        if config.policies.iter().any(|policy| policy.true_errors) {
            // It would not have started otherwise.
            true_errors.get_or_init(|| None);
        }
        Self {
            started: Timestamp::now(),
            listeners: vec![
                listener("tenants", format!("127.0.0.0/8:{port}")),
                listener("metrics", config.agent.metrics.to_string()),
                listener("admin", config.agent.admin_socket.display().to_string()),
            ],
            pin_dir: config.agent.pin_dir.clone(),
            port,
            assignments,
            namespaces,
            readiness,
            agent,
            true_errors,
            reloads,
        }
    }

    /// What the workloads of a tenant have to trust, or those of all.
    fn trust(&self, tenant: Option<&TenantId>) -> Option<TrustView> {
        let store = self.agent.terminator.trust(tenant);
        let store = store.unwrap_or_else(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "no certificate authority"
            );
            None
        })?;
        let file = |name: &str| store.directory().join(name);
        Some(TrustView {
            authority: file("ca.pem"),
            bundle: file("ca-bundle.pem"),
            java: file("cacerts"),
            directory: file("certs"),
        })
    }
}

impl Host {
    fn shared_hooks(&self) -> Vec<SharedHook> {
        let found = redirect::cgroup_root().and_then(|root| redirect::shared(&self.pin_dir, &root));
        let found = found.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the programs of others");
            Vec::new()
        });
        let shared = found.into_iter().map(|one| SharedHook {
            cgroup: one.cgroup,
            hook: one.attach_type.to_owned(),
            programs: one
                .programs
                .into_iter()
                .map(|program| Runs {
                    name: program.name,
                    ours: program.is_ours,
                })
                .collect(),
        });
        shared.collect()
    }
}

impl Subject for Host {
    fn status(&self) -> Status {
        let waiting_for = self.readiness.waiting_for();
        let (tenants, assigned_cgroups, dispatches, mut features) =
            self.assignments.with(|assignments| {
                (
                    assignments.specs().len(),
                    assignments.homes().borrow().len(),
                    assignments.count_dispatches(),
                    features(assignments.redirect().features()),
                )
            });
        let lack = self
            .true_errors
            .get_or_init(|| hold::probe(self.port).err().map(|error| error.to_string()));
        features.push(Feature {
            name: "true_errors".to_owned(),
            present: lack.is_none(),
            remedy: lack.clone(),
        });
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("OUTBOUND_COMMIT").map(str::to_owned),
            pid: std::process::id(),
            started: self.started.to_string(),
            ready: waiting_for.is_empty(),
            waiting_for: waiting_for.into_iter().map(str::to_owned).collect(),
            tenants,
            assigned_cgroups,
            dispatches,
            namespaces: self.namespaces.count(),
            listeners: self.listeners.clone(),
            pin_dir: self.pin_dir.clone(),
            attachments: attachments(&self.pin_dir),
            shared_hooks: self.shared_hooks(),
            features,
            trust: self.trust(None),
            configuration: self.reloads.view(),
        }
    }

    fn check(&self, question: &Question) -> Result<Judgement, Refused> {
        self.judge(question)
    }

    fn reload(&self) -> Result<Reloaded, Refused> {
        self.reloads.reload(By::Api)
    }

    fn tenants(&self) -> Vec<TenantView> {
        self.assignments.with(|assignments| {
            let mut cgroups: HashMap<TenantId, Vec<u64>> = HashMap::new();
            for cgroup in assignments.homes().borrow().keys() {
                if let Some(tenant) = assignments.tenant_of(*cgroup) {
                    cgroups.entry(tenant.id.clone()).or_default().push(cgroup.0);
                }
            }
            let mut dispatches: HashMap<TenantId, Vec<Dispatched>> = HashMap::new();
            for dispatched in assignments.every_dispatch() {
                let of = dispatches.entry(dispatched.tenant.clone()).or_default();
                of.push(shown(dispatched));
            }
            let specs = assignments.specs().iter();
            let view = |spec: &TenantSpec| {
                view(
                    spec,
                    assignments.directory(spec),
                    cgroups.remove(&spec.tenant.id).unwrap_or_default(),
                    dispatches.remove(&spec.tenant.id).unwrap_or_default(),
                    self.trust(Some(&spec.tenant.id)),
                )
            };
            specs.map(view).collect()
        })
    }

    fn tenant(&self, name: &str) -> Option<TenantView> {
        self.assignments.with(|assignments| {
            let spec = assignments.tenant(name)?;
            let homes = assignments.homes();
            let homes = homes.borrow();
            let is_its = |cgroup: &CgroupId| {
                let holder = assignments.tenant_of(*cgroup);
                holder.is_some_and(|holder| holder.id == spec.tenant.id)
            };
            let cgroups = homes.keys().copied().filter(is_its);
            let cgroups = cgroups.map(|cgroup| cgroup.0).collect();
            let dispatches = assignments.every_dispatch().into_iter();
            let dispatches = dispatches.filter(|one| one.tenant == spec.tenant.id);
            Some(view(
                spec,
                assignments.directory(spec),
                cgroups,
                dispatches.map(shown).collect(),
                self.trust(Some(&spec.tenant.id)),
            ))
        })
    }

    fn assignments(&self) -> Vec<Assignment> {
        self.assignments.with(|assignments| {
            let leased: HashSet<CgroupId> = assignments.leases().collect();
            let homes = assignments.homes();
            let homes = homes.borrow();
            let assignment = |(cgroup, directory): (&CgroupId, &Arc<Path>)| {
                let by = match leased.contains(cgroup) {
                    true => "operator",
                    false => "configuration",
                };
                Some(Assignment {
                    tenant: assignments.tenant_of(*cgroup)?.id.to_string(),
                    cgroup: directory.to_path_buf(),
                    cgroup_id: cgroup.0,
                    by: by.to_owned(),
                })
            };
            homes.iter().filter_map(assignment).collect()
        })
    }

    fn assign(&self, assign: &Assign) -> Result<Assigned, Refused> {
        self.put_under(assign)
    }

    fn unassign(&self, cgroup: &Cgroup) -> Result<Assigned, Refused> {
        self.take_off(cgroup)
    }

    fn dispatch(&self, namespace: &str, dispatch: &Dispatch) -> Result<Dispatched, Refused> {
        self.bind(namespace, dispatch)
    }

    fn dispatches(&self, namespace: &str) -> Result<Vec<Dispatched>, Refused> {
        self.all_bound(namespace)
    }

    fn dispatched(&self, namespace: &str, id: &str) -> Result<Dispatched, Refused> {
        self.one_bound(namespace, id)
    }

    fn end_dispatch(&self, namespace: &str, id: &str) -> Result<Dispatched, Refused> {
        self.release(namespace, id)
    }

    fn listen_in(&self, tenant: &str, namespace: Namespace) -> Result<Listens, Refused> {
        let place = self.assignments.with(|assignments| {
            let spec = assignments.expect_tenant(tenant)?;
            let directory = assignments.directory(spec);
            let only_pattern = || tenants::Error::OnlyPattern {
                tenant: spec.tenant.id.clone(),
                pattern: spec.cgroups.to_string(),
            };
            assignments.find(&Named::Cgroup(directory.ok_or_else(only_pattern)?))
        });
        let place = place.map_err(|error| refused(&error))?;
        let home = Home {
            cgroup: place.id,
            directory: &place.directory,
        };
        let listens = self.namespaces.expect(namespace.pid, namespace.fd, home);
        listens.map_err(|error| Refused::because(StatusCode::CONFLICT, &error))?;
        Ok(Listens { port: self.port })
    }
}

fn view(
    spec: &TenantSpec,
    directory: Option<PathBuf>,
    mut cgroups: Vec<u64>,
    dispatches: Vec<Dispatched>,
    trust: Option<TrustView>,
) -> TenantView {
    cgroups.sort_unstable();
    TenantView {
        name: spec.tenant.id.to_string(),
        policy: spec.tenant.policy.name.to_string(),
        mode: mode(spec.tenant.policy.mode).to_owned(),
        cgroup: directory,
        pattern: spec.cgroups.pattern().map(|_| spec.cgroups.to_string()),
        cgroup_ids: cgroups,
        namespace: spec
            .tenant
            .namespace
            .as_ref()
            .map(|namespace| namespace.name.to_string()),
        dispatches,
        credentials: spec
            .tenant
            .credentials
            .iter()
            .map(|credential| credential.name.to_string())
            .collect(),
        trust,
    }
}

/// What is attached, also without an agent.
pub(crate) fn attachments(pin_dir: &Path) -> Vec<Attachment> {
    let attached = redirect::attachments(pin_dir).unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot read what is attached");
        Vec::new()
    });
    attached
        .into_iter()
        .map(|attachment| Attachment {
            cgroup: attachment.path.unwrap_or_else(|| "(removed)".into()),
            program: attachment.program,
        })
        .collect()
}

fn features(features: &redirect::Features) -> Vec<Feature> {
    let newer = |release: &str| Some(format!("Linux {release} or newer"));
    let feature = |name: &str, present: bool, remedy: Option<String>| Feature {
        name: name.to_owned(),
        present,
        remedy: remedy.filter(|_| !present),
    };
    vec![
        feature("errnos", features.errnos, newer("5.18")),
        feature("thread_names", features.thread_names, newer("6.1")),
        feature(
            "families",
            features.families.is_ok(),
            features.families.as_ref().err().cloned(),
        ),
        feature(
            "cuts",
            features.cuts,
            Some("a kernel with CONFIG_INET_DIAG_DESTROY".to_owned()),
        ),
    ]
}
