//! What the admin API shows of a running agent.

use std::path::{Path, PathBuf};

use crate::app;
use crate::config::{Config, TenantSpec};
use crate::model::policy::Mode;
use crate::observe::admin::Subject;
use crate::observe::admin::view::{Attachment, Feature, Listener, Status, TenantView, TrustView};
use crate::observe::readiness::Readiness;
use crate::observe::timestamp::Timestamp;
use crate::redirect;
use crate::tenants::{Place, Shared};

/// This host's agent.
pub(super) struct Host {
    started: Timestamp,
    listeners: Vec<Listener>,
    pin_dir: PathBuf,
    assignments: Shared,
    readiness: Readiness,
    trust: TrustView,
}

impl Host {
    pub(super) fn new(
        config: &Config,
        assignments: Shared,
        port: u16,
        readiness: Readiness,
    ) -> Self {
        let listener = |name: &str, address: String| Listener {
            name: name.to_owned(),
            address,
        };
        Self {
            started: Timestamp::now(),
            listeners: vec![
                listener("tenants", format!("127.0.0.0/8:{port}")),
                listener("metrics", config.agent.metrics.to_string()),
                listener("admin", config.agent.admin_socket.display().to_string()),
            ],
            pin_dir: config.agent.pin_dir.clone(),
            assignments,
            readiness,
            trust: TrustView {
                authority: app::authority_file(config),
                bundle: app::bundle_file(config),
            },
        }
    }

    fn view(&self, spec: &TenantSpec, place: Place) -> TenantView {
        let mode = match spec.tenant.policy.mode {
            Mode::Enforce => "enforce",
            Mode::Audit => "audit",
            Mode::Off => "off",
        };
        TenantView {
            name: spec.tenant.id.to_string(),
            policy: spec.tenant.policy.name.to_string(),
            mode: mode.to_owned(),
            cgroup: Some(place.path),
            cgroup_ids: place.id.into_iter().map(|id| id.0).collect(),
            credentials: spec
                .tenant
                .credentials
                .iter()
                .map(|credential| credential.name.to_string())
                .collect(),
            trust: self.trust.clone(),
        }
    }
}

impl Subject for Host {
    fn status(&self) -> Status {
        let waiting_for = self.readiness.waiting_for();
        let (tenants, assigned_cgroups, features) = self.assignments.with(|assignments| {
            (
                assignments.specs().len(),
                assignments.assigned(),
                features(assignments.redirect().features()),
            )
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
            listeners: self.listeners.clone(),
            pin_dir: self.pin_dir.clone(),
            attachments: attachments(&self.pin_dir),
            features,
            trust: self.trust.clone(),
        }
    }

    fn tenants(&self) -> Vec<TenantView> {
        self.assignments.with(|assignments| {
            let names: Vec<_> = assignments
                .specs()
                .iter()
                .map(|spec| spec.tenant.id.clone())
                .collect();
            let mut views: Vec<_> = names
                .iter()
                .filter_map(|name| {
                    assignments
                        .place(name.as_str())
                        .map(|(spec, place)| self.view(spec, place))
                })
                .collect();
            views.sort_by(|a, b| a.name.cmp(&b.name));
            views
        })
    }

    fn tenant(&self, name: &str) -> Option<TenantView> {
        self.assignments.with(|assignments| {
            assignments
                .place(name)
                .map(|(spec, place)| self.view(spec, place))
        })
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
    ]
}
