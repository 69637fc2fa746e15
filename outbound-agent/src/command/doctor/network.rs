//! Two network namespaces of our own, and the witness in the outer one.
//!
//! Inside is where the attempts are made: `lo`, and one end of a veth pair as the way to
//! everywhere. Outside is the other end, which takes a packet for any address.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::net::if_::InterfaceFlags;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns, unshare};
use socket2::{Domain, Protocol, Socket, Type};

use super::netlink::{End, Rtnetlink};
use crate::sys;

/// Name of the inner end.
pub(super) const UPLINK: &str = "up0";
const FAR_END: &str = "up1";

/// Addresses of the two ends.
pub(super) const INSIDE_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const INSIDE_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);
pub(super) const OUTSIDE_END_V4: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
pub(super) const OUTSIDE_END_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);
pub(super) const INSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(super) const OUTSIDE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A server outside, for connections that are to last.
pub(super) const WITNESS: SocketAddr = SocketAddr::new(IpAddr::V4(OUTSIDE_END_V4), 8080);

/// How long links may take to come up.
const PATIENCE: Duration = Duration::from_secs(5);

/// A network namespace with `lo` up.
pub(super) struct Namespace {
    descriptor: OwnedFd,
    cookie: u64,
}

impl Namespace {
    fn make() -> anyhow::Result<Self> {
        on_a_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
            sys::bring_loopback_up().context("cannot bring its loopback up")?;
            let descriptor = File::open("/proc/thread-self/ns/net")?;
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            let cookie = sys::netns_cookie(socket.as_fd())?;
            anyhow::Ok(Self {
                descriptor: descriptor.into(),
                cookie,
            })
        })?
    }

    /// As `SO_NETNS_COOKIE` says.
    pub(super) fn cookie(&self) -> u64 {
        self.cookie
    }

    /// For a process to be started in it.
    pub(super) fn descriptor(&self) -> io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }

    /// Does something inside, on a thread of its own.
    pub(super) fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        on_a_thread(|| {
            setns(&self.descriptor, CloneFlags::CLONE_NEWNET)
                .context("cannot enter a network namespace")?;
            anyhow::Ok(inside())
        })?
    }
}

/// Namespaces are per thread: what enters one does not come back.
fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
    thread::scope(|scope| scope.spawn(work).join())
        .map_err(|_panic| anyhow::anyhow!("a thread panicked"))
}

/// Both namespaces, joined.
pub(super) struct Network {
    pub(super) inside: Namespace,
    pub(super) witness: Witness,
    _outside: Namespace,
    _server: TcpListener,
}

impl Network {
    pub(super) fn make() -> anyhow::Result<Self> {
        let (inside, outside) = (Namespace::make()?, Namespace::make()?);
        inside.enter(|| join(&outside))??;
        for (netns, link) in [(&inside, UPLINK), (&outside, FAR_END)] {
            netns.enter(|| await_link(link))??;
        }
        inside.enter(|| -> anyhow::Result<()> {
            let mut netlink = Rtnetlink::open()?;
            netlink.route_by_gateway(OUTSIDE_END_V4.into())?;
            ignore_without_ipv6(netlink.route_by_gateway(OUTSIDE_END_V6.into()))
        })??;
        let server = outside.enter(|| {
            let mut netlink = Rtnetlink::open()?;
            netlink.take_everything(Ipv4Addr::UNSPECIFIED.into())?;
            ignore_without_ipv6(netlink.take_everything(Ipv6Addr::UNSPECIFIED.into()))?;
            anyhow::Ok(TcpListener::bind(WITNESS)?)
        })??;
        Ok(Self {
            witness: outside.enter(Witness::new)??,
            inside,
            _outside: outside,
            _server: server,
        })
    }
}

/// Inside: makes the pair, with what attempts need of the namespace.
fn join(outside: &Namespace) -> anyhow::Result<()> {
    for (parameter, value) in [
        ("net/ipv4/ping_group_range", "0 2147483647"),
        ("net/ipv4/tcp_fastopen", "1"),
        ("net/ipv6/conf/all/disable_ipv6", "0"),
    ] {
        // Where it cannot be set, the control says what that costs.
        if let Err(error) = fs::write(format!("/proc/sys/{parameter}"), value) {
            tracing::debug!(parameter, %error, "parameter not set");
        }
    }
    let ends = [
        End {
            name: UPLINK,
            mac: INSIDE_MAC,
        },
        End {
            name: FAR_END,
            mac: OUTSIDE_MAC,
        },
    ];
    Rtnetlink::open()?
        .make_veth(&ends, outside.descriptor.as_fd())
        .context("cannot make a veth pair")?;
    set_up(UPLINK, INSIDE_V4, INSIDE_V6)?;
    outside.enter(|| set_up(FAR_END, OUTSIDE_END_V4, OUTSIDE_END_V6))?
}

fn set_up(link: &str, v4: Ipv4Addr, v6: Ipv6Addr) -> anyhow::Result<()> {
    let mut netlink = Rtnetlink::open()?;
    netlink.bring_up(link)?;
    netlink.add_address(link, v4.into(), 24)?;
    ignore_without_ipv6(netlink.add_address(link, v6.into(), 64))
}

/// A host may have no IPv6: the attempts over it then say so themselves.
fn ignore_without_ipv6(result: io::Result<()>) -> anyhow::Result<()> {
    match result {
        Err(error) if fs::exists("/proc/sys/net/ipv6")? => Err(error.into()),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Until the kernel has noticed the other end, a link swallows what is sent.
fn await_link(link: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let is_up = nix::ifaddrs::getifaddrs()?.any(|found| {
            found.interface_name == link && found.flags.contains(InterfaceFlags::IFF_RUNNING)
        });
        if is_up {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the link {link} does not come up"
        );
        poll(&mut [], PollTimeout::from(2_u8))?;
    }
}

/// Sees every packet that comes from inside.
pub(super) struct Witness {
    socket: Socket,
}

impl Witness {
    fn new() -> io::Result<Self> {
        let every = i32::from(nix::libc::ETH_P_ALL.cast_unsigned() as u16);
        let protocol = Protocol::from(i32::from((every as u16).to_be()));
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(protocol))?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// What has come, a line for each packet, without those by which hosts find each other. Waits
    /// that long for the first of them.
    pub(super) fn packets(&self, wait: Duration) -> anyhow::Result<Vec<String>> {
        let deadline = Instant::now() + wait;
        let mut packets = Vec::new();
        let mut buffer = [0; 2048];
        loop {
            while let Ok(length) = (&self.socket).read(&mut buffer) {
                packets.extend(describe(buffer.get(..length).unwrap_or_default()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if !packets.is_empty() || left.is_zero() {
                return Ok(packets);
            }
            let mut readable = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            poll(&mut readable, PollTimeout::try_from(left)?)?;
        }
    }
}

/// A packet from inside in a line; `None` for one of our own, and for talk among neighbours.
fn describe(frame: &[u8]) -> Option<String> {
    const ICMPV6: u8 = 58;
    const HOP_BY_HOP: u8 = 0;
    if *frame.get(6..)?.first_chunk::<6>()? == OUTSIDE_MAC {
        return None;
    }
    let packet = frame.get(14..)?;
    match frame.get(12..14)? {
        [0x08, 0x00] => {
            let from = Ipv4Addr::from(*packet.get(12..)?.first_chunk()?);
            let to = Ipv4Addr::from(*packet.get(16..)?.first_chunk()?);
            Some(format!("{from} > {to} protocol {}", packet.get(9)?))
        }
        [0x86, 0xdd] => {
            let from = Ipv6Addr::from(*packet.get(8..)?.first_chunk()?);
            let to = Ipv6Addr::from(*packet.get(24..)?.first_chunk()?);
            let next = *packet.get(6)?;
            let is_discovery = next == ICMPV6 && packet.get(40).is_some_and(|&kind| kind >= 130);
            let is_report = next == HOP_BY_HOP && to.is_multicast();
            let line = format!("{from} > {to} next header {next}");
            (!is_discovery && !is_report).then_some(line)
        }
        // ARP, and frames that are no IP.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: [u8; 6], ethertype: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = OUTSIDE_MAC.to_vec();
        frame.extend(source);
        frame.extend(ethertype.to_be_bytes());
        frame.extend(packet);
        frame
    }

    fn ipv6(next: u8, to: Ipv6Addr, first: u8) -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 8, next, 64];
        packet.extend(INSIDE_V6.octets());
        packet.extend(to.octets());
        packet.extend([first, 0, 0, 0, 0, 0, 0, 0]);
        packet
    }

    #[test]
    fn a_packet_from_inside_is_seen_and_an_answer_is_not() {
        let mut packet = vec![0x45, 0, 0, 20, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend([10, 99, 0, 1, 192, 0, 2, 7]);
        assert_eq!(
            describe(&frame(INSIDE_MAC, 0x0800, &packet)).as_deref(),
            Some("10.99.0.1 > 192.0.2.7 protocol 17")
        );
        assert_eq!(describe(&frame(OUTSIDE_MAC, 0x0800, &packet)), None);
    }

    #[test]
    fn an_echo_over_ipv6_is_seen_and_neighbours_talk_is_not() {
        let to = OUTSIDE_END_V6;
        assert!(describe(&frame(INSIDE_MAC, 0x86dd, &ipv6(58, to, 128))).is_some());
        assert_eq!(
            describe(&frame(INSIDE_MAC, 0x86dd, &ipv6(58, to, 135))),
            None
        );
        let group = "ff02::16".parse().unwrap();
        assert_eq!(
            describe(&frame(INSIDE_MAC, 0x86dd, &ipv6(0, group, 0))),
            None
        );
    }

    #[test]
    fn what_is_too_short_is_no_packet() {
        for length in 0..14 {
            assert_eq!(describe(&vec![0x45; length]), None);
        }
    }
}
