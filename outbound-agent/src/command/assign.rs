//! `outbound assign` and `outbound unassign`: what runs already, under a tenant or off it.

use std::io;
use std::path::Path;

use anyhow::Context as _;
use http::Method;
use serde_json::{Map, Value};

use super::{client, dispatch, parameters};
use crate::cli;
use crate::observe::admin::view::{Assign, Assigned, Cgroup, Dispatch};

const PATH: &str = "/v1/assignments";

/// Makes a cgroup a tenant's and says what became of it.
pub async fn assign(
    socket: &Path,
    assign: cli::Assign,
    out: &mut dyn io::Write,
) -> anyhow::Result<()> {
    if let Some(outbound) = parameters::read(&assign.parameters)? {
        return dispatched(socket, assign, outbound, out).await;
    }
    let question = Assign {
        tenant: assign.tenant,
        cgroup: cgroup(assign.cgroup)?,
    };
    let done: Assigned = client::send_json(socket, Method::PUT, PATH, &question).await?;
    let (cgroup, whose) = (done.cgroup.display(), whose(&done));
    writeln!(out, "{cgroup} is {whose}{}", ended(done.cut, done.left))?;
    Ok(())
}

/// Makes a cgroup a tenant's with parameters and says by which dispatch.
async fn dispatched(
    socket: &Path,
    assign: cli::Assign,
    outbound: Map<String, Value>,
    out: &mut dyn io::Write,
) -> anyhow::Result<()> {
    let tenant = client::tenant(socket, &assign.tenant).await?;
    let question = Dispatch {
        worker: assign.tenant,
        cgroup: assign.cgroup.cgroup,
        pid: assign.cgroup.pid,
        unit: assign.cgroup.unit,
        outbound,
    };
    let done = dispatch::begin(socket, &tenant, &question).await?;
    let (cut, left) = (done.cut.unwrap_or_default(), done.left.unwrap_or_default());
    writeln!(
        out,
        "{} is tenant {}'s by dispatch {}{}",
        done.cgroup.display(),
        done.worker,
        done.id,
        ended(cut, left)
    )?;
    Ok(())
}

/// Takes a cgroup off its tenant and says what became of it.
pub async fn unassign(
    socket: &Path,
    unassign: cli::Unassign,
    out: &mut dyn io::Write,
) -> anyhow::Result<()> {
    let question = cgroup(unassign.cgroup)?;
    let done: Assigned = client::send_json(socket, Method::DELETE, PATH, &question).await?;
    let now = if done.fenced {
        "has no egress until it is assigned again"
    } else {
        "is free"
    };
    let (cgroup, whose) = (done.cgroup.display(), whose(&done));
    writeln!(
        out,
        "{cgroup} is {whose} no more and {now}{}",
        ended(done.cut, done.left)
    )?;
    Ok(())
}

fn whose(done: &Assigned) -> String {
    match &done.tenant {
        Some(tenant) => format!("tenant {tenant}'s"),
        None => "a former tenant's".to_owned(),
    }
}

fn cgroup(said: cli::Cgroup) -> anyhow::Result<Cgroup> {
    let cgroup = said.cgroup.map(Cgroup::Cgroup);
    let pid = said.pid.map(Cgroup::Pid);
    let unit = said.unit.map(Cgroup::Unit);
    cgroup.or(pid).or(unit).context("no cgroup was named")
}

fn ended(cut: usize, left: usize) -> String {
    let sockets = |number| match number {
        1 => "1 socket".to_owned(),
        _ => format!("{number} sockets"),
    };
    match (cut, left) {
        (0, 0) => String::new(),
        (cut, 0) => format!("; {} of before ended", sockets(cut)),
        (_, left) => format!(
            "; {} of before cannot be ended on this kernel, nothing leaves them",
            sockets(left)
        ),
    }
}
