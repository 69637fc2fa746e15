//! `lsm_cgroup/socket_create`: families that no cgroup socket hook sees. Optional: Linux 6.0 with
//! `bpf` among its security modules.

use aya_ebpf::programs::LsmContext;
use outbound_common::Counter;

use crate::call::{AF_INET, AF_INET6, tenant_of_caller};
use crate::refuse::{Attempt, EAFNOSUPPORT, LET_THROUGH, Whose};

const AF_UNIX: u32 = 1;
const AF_NETLINK: u32 = 16;

#[inline(always)]
pub(crate) fn socket_create(ctx: &LsmContext) -> i32 {
    let family: i32 = ctx.arg(0);
    let is_kernel: i32 = ctx.arg(3);
    let family = family as u32;
    if is_kernel != 0 || matches!(family, AF_UNIX | AF_INET | AF_INET6 | AF_NETLINK) {
        return LET_THROUGH;
    }
    let whose = tenant_of_caller().map_or(Whose::NOBODYS, Whose::from);
    let attempt = Attempt::without_address(whose, family, 0);
    attempt.refuse(Counter::SocketKind, EAFNOSUPPORT)
}
