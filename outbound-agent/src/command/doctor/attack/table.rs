//! The table of attacks.

use super::super::attempt::{datagram, other, stream};
use super::{Aim, Attack, Means, attack};

const TO_V4: Aim = Aim::Redirected("192.0.2.7:80");
const TO_V6: Aim = Aim::Redirected("[2001:db8::7]:80");

const STREAMS: &[Attack] = &[
    attack("tcp4", "TCP over IPv4", TO_V4, "connect4", stream::tcp4),
    attack("tcp6", "TCP over IPv6", TO_V6, "connect6", stream::tcp6),
    attack(
        "tcp_mapped",
        "TCP to an IPv4-mapped address",
        TO_V4,
        "connect6",
        stream::mapped,
    ),
    attack(
        "tcp_bound",
        "TCP from a chosen source",
        TO_V4,
        "connect4",
        stream::bound_source,
    ),
    attack(
        "tfo_sendto",
        "TCP Fast Open, sendto",
        TO_V4,
        "connect4",
        stream::fast_open_sendto,
    ),
    attack(
        "tfo_connect",
        "TCP Fast Open, connect",
        TO_V4,
        "connect4",
        stream::fast_open_connect,
    ),
    attack(
        "mptcp",
        "Multipath TCP",
        Aim::Contained,
        "sock_create",
        stream::multipath,
    ),
    attack(
        "sctp",
        "SCTP",
        Aim::Contained,
        "sock_create, egress",
        stream::sctp,
    ),
    attack(
        "dccp",
        "DCCP",
        Aim::Contained,
        "sock_create, egress",
        stream::dccp,
    ),
    attack(
        "bind_device",
        "TCP, SO_BINDTODEVICE",
        Aim::Contained,
        "setsockopt, connect4, egress",
        stream::bind_device,
    ),
    attack(
        "bind_interface",
        "TCP, SO_BINDTOIFINDEX",
        Aim::Contained,
        "setsockopt, connect4, egress",
        stream::bind_interface,
    ),
    attack(
        "source_route",
        "TCP, IP_OPTIONS source route",
        Aim::Contained,
        "setsockopt, egress",
        stream::source_route,
    )
    .privileged(),
    attack(
        "routing_header",
        "TCP, IPV6_RTHDR type 4",
        Aim::Contained,
        "setsockopt, egress",
        stream::routing_header,
    ),
];

const DATAGRAMS: &[Attack] = &[
    attack(
        "udp4",
        "UDP over IPv4, connected",
        Aim::Contained,
        "connect4",
        datagram::connected4,
    ),
    attack(
        "udp6",
        "UDP over IPv6, connected",
        Aim::Contained,
        "connect6",
        datagram::connected6,
    ),
    attack(
        "udp4_sendto",
        "UDP over IPv4, unconnected",
        Aim::Contained,
        "sendmsg4",
        datagram::sendto4,
    ),
    attack(
        "udp6_sendto",
        "UDP over IPv6, unconnected",
        Aim::Contained,
        "sendmsg6",
        datagram::sendto6,
    ),
    attack(
        "udp_mapped",
        "UDP to an IPv4-mapped address",
        Aim::Contained,
        "sendmsg4",
        datagram::mapped,
    ),
    attack(
        "udp_large",
        "UDP in fragments",
        Aim::Contained,
        "sendmsg4, egress",
        datagram::large,
    ),
    attack(
        "udp_multicast",
        "UDP to a multicast group",
        Aim::Contained,
        "sendmsg4",
        datagram::multicast,
    ),
    attack(
        "udp_device",
        "UDP, SO_BINDTODEVICE",
        Aim::Contained,
        "setsockopt, sendmsg4, egress",
        datagram::bind_device,
    ),
    attack(
        "unicast_if",
        "UDP, IP_UNICAST_IF",
        Aim::Contained,
        "setsockopt, egress",
        datagram::unicast_interface4,
    ),
    attack(
        "unicast_if6",
        "UDP, IPV6_UNICAST_IF",
        Aim::Contained,
        "setsockopt, egress",
        datagram::unicast_interface6,
    ),
    attack(
        "pktinfo",
        "UDP, IP_PKTINFO interface",
        Aim::Contained,
        "egress",
        datagram::packet_info4,
    ),
    attack(
        "pktinfo6",
        "UDP, IPV6_PKTINFO interface",
        Aim::Contained,
        "egress",
        datagram::packet_info6,
    ),
    attack(
        "sticky_pktinfo6",
        "UDP, IPV6_PKTINFO option",
        Aim::Contained,
        "setsockopt, egress",
        datagram::sticky_packet_info,
    ),
    attack(
        "udp_lite",
        "UDP-Lite",
        Aim::Contained,
        "sock_create, egress",
        datagram::lite,
    ),
    attack(
        "ping",
        "ping socket",
        Aim::Contained,
        "sock_create, egress",
        datagram::ping4,
    ),
    attack(
        "ping6",
        "ping socket over IPv6",
        Aim::Contained,
        "sock_create, egress",
        datagram::ping6,
    ),
    attack(
        "raw",
        "raw socket",
        Aim::Contained,
        "sock_create, egress",
        datagram::raw,
    )
    .privileged(),
    attack(
        "raw_header",
        "raw socket, own IP header",
        Aim::Contained,
        "sock_create, egress",
        datagram::raw_header,
    )
    .privileged(),
];

const FOREIGN: &[Attack] = &[
    attack(
        "inherited",
        "TCP socket inherited from outside",
        Aim::Contained,
        "sentinel4",
        stream::inherited,
    )
    .by(Means::Inherited),
    attack(
        "passed",
        "UDP socket passed from outside",
        Aim::Contained,
        "sentinel_msg4",
        datagram::passed,
    )
    .by(Means::Passed),
    attack(
        "early",
        "connection from before the fence",
        Aim::Contained,
        "egress",
        stream::early,
    )
    .by(Means::Early),
];

const CALLS: &[Attack] = &[
    attack(
        "agent_port",
        "bind to the agent's port",
        Aim::Refused,
        "bind4",
        other::agent_port4,
    ),
    attack(
        "agent_port6",
        "bind to the agent's port, IPv6",
        Aim::Refused,
        "bind6",
        other::agent_port6,
    ),
    attack(
        "agent_address",
        "connect to the agent itself",
        Aim::Refused,
        "connect4",
        other::agent_address,
    ),
    attack(
        "transparent",
        "IP_TRANSPARENT",
        Aim::Refused,
        "setsockopt",
        other::transparent,
    )
    .privileged(),
    attack(
        "freebind",
        "IP_FREEBIND",
        Aim::Refused,
        "setsockopt",
        other::freebind,
    ),
    attack("mark", "SO_MARK", Aim::Refused, "setsockopt", other::mark).privileged(),
    attack(
        "repair",
        "TCP_REPAIR",
        Aim::Refused,
        "setsockopt",
        other::repair,
    )
    .privileged(),
    attack(
        "packet",
        "packet socket (AF_PACKET)",
        Aim::Contained,
        "families",
        other::packet,
    )
    .privileged()
    .needs_families(),
    attack("xdp", "AF_XDP", Aim::Refused, "families", other::xdp)
        .privileged()
        .needs_families(),
    attack("vsock", "AF_VSOCK", Aim::Refused, "families", other::vsock).needs_families(),
    attack("alg", "AF_ALG", Aim::Refused, "families", other::alg).needs_families(),
];

/// All of them, in the order of the table.
pub(in super::super) fn all() -> impl Iterator<Item = &'static Attack> {
    [STREAMS, DATAGRAMS, FOREIGN, CALLS].into_iter().flatten()
}
