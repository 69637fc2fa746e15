//! Dispatches that commands ask the agent for, and end.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use http::Method;
use serde_json::{Map, Value};

use super::client;
use super::output::complain;
use crate::observe::admin::view::{Dispatch, Dispatched, TenantView};

/// Has the agent dispatch, in the tenant's namespace.
pub(super) async fn begin(
    socket: &Path,
    tenant: &TenantView,
    dispatch: &Dispatch,
) -> anyhow::Result<Dispatched> {
    let path = path(tenant)?;
    Ok(client::send_json(socket, Method::POST, &path, dispatch).await?)
}

/// What is dispatched for a command, until it has ended.
pub(super) struct OfRun {
    socket: PathBuf,
    path: String,
}

impl OfRun {
    /// Dispatches a run's cgroup.
    pub(super) async fn begin(
        socket: &Path,
        tenant: &TenantView,
        cgroup: &Path,
        outbound: Map<String, Value>,
    ) -> anyhow::Result<Self> {
        let dispatch = Dispatch {
            worker: tenant.name.clone(),
            cgroup: Some(cgroup.to_owned()),
            outbound,
            ..Dispatch::default()
        };
        let dispatched = begin(socket, tenant, &dispatch).await?;
        Ok(Self {
            socket: socket.to_owned(),
            path: format!("{}/{}", path(tenant)?, dispatched.id),
        })
    }

    /// Ends it. What the command has left running is the tenant's as it was without it.
    pub(super) async fn end(self) {
        let ended = client::send_json(&self.socket, Method::DELETE, &self.path, &());
        let ended: Result<Dispatched, client::Error> = ended.await;
        if let Err(error) = ended {
            complain(format!(
                "the dispatch ends with the command's cgroup alone: {}",
                super::output::chain(&error)
            ));
        }
    }
}

fn path(tenant: &TenantView) -> anyhow::Result<String> {
    let namespace = tenant.namespace.as_ref();
    let namespace = namespace.with_context(|| {
        format!(
            "tenant {} is in no dispatch namespace, and takes no parameters",
            tenant.name
        )
    })?;
    Ok(format!("/v1/namespaces/{namespace}/dispatch"))
}
