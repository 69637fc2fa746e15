//! `cgroup_skb/egress`, the belt: whatever the socket hooks did not send to the agent goes nowhere.
//!
//! Packets to loopback addresses can leave by a real interface (device-bound sockets, control
//! messages with an interface, source routes), hence the checks beside the destination.

use aya_ebpf::EbpfContext as _;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_sk_fullsock};
use aya_ebpf::programs::SkBuffContext;
use outbound_common::flow::FLOW_INBOUND;
use outbound_common::tenant::{AGENT_V6, TENANT_INBOUND, is_agent_v4};
use outbound_common::{Addr16, Counter, Flow, FlowKey, PortBe};

use crate::account;
use crate::call::{AF_INET, AF_INET6, TCP, UDP, read};
use crate::maps::{SOCKETS, listener, tenant};
use crate::refuse::{Attempt, LET_THROUGH, Whose};

const LOOPBACK_INTERFACE: u32 = 1;
const ETH_P_IP: u32 = 0x0800_u16.to_be() as u32;
const ETH_P_IPV6: u32 = 0x86dd_u16.to_be() as u32;

#[inline(always)]
pub(crate) fn egress(ctx: &SkBuffContext) -> i32 {
    let skb = ctx.as_ptr().cast::<__sk_buff>();
    let ethertype = read!((*skb).protocol);
    let interface = read!((*skb).ifindex);
    let sk = read!((*skb).__bindgen_anon_2.sk);
    if sk.is_null() {
        return Attempt::drop_unknown(Counter::BeltUnstamped);
    }
    // SAFETY: not null; in this hook the context's socket is known only as a sock_common.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    let Some(flow) = SOCKETS.get(sk) else {
        return Attempt::drop_unknown(Counter::BeltUnstamped);
    };
    let packet = match Packet::read(ctx, ethertype) {
        Ok(packet) => packet,
        Err(unreadable) => return unreadable.drop_packet(Counter::BeltHeader, flow),
    };
    match judge(&packet, flow, interface) {
        Ok(Pass::Inbound | Pass::Connection) => LET_THROUGH,
        Ok(Pass::Datagram) => match remember_datagram(&packet, flow) {
            Ok(()) => LET_THROUGH,
            Err(counter) => packet.attempt(flow).drop_packet(counter, flow),
        },
        Err(counter) => packet.attempt(flow).drop_packet(counter, flow),
    }
}

/// Why a packet may pass.
enum Pass {
    Inbound,
    Connection,
    Datagram,
}

#[inline(always)]
fn judge(packet: &Packet, flow: &Flow, interface: u32) -> Result<Pass, Counter> {
    let Some(tenant) = tenant(flow.tenant_cgroup) else {
        return Err(Counter::BeltNoTenant);
    };
    let Some(listener) = listener(flow.netns) else {
        return Err(Counter::NoListener);
    };
    if flow.flags & FLOW_INBOUND != 0 {
        // A socket that came to one of the agent's ports by `listen` without `bind` answers nobody.
        let squats =
            packet.source_port == listener.tcp_port || packet.source_port == listener.dns_port;
        if tenant.flags & TENANT_INBOUND == 0 || packet.protocol != TCP || squats {
            return Err(Counter::BeltInbound);
        }
        return Ok(Pass::Inbound);
    }
    if flow.family == 0 {
        return Err(Counter::BeltUnstamped);
    }
    if interface != LOOPBACK_INTERFACE {
        return Err(Counter::BeltInterface);
    }
    let is_agent = if packet.destination.is_v4() {
        is_agent_v4(tenant.slot, packet.destination.v4_word())
    } else {
        packet.destination == AGENT_V6
    };
    let port = packet.destination_port;
    let is_dns = listener.dns_port != 0 && port == listener.dns_port;
    match packet.protocol {
        TCP if is_agent && port == listener.tcp_port => Ok(Pass::Connection),
        UDP if is_agent && is_dns => Ok(Pass::Datagram),
        _ => Err(Counter::BeltDestination),
    }
}

/// A datagram has no handshake: its flow is left for the agent to find by source. Without one it
/// would be nobody's.
#[inline(always)]
fn remember_datagram(packet: &Packet, flow: &mut Flow) -> Result<(), Counter> {
    // SAFETY: a helper without arguments.
    flow.connected_ns = unsafe { bpf_ktime_get_ns() };
    let flow: &Flow = flow;
    let key = FlowKey {
        netns: flow.netns,
        source: packet.source,
        agent: packet.destination,
        source_port: packet.source_port,
        agent_port: packet.destination_port,
        protocol: UDP,
    };
    account::remember(key, flow, true)
}

/// The headers that the belt looks at.
struct Packet {
    source: Addr16,
    destination: Addr16,
    protocol: u32,
    source_port: u16,
    destination_port: u16,
}

impl Packet {
    /// Fails on IP options, extension headers and fragments: all of them can change where a
    /// packet goes or hide what it is.
    #[inline(always)]
    fn read(ctx: &SkBuffContext, ethertype: u32) -> Result<Self, Attempt> {
        let (source, destination, protocol, transport) = match ethertype {
            ETH_P_IP => {
                let unreadable = || Attempt::without_address(Whose::NOBODYS, AF_INET, 0);
                let Ok(header) = ctx.load::<[u8; 20]>(0) else {
                    return Err(unreadable());
                };
                let is_fragment = (header[6] & 0x3f) | header[7] != 0;
                if header[0] != 0x45 || is_fragment {
                    return Err(unreadable());
                }
                let word = |at: usize| {
                    u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
                };
                (
                    Addr16::from_v4_word(word(12)),
                    Addr16::from_v4_word(word(16)),
                    u32::from(header[9]),
                    20,
                )
            }
            ETH_P_IPV6 => {
                let Ok(words) = ctx.load::<[u32; 10]>(0) else {
                    return Err(Attempt::without_address(Whose::NOBODYS, AF_INET6, 0));
                };
                (
                    Addr16([words[2], words[3], words[4], words[5]]),
                    Addr16([words[6], words[7], words[8], words[9]]),
                    (u32::from_be(words[1]) >> 8) & 0xff,
                    40,
                )
            }
            _ => return Err(Attempt::without_address(Whose::NOBODYS, 0, 0)),
        };
        if protocol != TCP && protocol != UDP {
            return Err(Attempt::without_address(Whose::NOBODYS, 0, protocol));
        }
        let Ok(ports) = ctx.load::<[u8; 4]>(transport) else {
            return Err(Attempt::without_address(Whose::NOBODYS, 0, protocol));
        };
        Ok(Self {
            source,
            destination,
            protocol,
            source_port: u16::from_be_bytes([ports[0], ports[1]]),
            destination_port: u16::from_be_bytes([ports[2], ports[3]]),
        })
    }

    #[inline(always)]
    fn attempt(&self, flow: &Flow) -> Attempt {
        Attempt {
            whose: flow.into(),
            destination: self.destination,
            port: PortBe::new(self.destination_port),
            protocol: self.protocol,
            family: if self.destination.is_v4() {
                AF_INET
            } else {
                AF_INET6
            },
        }
    }
}
