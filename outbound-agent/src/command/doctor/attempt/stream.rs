//! Attempts over connections.

use std::io::{self, BufRead as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use nix::libc;
use nix::sys::socket::{MsgFlags, SockaddrStorage, sendto};
use socket2::{Domain, Socket, Type};

use super::{MAPPED, OUTSIDE_V4, OUTSIDE_V6, PATIENCE, PAYLOAD, Steps};
use crate::command::doctor::network::{INSIDE_V4, OUTSIDE_END_V4, OUTSIDE_END_V6, UPLINK, WITNESS};

const TCP: i32 = libc::IPPROTO_TCP;
const HTTP: u16 = 80;

const SO_BINDTODEVICE: (i32, i32) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
const SO_BINDTOIFINDEX: (i32, i32) = (libc::SOL_SOCKET, 62);
const BIND_ADDRESS_NO_PORT: (i32, i32) = (libc::SOL_IP, libc::IP_BIND_ADDRESS_NO_PORT);
const IP_OPTIONS: (i32, i32) = (libc::SOL_IP, libc::IP_OPTIONS);
const IPV6_RTHDR: (i32, i32) = (libc::SOL_IPV6, libc::IPV6_RTHDR);
const FASTOPEN_CONNECT: (i32, i32) = (libc::SOL_TCP, libc::TCP_FASTOPEN_CONNECT);
const MSG_FASTOPEN: MsgFlags = MsgFlags::from_bits_retain(libc::MSG_FASTOPEN);

fn to(address: IpAddr) -> SocketAddr {
    SocketAddr::new(address, HTTP)
}

fn tcp(steps: &mut Steps, domain: Domain) -> Option<Socket> {
    steps.socket(domain, Type::STREAM, TCP)
}

/// Blocking, unlike the others.
pub(in super::super) fn tcp4(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV4)?;
    steps.note("SO_SNDTIMEO", socket.set_write_timeout(Some(PATIENCE)))?;
    steps.note("connect", socket.connect(&to(OUTSIDE_V4).into()))
}

pub(in super::super) fn tcp6(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV6)?;
    steps.connect(&socket, to(OUTSIDE_V6))
}

pub(in super::super) fn mapped(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV6)?;
    steps.connect(&socket, to(MAPPED))
}

pub(in super::super) fn bound_source(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV4)?;
    let on = 1_i32.to_ne_bytes();
    steps.option(
        &socket,
        "IP_BIND_ADDRESS_NO_PORT",
        BIND_ADDRESS_NO_PORT,
        &on,
    );
    let source = SocketAddr::new(INSIDE_V4.into(), 0);
    steps.note("bind", socket.bind(&source.into()))?;
    steps.connect(&socket, to(OUTSIDE_V4))
}

pub(in super::super) fn fast_open_sendto(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV4)?;
    steps.note("SO_SNDTIMEO", socket.set_write_timeout(Some(PATIENCE)))?;
    let to = SockaddrStorage::from(to(OUTSIDE_V4));
    let sent = sendto(socket.as_raw_fd(), PAYLOAD, &to, MSG_FASTOPEN);
    steps.note("sendto", sent).map(drop)
}

pub(in super::super) fn fast_open_connect(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV4)?;
    steps.note("SO_SNDTIMEO", socket.set_write_timeout(Some(PATIENCE)))?;
    let on = 1_i32.to_ne_bytes();
    steps.option(&socket, "TCP_FASTOPEN_CONNECT", FASTOPEN_CONNECT, &on);
    steps.note("connect", socket.connect(&to(OUTSIDE_V4).into()))?;
    steps.note("send", socket.send(PAYLOAD)).map(drop)
}

pub(in super::super) fn multipath(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::STREAM, libc::IPPROTO_MPTCP)?;
    steps.connect(&socket, to(OUTSIDE_V4))
}

pub(in super::super) fn sctp(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::STREAM, libc::IPPROTO_SCTP)?;
    steps.connect(&socket, to(OUTSIDE_V4))
}

pub(in super::super) fn dccp(steps: &mut Steps) -> Option<()> {
    let kind = Type::from(libc::SOCK_DCCP);
    let socket = steps.socket(Domain::IPV4, kind, libc::IPPROTO_DCCP)?;
    steps.connect(&socket, to(OUTSIDE_V4))
}

/// A packet for a loopback address leaves by the device that its socket is bound to: that the
/// address was rewritten is not enough.
pub(in super::super) fn bind_device(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV4)?;
    steps.option(
        &socket,
        "SO_BINDTODEVICE",
        SO_BINDTODEVICE,
        UPLINK.as_bytes(),
    );
    steps.connect(&socket, to(Ipv4Addr::LOCALHOST.into()))
}

pub(in super::super) fn bind_interface(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV4)?;
    let index = steps.uplink()?.to_ne_bytes();
    steps.option(&socket, "SO_BINDTOIFINDEX", SO_BINDTOIFINDEX, &index);
    steps.connect(&socket, to(Ipv4Addr::LOCALHOST.into()))
}

/// The packet goes to the first hop, whatever the destination is.
pub(in super::super) fn source_route(steps: &mut Steps) -> Option<()> {
    const LOOSE_SOURCE_ROUTE: u8 = 131;
    let socket = tcp(steps, Domain::IPV4)?;
    let mut route = vec![LOOSE_SOURCE_ROUTE, 7, 4];
    route.extend(OUTSIDE_END_V4.octets());
    route.push(0);
    steps.option(&socket, "IP_OPTIONS", IP_OPTIONS, &route);
    steps.connect(&socket, to(Ipv4Addr::LOCALHOST.into()))
}

/// RFC 8754: the packet goes to the first segment.
pub(in super::super) fn routing_header(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV6)?;
    // Next header, length, type 4, one segment left, last entry 1, flags, tag.
    let mut header = vec![0, 4, 4, 1, 1, 0, 0, 0];
    header.extend(Ipv6Addr::UNSPECIFIED.octets());
    header.extend(OUTSIDE_END_V6.octets());
    steps.option(&socket, "IPV6_RTHDR", IPV6_RTHDR, &header);
    steps.connect(&socket, to(OUTSIDE_V6))
}

pub(in super::super) fn inherited(steps: &mut Steps) -> Option<()> {
    let socket = super::inherited_socket(steps)?;
    steps.connect(&socket, to(OUTSIDE_V4))
}

/// Connects, says so, and sends once it is told that the fence stands.
pub(in super::super) fn early(steps: &mut Steps) -> Option<()> {
    let socket = tcp(steps, Domain::IPV4)?;
    steps.connect(&socket, WITNESS)?;
    steps.note("write", crate::command::output::say("connected"))?;
    let mut line = String::new();
    steps.note("read", io::stdin().lock().read_line(&mut line))?;
    steps.note("SO_RCVTIMEO", socket.set_read_timeout(Some(PATIENCE)))?;
    steps.note("send", socket.send(PAYLOAD))?;
    Some(())
}
