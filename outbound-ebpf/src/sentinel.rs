//! The sentinel stands at the common ancestor of all cgroups and judges by the calling process:
//! a process of a tenant may not use a socket that was made elsewhere.
//!
//! The programs of the socket's own cgroup ran before; a tenant's socket has its stamp. And who is
//! no tenant may not come to the agent by its ports: it could meet there a flow that nobody came
//! for, and be taken for whose that is.

use aya_ebpf::programs::SockAddrContext;
use outbound_common::Counter;

use crate::call::{Call, tenant_of_caller};
use crate::connect::{is_agent, is_loopback};
use crate::maps::{SOCKETS, listener};
use crate::refuse::{ECONNREFUSED, EPERM, LET_THROUGH, Whose};

#[inline(always)]
pub(crate) fn watch<const IP: u32>(ctx: &SockAddrContext) -> i32 {
    let call = Call::<IP>::read(ctx);
    if SOCKETS.get(call.sk).is_some() {
        return LET_THROUGH;
    }
    let Some(tenant) = tenant_of_caller() else {
        return stranger(&call);
    };
    let attempt = call.attempt(tenant.into());
    attempt.refuse(Counter::ForeignSocket, EPERM)
}

/// Only what goes to a loopback address costs a look: no flow has another.
#[inline(always)]
fn stranger<const IP: u32>(call: &Call<IP>) -> i32 {
    if !is_loopback(call.address) {
        return LET_THROUGH;
    }
    let Some(listener) = listener(call.netns()) else {
        return LET_THROUGH;
    };
    if !is_agent(call, listener) {
        return LET_THROUGH;
    }
    let attempt = call.attempt(Whose::NOBODYS);
    attempt.refuse(Counter::AgentAddress, ECONNREFUSED)
}
