//! The hand-over: from the workload's socket through `FLOWS` to the socket that the agent accepts.
//!
//! `TCP_CONNECT_CB` runs before the SYN leaves, when the source port is known;
//! `PASSIVE_ESTABLISHED_CB` runs before `accept` can return the socket. In between the flow is
//! found by what both ends know of the connection, afterwards by the accepted socket alone, so
//! that a port that is used again cannot confuse anyone.

use aya_ebpf::bindings::{
    BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB, BPF_SOCK_OPS_STATE_CB, BPF_SOCK_OPS_STATE_CB_FLAG,
    BPF_SOCK_OPS_TCP_CONNECT_CB, BPF_SOCK_OPS_TCP_LISTEN_CB, BPF_TCP_CLOSE, bpf_sock_ops,
};
use aya_ebpf::helpers::generated::{
    bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_sock_ops_cb_flags_set,
};
use aya_ebpf::programs::SockOpsContext;
use outbound_common::flow::FLOW_INBOUND;
use outbound_common::{Addr16, Counter, Flow, FlowKey};

use crate::account;
use crate::call::{AF_INET, TCP, read};
use crate::maps::{ACCEPTED, FLOWS, SOCKETS, count, listener};

/// sock_ops programs have no verdict.
const DONE: u32 = 1;

#[inline(always)]
pub(crate) fn workload(ctx: &SockOpsContext) -> u32 {
    let ops = ctx.ops;
    match read!((*ops).op) {
        BPF_SOCK_OPS_TCP_CONNECT_CB => connecting(ops),
        BPF_SOCK_OPS_TCP_LISTEN_CB => listening(ops),
        BPF_SOCK_OPS_STATE_CB => state_changed(ops),
        _ => DONE,
    }
}

#[inline(always)]
fn connecting(ops: *mut bpf_sock_ops) -> u32 {
    let Some(flow) = SOCKETS.get(read!((*ops).__bindgen_anon_2.sk)) else {
        count(Counter::NoStamp);
        return DONE;
    };
    if flow.family == 0 {
        count(Counter::NoStamp);
        return DONE;
    }
    // SAFETY: the context.
    unsafe { bpf_sock_ops_cb_flags_set(ops, BPF_SOCK_OPS_STATE_CB_FLAG as i32) };
    let key = key(ops, End::Workload);
    let flow: &Flow = flow;
    if let Err(counter) = account::remember(key, flow, false) {
        count(counter);
    }
    DONE
}

/// What a listening socket and its children send answers a peer that asked first.
#[inline(always)]
fn listening(ops: *mut bpf_sock_ops) -> u32 {
    if let Some(flow) = SOCKETS.get(read!((*ops).__bindgen_anon_2.sk)) {
        flow.family = 0;
        flow.flags |= FLOW_INBOUND;
    }
    DONE
}

/// A socket that closes takes back the flow that the agent never accepted. One that the agent
/// did accept has left `FLOWS` before: a socket closes once its FIN is acknowledged, and that is
/// done by the accepted socket.
#[inline(always)]
fn state_changed(ops: *mut bpf_sock_ops) -> u32 {
    if read!((*ops).__bindgen_anon_1.args[1]) != BPF_TCP_CLOSE {
        return DONE;
    }
    let key = key(ops, End::Workload);
    // SAFETY: the context.
    let cookie = unsafe { bpf_get_socket_cookie(ops.cast()) };
    // SAFETY: without preallocation an entry is immutable until its RCU grace period ends.
    if let Some(flow) = unsafe { FLOWS.get(key) }
        && flow.cookie == cookie
    {
        account::forget(key, flow);
    }
    DONE
}

#[inline(always)]
pub(crate) fn agent(ctx: &SockOpsContext) -> u32 {
    let ops = ctx.ops;
    if read!((*ops).op) != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB {
        return DONE;
    }
    let sk = read!((*ops).__bindgen_anon_2.sk);
    let key = key(ops, End::Agent);
    // The agent has other servers than the one that connects are redirected to.
    let Some(listener) = listener(key.netns) else {
        return DONE;
    };
    if sk.is_null() || key.agent_port != listener.tcp_port {
        return DONE;
    }
    // SAFETY: as above.
    let Some(flow) = (unsafe { FLOWS.get(key) }) else {
        count(Counter::FlowMissing);
        trace!(
            ctx,
            "no flow for a connection from port {}", key.source_port
        );
        return DONE;
    };
    let mut accepted = *flow;
    if !ACCEPTED.set(sk, &mut accepted) {
        count(Counter::StorageFailed);
    }
    account::forget(key, flow);
    DONE
}

#[derive(Clone, Copy)]
enum End {
    Workload,
    Agent,
}

/// The same key from either end.
#[inline(always)]
fn key(ops: *mut bpf_sock_ops, end: End) -> FlowKey {
    let is_v4 = read!((*ops).family) == AF_INET;
    let local_port = read!((*ops).local_port) as u16;
    let remote_port = u32::from_be(read!((*ops).remote_port)) as u16;
    // Each read before any is chosen: the compiler would choose the offset instead, and the
    // verifier refuses "dereference of modified ctx ptr".
    let (local_v4, remote_v4) = (read!((*ops).local_ip4), read!((*ops).remote_ip4));
    let local_v6 = [
        read!((*ops).local_ip6[0]),
        read!((*ops).local_ip6[1]),
        read!((*ops).local_ip6[2]),
        read!((*ops).local_ip6[3]),
    ];
    let remote_v6 = [
        read!((*ops).remote_ip6[0]),
        read!((*ops).remote_ip6[1]),
        read!((*ops).remote_ip6[2]),
        read!((*ops).remote_ip6[3]),
    ];
    let (local, remote) = if is_v4 {
        (
            Addr16::from_v4_word(local_v4),
            Addr16::from_v4_word(remote_v4),
        )
    } else {
        (Addr16(local_v6), Addr16(remote_v6))
    };
    let (source, source_port, agent, agent_port) = match end {
        End::Workload => (local, local_port, remote, remote_port),
        End::Agent => (remote, remote_port, local, local_port),
    };
    FlowKey {
        // SAFETY: the context.
        netns: unsafe { bpf_get_netns_cookie(ops.cast()) },
        source,
        agent,
        source_port,
        agent_port,
        protocol: TCP,
    }
}
