//! `connect`: remember where the workload wants to go, and send it to the agent.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use aya_ebpf::programs::SockAddrContext;
use outbound_common::flow::{FLOW_INBOUND, FLOW_V6ONLY};
use outbound_common::tenant::{
    AGENT_V6, LISTENER_NO_IPV6, LISTENER_PREFER_IPV4, TENANT_STRICT, agent_v4,
};
use outbound_common::{Addr16, Counter, Flow, ListenerEntry, PortBe, TenantEntry};

use crate::account;
use crate::call::{AF_INET, AF_INET6, Call, TCP, UDP, tenant_of_caller};
use crate::maps::{SOCKETS, count, listener, tenant};
use crate::refuse::{
    Attempt, EADDRNOTAVAIL, ECONNREFUSED, ENETUNREACH, EPERM, LET_THROUGH, Whose, comm,
};

const DNS: u16 = 53;
const LOOPBACK_NET: u32 = 127;

#[inline(always)]
pub(crate) fn connect<const IP: u32>(ctx: &SockAddrContext) -> i32 {
    let call = Call::<IP>::read(ctx);
    let (flow, tenant, listener) = match judge(&call) {
        Ok(known) => known,
        Err(verdict) => return verdict,
    };
    if call.protocol == TCP {
        // The log takes references: what it is given must not be what the verdict rests on.
        trace!(
            ctx,
            "connect to port {} in cgroup {}",
            call.port.get(),
            tenant.cgroup
        );
        let (port, counter) = (listener.tcp_port, Counter::Redirected);
        return redirect(&call, flow, tenant, listener, port, counter);
    }
    // Address sorting (RFC 6724) and QUIC's first try connect without ever sending.
    match is_dns(&call, listener) {
        true => redirect_dns(&call, flow, tenant, listener),
        false => Attempt::refuse_quietly(Counter::Datagram, ECONNREFUSED),
    }
}

/// Checks that hold for connects and datagrams alike. Fails with the verdict where there is
/// nothing more to decide.
#[inline(always)]
pub(crate) fn judge<const IP: u32>(
    call: &Call<IP>,
) -> Result<
    (
        &'static mut Flow,
        &'static TenantEntry,
        &'static ListenerEntry,
    ),
    i32,
> {
    let Some(flow) = SOCKETS.get(call.sk) else {
        return Err(call.attempt(Whose::NOBODYS).refuse(Counter::NoStamp, EPERM));
    };
    let attempt = call.attempt((&*flow).into());
    let Some(tenant) = tenant(flow.tenant_cgroup) else {
        return Err(attempt.refuse(Counter::NoTenant, EPERM));
    };
    if tenant.flags & TENANT_STRICT != 0 {
        let is_own = matches!(tenant_of_caller(), Some(caller) if caller.cgroup == tenant.cgroup);
        if !is_own {
            return Err(attempt.refuse(Counter::WrongTenant, EPERM));
        }
    }
    let Some(listener) = listener(flow.netns) else {
        return Err(attempt.refuse(Counter::NoListener, ENETUNREACH));
    };
    // A packet for a loopback address leaves by the device that its socket is bound to.
    if call.is_device_bound() {
        return Err(attempt.refuse(Counter::BoundDevice, ENETUNREACH));
    }
    if call.protocol != TCP && call.protocol != UDP {
        return Err(attempt.refuse(Counter::SocketKind, EPERM));
    }
    if is_redirected(call, flow, tenant, listener) {
        return Err(LET_THROUGH);
    }
    Ok((flow, tenant, listener))
}

/// Whether a datagram is for the resolver. All others are refused, at once, so that QUIC clients
/// fall back to TCP.
#[inline(always)]
pub(crate) fn is_dns<const IP: u32>(call: &Call<IP>, listener: &ListenerEntry) -> bool {
    call.port.get() == DNS && listener.dns_port != 0
}

/// A datagram to the resolver.
#[inline(always)]
pub(crate) fn redirect_dns<const IP: u32>(
    call: &Call<IP>,
    flow: &mut Flow,
    tenant: &TenantEntry,
    listener: &ListenerEntry,
) -> i32 {
    let counter = Counter::RedirectedDns;
    redirect(call, flow, tenant, listener, listener.dns_port, counter)
}

#[inline(always)]
fn redirect<const IP: u32>(
    call: &Call<IP>,
    flow: &mut Flow,
    tenant: &TenantEntry,
    listener: &ListenerEntry,
    agent_port: u16,
    counter: Counter,
) -> i32 {
    if is_agent(call, listener) {
        let attempt = call.attempt(tenant.into());
        return attempt.refuse(Counter::AgentAddress, ECONNREFUSED);
    }
    // As where a network has no port left.
    if call.protocol == TCP && !account::has_room(tenant.slot) {
        let attempt = call.attempt(tenant.into());
        return attempt.refuse(Counter::TenantFlowsFull, EADDRNOTAVAIL);
    }
    let by_v4 = call.address.is_v4() || goes_by_v4(call, flow, listener);
    flow.cookie = call.cookie();
    // SAFETY: a helper without arguments.
    flow.connected_ns = unsafe { bpf_ktime_get_ns() };
    flow.destination = call.address;
    flow.destination_port = call.port;
    flow.family = if call.address.is_v4() {
        AF_INET
    } else {
        AF_INET6
    } as u8;
    flow.flags &= !FLOW_INBOUND;
    flow.pid = (bpf_get_current_pid_tgid() >> 32) as u32;
    flow.uid = bpf_get_current_uid_gid() as u32;
    flow.slot = tenant.slot;
    flow.comm = comm();

    let agent = if by_v4 {
        let port = call.port.get();
        Addr16::from_v4_word(agent_v4(tenant.slot, call.address, port))
    } else {
        AGENT_V6
    };
    call.rewrite(agent, PortBe::new(agent_port));
    count(counter);
    LET_THROUGH
}

/// Whether the address is where this socket's last destination was redirected to. It is seen
/// again by the programs of an outer watched cgroup, and by `sendmsg` on a connected socket with
/// a mapped peer.
#[inline(always)]
fn is_redirected<const IP: u32>(
    call: &Call<IP>,
    flow: &Flow,
    tenant: &TenantEntry,
    listener: &ListenerEntry,
) -> bool {
    let is_v4 = flow.destination.is_v4();
    if flow.family == 0 || !is_agent_port(call.port.get(), listener) {
        return false;
    }
    let by_v4 = agent_v4(tenant.slot, flow.destination, flow.destination_port.get());
    call.address == Addr16::from_v4_word(by_v4) || (!is_v4 && call.address == AGENT_V6)
}

#[inline(always)]
fn is_agent_port(port: u16, listener: &ListenerEntry) -> bool {
    port == listener.tcp_port || (listener.dns_port != 0 && port == listener.dns_port)
}

/// Whether a connect to an IPv6 address goes to the agent over IPv4. TCP only: a sendmsg6 that
/// was rewritten to a mapped address is refused by the kernel.
#[inline(always)]
fn goes_by_v4<const IP: u32>(call: &Call<IP>, flow: &Flow, listener: &ListenerEntry) -> bool {
    if listener.flags & LISTENER_NO_IPV6 != 0 {
        return true;
    }
    listener.flags & LISTENER_PREFER_IPV4 != 0
        && call.protocol == TCP
        && flow.flags & FLOW_V6ONLY == 0
        && !call.is_source_bound()
}

/// Whether a destination is the agent itself: one of its ports on any loopback address, all of
/// which lead to it.
#[inline(always)]
pub(crate) fn is_agent<const IP: u32>(call: &Call<IP>, listener: &ListenerEntry) -> bool {
    is_agent_port(call.port.get(), listener) && is_loopback(call.address)
}

/// Whether an address leads to this host's own loopback, the unspecified ones among them.
#[inline(always)]
pub(crate) fn is_loopback(address: Addr16) -> bool {
    if address.is_v4() {
        let word = u32::from_be(address.v4_word());
        return word == 0 || word >> 24 == LOOPBACK_NET;
    }
    address == AGENT_V6 || address == Addr16::UNSPECIFIED
}
