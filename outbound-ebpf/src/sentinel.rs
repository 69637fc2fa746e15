//! The sentinel stands at the common ancestor of all cgroups and judges by the calling process:
//! a process of a tenant may not use a socket that was made elsewhere.
//!
//! The programs of the socket's own cgroup ran before; a tenant's socket has its stamp.

use aya_ebpf::programs::SockAddrContext;
use outbound_common::Counter;

use crate::call::{Call, tenant_of_caller};
use crate::maps::SOCKETS;
use crate::refuse::{EPERM, LET_THROUGH};

#[inline(always)]
pub(crate) fn watch<const IP: u32>(ctx: &SockAddrContext) -> i32 {
    let call = Call::<IP>::read(ctx);
    let Some(tenant) = tenant_of_caller() else {
        return LET_THROUGH;
    };
    if SOCKETS.get(call.sk).is_some() {
        return LET_THROUGH;
    }
    let attempt = call.attempt(tenant.cgroup);
    attempt.refuse(Counter::ForeignSocket, EPERM)
}
