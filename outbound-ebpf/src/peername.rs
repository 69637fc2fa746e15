//! `getpeername` and `recvmsg`: the workload sees the peer that it asked for.

use aya_ebpf::programs::SockAddrContext;
use outbound_common::tenant::{AGENT_V6, is_agent_v4};

use crate::call::{Call, UDP};
use crate::maps::{SOCKETS, listener};
use crate::refuse::LET_THROUGH;

/// These hooks cannot refuse: a peer that is not the agent is shown as it is.
#[inline(always)]
pub(crate) fn restore<const IP: u32>(ctx: &SockAddrContext) -> i32 {
    let call = Call::<IP>::read(ctx);
    let Some(flow) = SOCKETS.get(call.sk) else {
        return LET_THROUGH;
    };
    if flow.family == 0 {
        return LET_THROUGH;
    }
    let Some(listener) = listener(flow.netns) else {
        return LET_THROUGH;
    };
    let port = call.port.get();
    let is_agent_port = match call.protocol {
        UDP => port == listener.dns_port,
        _ => port == listener.tcp_port,
    };
    let is_agent_address = if call.address.is_v4() {
        is_agent_v4(flow.slot, call.address.v4_word())
    } else {
        call.address == AGENT_V6
    };
    if is_agent_port && is_agent_address {
        call.rewrite(flow.destination, flow.destination_port);
    }
    LET_THROUGH
}
