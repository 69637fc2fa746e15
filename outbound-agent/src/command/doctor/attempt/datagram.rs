//! Attempts over datagrams.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd as _, RawFd};

use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg, sendto,
};
use socket2::{Domain, Socket, Type};

use super::{MAPPED, OUTSIDE_V4, OUTSIDE_V6, PAYLOAD, Steps};
use crate::command::doctor::network::{INSIDE_V4, UPLINK};

const UDP: i32 = libc::IPPROTO_UDP;
const UDP_LITE: i32 = 136;
const QUIC: u16 = 443;
/// Let through to the agent, so that it is for the belt to see which way it goes.
const DNS: u16 = 53;

const SO_BINDTODEVICE: (i32, i32) = (libc::SOL_SOCKET, libc::SO_BINDTODEVICE);
const IP_UNICAST_IF: (i32, i32) = (libc::SOL_IP, 50);
const IPV6_UNICAST_IF: (i32, i32) = (libc::SOL_IPV6, 76);
const IPV6_PKTINFO: (i32, i32) = (libc::SOL_IPV6, libc::IPV6_PKTINFO);

fn udp(steps: &mut Steps, domain: Domain) -> Option<Socket> {
    steps.socket(domain, Type::DGRAM, UDP)
}

fn connect_and_send(steps: &mut Steps, socket: &Socket, to: SocketAddr) -> Option<()> {
    steps.note("connect", socket.connect(&to.into()))?;
    steps.note("send", socket.send(PAYLOAD)).map(drop)
}

pub(in super::super) fn connected4(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV4)?;
    connect_and_send(steps, &socket, SocketAddr::new(OUTSIDE_V4, QUIC))
}

pub(in super::super) fn connected6(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV6)?;
    connect_and_send(steps, &socket, SocketAddr::new(OUTSIDE_V6, QUIC))
}

pub(in super::super) fn sendto4(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV4)?;
    steps.send_to(&socket, SocketAddr::new(OUTSIDE_V4, QUIC))
}

pub(in super::super) fn sendto6(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV6)?;
    steps.send_to(&socket, SocketAddr::new(OUTSIDE_V6, QUIC))
}

pub(in super::super) fn mapped(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV6)?;
    steps.send_to(&socket, SocketAddr::new(MAPPED, QUIC))
}

pub(in super::super) fn large(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV4)?;
    let to = SocketAddr::new(OUTSIDE_V4, QUIC);
    steps
        .note("sendto", socket.send_to(&[0; 9000], &to.into()))
        .map(drop)
}

pub(in super::super) fn multicast(steps: &mut Steps) -> Option<()> {
    const GROUP: Ipv4Addr = Ipv4Addr::new(239, 1, 2, 3);
    let socket = udp(steps, Domain::IPV4)?;
    steps.send_to(&socket, SocketAddr::new(GROUP.into(), 9))
}

pub(in super::super) fn bind_device(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV4)?;
    steps.option(
        &socket,
        "SO_BINDTODEVICE",
        SO_BINDTODEVICE,
        UPLINK.as_bytes(),
    );
    steps.send_to(&socket, SocketAddr::new(OUTSIDE_V4, DNS))
}

pub(in super::super) fn unicast_interface4(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV4)?;
    let index = steps.uplink()?.to_be_bytes();
    steps.option(&socket, "IP_UNICAST_IF", IP_UNICAST_IF, &index);
    steps.send_to(&socket, SocketAddr::new(OUTSIDE_V4, DNS))
}

pub(in super::super) fn unicast_interface6(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV6)?;
    let index = steps.uplink()?.to_be_bytes();
    steps.option(&socket, "IPV6_UNICAST_IF", IPV6_UNICAST_IF, &index);
    steps.send_to(&socket, SocketAddr::new(OUTSIDE_V6, DNS))
}

pub(in super::super) fn packet_info4(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV4)?;
    let nowhere = libc::in_addr { s_addr: 0 };
    let info = libc::in_pktinfo {
        ipi_ifindex: steps.uplink()?.cast_signed(),
        ipi_spec_dst: nowhere,
        ipi_addr: nowhere,
    };
    send_with(
        steps,
        &socket,
        OUTSIDE_V4,
        ControlMessage::Ipv4PacketInfo(&info),
    )
}

pub(in super::super) fn packet_info6(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV6)?;
    let info = libc::in6_pktinfo {
        ipi6_addr: libc::in6_addr { s6_addr: [0; 16] },
        ipi6_ifindex: steps.uplink()?,
    };
    send_with(
        steps,
        &socket,
        OUTSIDE_V6,
        ControlMessage::Ipv6PacketInfo(&info),
    )
}

/// A control message never reaches the `setsockopt` hook.
fn send_with(
    steps: &mut Steps,
    socket: &Socket,
    to: IpAddr,
    message: ControlMessage<'_>,
) -> Option<()> {
    let to = SockaddrStorage::from(SocketAddr::new(to, DNS));
    let payload = [IoSlice::new(PAYLOAD)];
    let none = MsgFlags::empty();
    let sent = sendmsg(socket.as_raw_fd(), &payload, &[message], none, Some(&to));
    steps.note("sendmsg", sent).map(drop)
}

pub(in super::super) fn sticky_packet_info(steps: &mut Steps) -> Option<()> {
    let socket = udp(steps, Domain::IPV6)?;
    let mut info = Ipv6Addr::UNSPECIFIED.octets().to_vec();
    info.extend(steps.uplink()?.to_ne_bytes());
    steps.option(&socket, "IPV6_PKTINFO", IPV6_PKTINFO, &info);
    steps.send_to(&socket, SocketAddr::new(OUTSIDE_V6, DNS))
}

/// Its `connect` passes no hook.
pub(in super::super) fn lite(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::DGRAM, UDP_LITE)?;
    connect_and_send(steps, &socket, SocketAddr::new(OUTSIDE_V4, QUIC))
}

pub(in super::super) fn ping4(steps: &mut Steps) -> Option<()> {
    const ECHO_REQUEST: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0];
    let socket = steps.socket(Domain::IPV4, Type::DGRAM, libc::IPPROTO_ICMP)?;
    let to = SocketAddr::new(OUTSIDE_V4, 0);
    steps
        .note("sendto", socket.send_to(&ECHO_REQUEST, &to.into()))
        .map(drop)
}

pub(in super::super) fn ping6(steps: &mut Steps) -> Option<()> {
    const ECHO_REQUEST: [u8; 8] = [128, 0, 0, 0, 0, 0, 0, 0];
    let socket = steps.socket(Domain::IPV6, Type::DGRAM, libc::IPPROTO_ICMPV6)?;
    let to = SocketAddr::new(OUTSIDE_V6, 0);
    steps
        .note("sendto", socket.send_to(&ECHO_REQUEST, &to.into()))
        .map(drop)
}

pub(in super::super) fn raw(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::RAW, UDP)?;
    steps.send_to(&socket, SocketAddr::new(OUTSIDE_V4, 0))
}

pub(in super::super) fn raw_header(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::RAW, libc::IPPROTO_RAW)?;
    let to = SocketAddr::new(OUTSIDE_V4, 0);
    let packet = super::ip_packet(INSIDE_V4);
    steps
        .note("sendto", socket.send_to(&packet, &to.into()))
        .map(drop)
}

/// Takes a socket from the Unix socket that is its standard input. Whoever sent it was outside.
pub(in super::super) fn passed(steps: &mut Steps) -> Option<()> {
    let socket = receive(steps)?;
    let to = SockaddrStorage::from(SocketAddr::new(OUTSIDE_V4, QUIC));
    let sent = sendto(socket, PAYLOAD, &to, MsgFlags::empty());
    steps.note("sendto", sent).map(drop)
}

fn receive(steps: &mut Steps) -> Option<RawFd> {
    let mut octet = [0];
    let mut payload = [IoSliceMut::new(&mut octet)];
    let mut space = nix::cmsg_space!(RawFd);
    let stdin = std::io::stdin().as_raw_fd();
    let none = MsgFlags::empty();
    let received = recvmsg::<()>(stdin, &mut payload, Some(&mut space), none);
    let message = match received {
        Ok(message) => message,
        Err(errno) => return steps.note("recvmsg", Err(errno)),
    };
    let messages = steps.note("recvmsg", message.cmsgs())?;
    messages
        .filter_map(|message| match message {
            ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
            _ => None,
        })
        .next()
}
