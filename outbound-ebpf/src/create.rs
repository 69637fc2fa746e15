//! `sock_create`: which sockets may exist, and whose they are.
//!
//! This is the one moment at which the calling process and the socket are surely in the same
//! cgroup. The stamp that is left here is the identity of everything the socket will do.

use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_get_netns_cookie};
use aya_ebpf::programs::SockContext;
use outbound_common::{Counter, Flow};

use crate::call::{AF_INET, AF_INET6, TCP, UDP, read, tenant_of_caller};
use crate::maps::SOCKETS;
use crate::refuse::{Attempt, EPERM, EPROTONOSUPPORT, LET_THROUGH, Whose};

const SOCK_STREAM: u32 = 1;
const SOCK_DGRAM: u32 = 2;

#[inline(always)]
pub(crate) fn sock_create(ctx: &SockContext) -> i32 {
    let sock = ctx.sock;
    let family = read!((*sock).family);
    let kind = read!((*sock).type_);
    let protocol = read!((*sock).protocol);

    let mut attempt = Attempt::without_address(Whose::NOBODYS, family, protocol);
    let Some(tenant) = tenant_of_caller() else {
        return attempt.refuse(Counter::NoTenant, EPERM);
    };
    attempt.whose = tenant.into();
    // Everything else (MPTCP, UDP-Lite, ping, raw, SCTP, DCCP) has ways out that no later hook
    // sees. Clients that try MPTCP fall back to TCP on this errno.
    let is_carried = (family == AF_INET || family == AF_INET6)
        && ((kind == SOCK_STREAM && protocol == TCP) || (kind == SOCK_DGRAM && protocol == UDP));
    if !is_carried {
        return attempt.refuse(Counter::SocketKind, EPROTONOSUPPORT);
    }
    // SAFETY: a helper without arguments.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    // SAFETY: the context.
    let netns = unsafe { bpf_get_netns_cookie(sock.cast()) };
    let mut stamp = Flow::stamp(tenant.cgroup, cgroup, tenant.slot, netns);
    if !SOCKETS.set(sock, &mut stamp) {
        return attempt.refuse(Counter::StorageFailed, EPERM);
    }
    LET_THROUGH
}
