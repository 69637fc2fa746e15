//! Stage 2, `identify`: whose connection is this, and where did it want to go?
//!
//! Takes [`Accepted`], gives [`Identified`]. Without a flow and a tenant there is no answer:
//! the connection ends here, it is never guessed.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::accept::Accepted;
use crate::model::flow::{Flow, Flows};
use crate::model::reason::Reason;
use crate::model::tenant::{Tenant, Tenants};

/// A connection whose tenant and original destination are known.
#[derive(Debug)]
pub struct Identified {
    /// The workload's connection.
    pub stream: TcpStream,
    /// What the kernel remembers of it.
    pub flow: Flow,
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// Its place among the open connections.
    pub place: OwnedSemaphorePermit,
}

/// A connection that may not go on, and why.
#[derive(Debug)]
pub struct Refused {
    /// The connection.
    pub accepted: Accepted,
    /// Why.
    pub reason: Reason,
    /// What is known of it all the same.
    pub flow: Option<Flow>,
}

/// Finds flow and tenant of a connection; `agent_ports` are never anybody's destination.
pub fn identify(
    mut accepted: Accepted,
    flows: &dyn Flows,
    tenants: &Tenants,
    agent_ports: &[u16],
) -> Result<Identified, Box<Refused>> {
    let refuse = |accepted, reason, flow| {
        Err(Box::new(Refused {
            accepted,
            reason,
            flow,
        }))
    };
    let Some(flow) = flows.flow(accepted.stream.as_fd(), accepted.downstream) else {
        return refuse(accepted, Reason::UnknownFlow, None);
    };
    let destination = flow.original_dst;
    if destination.ip().is_loopback() && agent_ports.contains(&destination.port()) {
        return refuse(accepted, Reason::AgentAddress, Some(flow));
    }
    let Some(tenant) = tenants.of(flow.tenant_cgroup).map(Arc::clone) else {
        return refuse(accepted, Reason::UnknownTenant, Some(flow));
    };
    let Some(place) = accepted.place.take() else {
        return refuse(accepted, Reason::ConnectionLimit, Some(flow));
    };
    Ok(Identified {
        stream: accepted.stream,
        flow,
        tenant,
        place,
    })
}
