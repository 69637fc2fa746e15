//! The kernel side of Outbound: one entry point per hook.
//!
//! Programs attached to tenants' cgroups return 1 to let a call or packet through and 0 to
//! refuse it. What they decide rests on the stamp that [`create`] leaves on a socket, never on
//! who happens to call.
#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(core_intrinsics))]
#![cfg_attr(
    target_arch = "bpf",
    expect(internal_features, reason = "atomic additions, see `shared`")
)]
#![expect(
    unsafe_code,
    reason = "contexts, helpers and maps of the kernel are raw pointers"
)]
#![expect(
    clippy::multiple_unsafe_ops_per_block,
    reason = "reading a context field is a dereference and a volatile read at once"
)]

/// Logs, in an object that is built for development.
macro_rules! trace {
    ($($argument:tt)*) => {{
        #[cfg(feature = "log")]
        aya_log_ebpf::debug!($($argument)*);
    }};
}

mod maps;
mod shared;
mod account;
mod refuse;
mod call;
mod create;
mod connect;
mod established;
mod datagram;
mod options;
mod bind;
mod peername;
mod belt;
mod sentinel;
mod families;

use aya_ebpf::macros::{
    cgroup_skb, cgroup_sock, cgroup_sock_addr, cgroup_sockopt, lsm_cgroup, sock_ops,
};
use aya_ebpf::programs::{
    LsmContext, SkBuffContext, SockAddrContext, SockContext, SockOpsContext, SockoptContext,
};

use call::{V4, V6};

#[cgroup_skb(egress)]
fn egress(ctx: SkBuffContext) -> i32 {
    belt::egress(&ctx)
}

#[cgroup_sock(sock_create)]
fn sock_create(ctx: SockContext) -> i32 {
    create::sock_create(&ctx)
}

#[cgroup_sockopt(setsockopt)]
fn setsockopt(ctx: SockoptContext) -> i32 {
    options::setsockopt(&ctx)
}

#[sock_ops]
fn workload_ops(ctx: SockOpsContext) -> u32 {
    established::workload(&ctx)
}

#[sock_ops]
fn agent_ops(ctx: SockOpsContext) -> u32 {
    established::agent(&ctx)
}

#[cgroup_sock_addr(bind4)]
fn bind4(ctx: SockAddrContext) -> i32 {
    bind::bind::<V4>(&ctx)
}

#[cgroup_sock_addr(bind6)]
fn bind6(ctx: SockAddrContext) -> i32 {
    bind::bind::<V6>(&ctx)
}

#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    connect::connect::<V4>(&ctx)
}

#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    connect::connect::<V6>(&ctx)
}

#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    datagram::sendmsg::<V4>(&ctx)
}

#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    datagram::sendmsg::<V6>(&ctx)
}

#[cgroup_sock_addr(recvmsg4)]
fn recvmsg4(ctx: SockAddrContext) -> i32 {
    peername::restore::<V4>(&ctx)
}

#[cgroup_sock_addr(recvmsg6)]
fn recvmsg6(ctx: SockAddrContext) -> i32 {
    peername::restore::<V6>(&ctx)
}

#[cgroup_sock_addr(getpeername4)]
fn getpeername4(ctx: SockAddrContext) -> i32 {
    peername::restore::<V4>(&ctx)
}

#[cgroup_sock_addr(getpeername6)]
fn getpeername6(ctx: SockAddrContext) -> i32 {
    peername::restore::<V6>(&ctx)
}

#[cgroup_sock_addr(connect4)]
fn sentinel4(ctx: SockAddrContext) -> i32 {
    sentinel::watch::<V4>(&ctx)
}

#[cgroup_sock_addr(connect6)]
fn sentinel6(ctx: SockAddrContext) -> i32 {
    sentinel::watch::<V6>(&ctx)
}

#[cgroup_sock_addr(sendmsg4)]
fn sentinel_msg4(ctx: SockAddrContext) -> i32 {
    sentinel::watch::<V4>(&ctx)
}

#[cgroup_sock_addr(sendmsg6)]
fn sentinel_msg6(ctx: SockAddrContext) -> i32 {
    sentinel::watch::<V6>(&ctx)
}

#[lsm_cgroup(hook = "socket_create")]
fn families(ctx: LsmContext) -> i32 {
    families::socket_create(&ctx)
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

// The helpers that are "GPL only" ask for it; the crate is MIT or GPL-2.0.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
