//! `sendmsg`: datagrams that name their destination. DNS goes to the agent, the rest nowhere.

use aya_ebpf::programs::SockAddrContext;
use outbound_common::tenant::{AGENT_V6, agent_v4};
use outbound_common::{Addr16, Counter, Flow, ListenerEntry, TenantEntry};

use crate::call::{Call, Ip, UDP};
use crate::connect::{judge, redirect_dns};
use crate::refuse::{EPERM, LET_THROUGH};

#[inline(always)]
pub(crate) fn sendmsg(ctx: &SockAddrContext, ip: Ip) -> i32 {
    let call = Call::read(ctx, ip);
    let (flow, tenant, listener) = match judge(&call) {
        Ok(known) => known,
        Err(refused) => return refused,
    };
    if call.protocol != UDP {
        let attempt = call.attempt(tenant.cgroup);
        return attempt.refuse(Counter::SocketKind, EPERM);
    }
    if is_rewritten(&call, flow, tenant, listener) {
        return LET_THROUGH;
    }
    redirect_dns(&call, flow, tenant, listener)
}

/// A connected socket with a mapped peer comes by with every send, with the address that connect
/// was rewritten to; it is let through once more.
#[inline(always)]
fn is_rewritten(call: &Call, flow: &Flow, tenant: &TenantEntry, listener: &ListenerEntry) -> bool {
    if flow.family == 0 || listener.dns_port == 0 || call.port.get() != listener.dns_port {
        return false;
    }
    let by_v4 = agent_v4(tenant.slot, flow.destination, flow.destination_port.get());
    call.address == Addr16::from_v4_word(by_v4)
        || (!flow.destination.is_v4() && call.address == AGENT_V6)
}
