//! In the agent's place: listeners that show what reaches them, and as what.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd as _;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use outbound_common::ListenerEntry;
use socket2::{Domain, Protocol, Socket, Type};

use super::network::Namespace;
use crate::model::addr::Downstream;
use crate::model::flow::Flows as _;
use crate::redirect::{KernelFlows, Redirect};

/// Outside the range of ephemeral ports.
pub(super) const TCP_PORT: u16 = 15_001;
/// Bound for UDP alone.
pub(super) const DNS_PORT: u16 = 15_053;

/// Something reached the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// With its original destination, where the kernel knows it.
    Connection(Option<SocketAddr>),
    Datagram,
}

pub(super) struct Agent {
    streams: Vec<Socket>,
    datagrams: Vec<Socket>,
    flows: KernelFlows,
}

impl Agent {
    /// Listens in a namespace and publishes it.
    pub(super) fn listen(netns: &Namespace, redirect: &Redirect) -> anyhow::Result<Self> {
        let (streams, datagrams) = netns.enter(|| {
            let streams = bind(Type::STREAM, Protocol::TCP, TCP_PORT)?;
            for stream in &streams {
                stream.listen(16)?;
            }
            let datagrams = bind(Type::DGRAM, Protocol::UDP, DNS_PORT)?;
            io::Result::Ok((streams, datagrams))
        })??;
        let entry = ListenerEntry {
            tcp_port: TCP_PORT,
            dns_port: DNS_PORT,
            flags: 0,
        };
        redirect.listen(netns.cookie(), entry)?;
        Ok(Self {
            streams,
            datagrams,
            flows: redirect.flows()?,
        })
    }

    /// Takes what has come; where nothing has, waits that long for something.
    pub(super) fn arrivals(&self, wait: PollTimeout) -> anyhow::Result<Vec<Arrival>> {
        let sockets = self.streams.iter().chain(&self.datagrams);
        let mut readable: Vec<PollFd<'_>> = sockets
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        poll(&mut readable, wait)?;
        let mut arrivals = Vec::new();
        for listener in &self.streams {
            while let Ok((accepted, peer)) = listener.accept() {
                let nobody = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
                let downstream = Downstream(peer.as_socket().unwrap_or(nobody));
                let flow = self.flows.flow(accepted.as_fd(), downstream);
                arrivals.push(Arrival::Connection(flow.map(|flow| flow.original_dst.0)));
            }
        }
        for socket in &self.datagrams {
            let mut octet = [std::mem::MaybeUninit::uninit(); 1];
            while socket.recv(&mut octet).is_ok() {
                arrivals.push(Arrival::Datagram);
            }
        }
        Ok(arrivals)
    }
}

/// As the agent binds: any IPv4 address and `::1`, on `lo` alone. Without IPv6 on this host, IPv4.
fn bind(kind: Type, protocol: Protocol, port: u16) -> io::Result<Vec<Socket>> {
    let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let mut sockets = vec![bind_one(Domain::IPV4, kind, protocol, (any, port).into())?];
    let loopback = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    match bind_one(Domain::IPV6, kind, protocol, loopback) {
        Ok(socket) => sockets.push(socket),
        Err(error) => tracing::debug!(%error, "no listener on ::1"),
    }
    Ok(sockets)
}

fn bind_one(
    domain: Domain,
    kind: Type,
    protocol: Protocol,
    address: SocketAddr,
) -> io::Result<Socket> {
    let socket = Socket::new(domain, kind, Some(protocol))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv4() {
        socket.bind_device(Some(b"lo"))?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}
