//! Attempts that are over with the call itself, and families that are not IP.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;

use nix::libc;
use socket2::{Domain, Type};

use super::Steps;
use crate::command::doctor::agent::{DNS_PORT, TCP_PORT};
use crate::command::doctor::network::{INSIDE_MAC, INSIDE_V4, OUTSIDE_MAC};
use crate::sys;

const ON: [u8; 4] = 1_i32.to_ne_bytes();

/// Nobody listens there over TCP, so that it is free but for the hook.
pub(in super::super) fn agent_port4(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::STREAM, libc::IPPROTO_TCP)?;
    let port = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), DNS_PORT);
    steps.note("bind", socket.bind(&port.into()))
}

pub(in super::super) fn agent_port6(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV6, Type::STREAM, libc::IPPROTO_TCP)?;
    let port = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), DNS_PORT);
    steps.note("bind", socket.bind(&port.into()))
}

pub(in super::super) fn agent_address(steps: &mut Steps) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::STREAM, libc::IPPROTO_TCP)?;
    steps.connect(
        &socket,
        SocketAddr::new(Ipv4Addr::LOCALHOST.into(), TCP_PORT),
    )
}

fn set(steps: &mut Steps, name: &str, option: (i32, i32)) -> Option<()> {
    let socket = steps.socket(Domain::IPV4, Type::STREAM, libc::IPPROTO_TCP)?;
    steps.option(&socket, name, option, &ON);
    Some(())
}

pub(in super::super) fn transparent(steps: &mut Steps) -> Option<()> {
    set(
        steps,
        "IP_TRANSPARENT",
        (libc::SOL_IP, libc::IP_TRANSPARENT),
    )
}

pub(in super::super) fn freebind(steps: &mut Steps) -> Option<()> {
    set(steps, "IP_FREEBIND", (libc::SOL_IP, libc::IP_FREEBIND))
}

pub(in super::super) fn mark(steps: &mut Steps) -> Option<()> {
    set(steps, "SO_MARK", (libc::SOL_SOCKET, libc::SO_MARK))
}

pub(in super::super) fn repair(steps: &mut Steps) -> Option<()> {
    set(steps, "TCP_REPAIR", (libc::SOL_TCP, libc::TCP_REPAIR))
}

/// A whole frame, below every hook on sockets.
pub(in super::super) fn packet(steps: &mut Steps) -> Option<()> {
    const ETHERTYPE_IP: [u8; 2] = [0x08, 0x00];
    let socket = steps.socket(Domain::PACKET, Type::RAW, 0)?;
    let interface = steps.uplink()?;
    let mut frame = [OUTSIDE_MAC, INSIDE_MAC].concat();
    frame.extend(ETHERTYPE_IP);
    frame.extend(super::ip_packet(INSIDE_V4));
    let sent = sys::send_frame(socket.as_fd(), interface, &frame);
    steps.note("sendto", sent).map(drop)
}

fn create(steps: &mut Steps, domain: i32, kind: Type) -> Option<()> {
    let made = socket2::Socket::new(Domain::from(domain), kind, None);
    steps.note("socket", made).map(drop)
}

pub(in super::super) fn xdp(steps: &mut Steps) -> Option<()> {
    create(steps, libc::AF_XDP, Type::RAW)
}

pub(in super::super) fn vsock(steps: &mut Steps) -> Option<()> {
    create(steps, libc::AF_VSOCK, Type::STREAM)
}

pub(in super::super) fn alg(steps: &mut Steps) -> Option<()> {
    create(steps, libc::AF_ALG, Type::SEQPACKET)
}
