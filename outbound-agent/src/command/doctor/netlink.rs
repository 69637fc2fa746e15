//! The few netlink messages that the doctor needs: a veth pair with addresses and routes, and two
//! questions to the kernel. linux/rtnetlink.h, linux/if_link.h, linux/inet_diag.h,
//! linux/netfilter/nfnetlink_queue.h

use std::io::{self, Read as _, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use nix::libc;
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

const REQUEST: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
const CREATE: u16 = REQUEST | (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
const HEADER: usize = 16;
const VETH_INFO_PEER: u16 = 1;
const NODAD: u8 = libc::IFA_F_NODAD as u8;
const LOOPBACK: u32 = 1;

/// One end of a veth pair.
pub(super) struct End<'a> {
    pub(super) name: &'a str,
    pub(super) mac: [u8; 6],
}

/// Links, addresses and routes of the calling thread's network namespace.
pub(super) struct Rtnetlink(Channel);

impl Rtnetlink {
    pub(super) fn open() -> io::Result<Self> {
        Channel::open(libc::NETLINK_ROUTE).map(Self)
    }

    /// Makes a veth pair: the first end here, the second in `peer`.
    pub(super) fn make_veth(
        &mut self,
        ends: &[End<'_>; 2],
        peer: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let [near, far] = ends;
        let descriptor = peer.as_raw_fd().to_ne_bytes();
        let far = link_message(0, 0)
            .text(libc::IFLA_IFNAME, far.name)
            .attribute(libc::IFLA_ADDRESS, &far.mac)
            .attribute(libc::IFLA_NET_NS_FD, &descriptor);
        let data = Body::default().attribute(VETH_INFO_PEER, &far.0);
        let info = Body::default()
            .text(libc::IFLA_INFO_KIND, "veth")
            .attribute(libc::IFLA_INFO_DATA, &data.0);
        let body = link_message(0, 0)
            .text(libc::IFLA_IFNAME, near.name)
            .attribute(libc::IFLA_ADDRESS, &near.mac)
            .attribute(libc::IFLA_LINKINFO, &info.0);
        self.0.ask(libc::RTM_NEWLINK, CREATE, &body)
    }

    pub(super) fn bring_up(&mut self, link: &str) -> io::Result<()> {
        let body = link_message(if_nametoindex(link)?, libc::IFF_UP as u32);
        self.0.ask(libc::RTM_NEWLINK, REQUEST, &body)
    }

    /// Gives a link an address, at once: nobody else is there to have it.
    pub(super) fn add_address(
        &mut self,
        link: &str,
        address: IpAddr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut body = Body(vec![
            family(address),
            prefix,
            NODAD,
            libc::RT_SCOPE_UNIVERSE,
        ]);
        body.0.extend(if_nametoindex(link)?.to_ne_bytes());
        let address = octets(address);
        let body = body
            .attribute(libc::IFA_LOCAL, &address)
            .attribute(libc::IFA_ADDRESS, &address);
        self.0.ask(libc::RTM_NEWADDR, CREATE, &body)
    }

    /// Sends everything that is not nearer to a gateway.
    pub(super) fn route_by_gateway(&mut self, gateway: IpAddr) -> io::Result<()> {
        let (table, scope, kind) = (
            libc::RT_TABLE_MAIN,
            libc::RT_SCOPE_UNIVERSE,
            libc::RTN_UNICAST,
        );
        let body = route_message(gateway, table, scope, kind)
            .attribute(libc::RTA_GATEWAY, &octets(gateway));
        self.0.ask(libc::RTM_NEWROUTE, CREATE, &body)
    }

    /// Treats every address of this one's family as the host's own.
    pub(super) fn take_everything(&mut self, any: IpAddr) -> io::Result<()> {
        let (table, scope, kind) = (libc::RT_TABLE_LOCAL, libc::RT_SCOPE_HOST, libc::RTN_LOCAL);
        let body = route_message(any, table, scope, kind)
            .attribute(libc::RTA_OIF, &LOOPBACK.to_ne_bytes());
        self.0.ask(libc::RTM_NEWROUTE, CREATE, &body)
    }
}

/// Whether this kernel ends sockets on request. No socket is from nowhere to nowhere: a kernel
/// that can says that there is none.
pub(super) fn can_destroy_sockets() -> io::Result<bool> {
    const SOCK_DESTROY: u16 = 21;
    const ID: usize = 48;
    let mut body = Body(vec![libc::AF_INET as u8, libc::IPPROTO_TCP as u8, 0, 0]);
    body.0.extend(u32::MAX.to_ne_bytes());
    body.0.extend([0; ID]);
    let answer = Channel::open(libc::NETLINK_SOCK_DIAG)?.ask(SOCK_DESTROY, REQUEST, &body);
    match answer {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(()) => Ok(true),
    }
}

/// Whether this kernel can hand packets to user space. Asked by a command that does nothing.
pub(super) fn has_packet_queue() -> io::Result<bool> {
    const QUEUE_CONFIG: u16 = (3 << 8) | 2;
    const CFG_CMD: u16 = 1;
    const PF_UNBIND: u8 = 4;
    let body = Body(vec![libc::AF_UNSPEC as u8, 0, 0, 0])
        .attribute(CFG_CMD, &[PF_UNBIND, 0, 0, libc::AF_INET as u8]);
    let mut channel = match Channel::open(libc::NETLINK_NETFILTER) {
        Err(error) if error.raw_os_error() == Some(libc::EPROTONOSUPPORT) => return Ok(false),
        other => other?,
    };
    match channel.ask(QUEUE_CONFIG, REQUEST, &body) {
        Ok(()) => Ok(true),
        // No such subsystem.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Ok(false),
        Err(error) => Err(error),
    }
}

/// What follows a message's header: fixed fields, then attributes.
#[derive(Default)]
struct Body(Vec<u8>);

impl Body {
    fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        const ATTRIBUTE_HEADER: usize = 4;
        let length = (ATTRIBUTE_HEADER + value.len()) as u16;
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    fn text(self, kind: u16, value: &str) -> Self {
        self.attribute(kind, &[value.as_bytes(), b"\0"].concat())
    }
}

/// `struct ifinfomsg`
fn link_message(index: u32, flags: u32) -> Body {
    let mut body = Body(vec![libc::AF_UNSPEC as u8, 0, 0, 0]);
    for field in [index, flags, flags] {
        body.0.extend(field.to_ne_bytes());
    }
    body
}

/// `struct rtmsg`, to everywhere
fn route_message(like: IpAddr, table: u8, scope: u8, kind: u8) -> Body {
    let (any_length, service) = (0, 0);
    Body(vec![
        family(like),
        any_length,
        any_length,
        service,
        table,
        libc::RTPROT_BOOT,
        scope,
        kind,
        0,
        0,
        0,
        0,
    ])
}

const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => libc::AF_INET as u8,
        IpAddr::V6(_) => libc::AF_INET6 as u8,
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A socket to one part of the kernel.
struct Channel {
    socket: Socket,
}

impl Channel {
    fn open(protocol: i32) -> io::Result<Self> {
        let protocol = Some(Protocol::from(protocol));
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, protocol)?;
        Ok(Self { socket })
    }

    /// Sends a message and waits for the kernel's word on it.
    fn ask(&mut self, kind: u16, flags: u16, body: &Body) -> io::Result<()> {
        let length = (HEADER + body.0.len()) as u32;
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        // Sequence and port: one question at a time, and the kernel knows who asks.
        message.extend([0; 8]);
        message.extend(&body.0);
        self.socket.write_all(&message)?;
        let mut answer = [0; 4096];
        let length = self.socket.read(&mut answer)?;
        verdict(answer.get(..length).unwrap_or_default())
    }
}

/// `struct nlmsgerr`: a negative errno, or 0.
fn verdict(answer: &[u8]) -> io::Result<()> {
    let kind = answer.get(4..).and_then(<[u8]>::first_chunk);
    let errno = answer.get(HEADER..).and_then(<[u8]>::first_chunk);
    match (kind.map(|kind| u16::from_ne_bytes(*kind)), errno) {
        (Some(ERROR), Some(errno)) => match i32::from_ne_bytes(*errno) {
            0 => Ok(()),
            errno => Err(io::Error::from_raw_os_error(-errno)),
        },
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

const ERROR: u16 = libc::NLMSG_ERROR as u16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_end_on_a_word() {
        let body = Body::default().text(3, "up0").text(3, "up10");
        assert_eq!(
            body.0,
            [
                &8_u16.to_ne_bytes()[..],
                &3_u16.to_ne_bytes(),
                b"up0\0",
                &9_u16.to_ne_bytes(),
                &3_u16.to_ne_bytes(),
                b"up10\0\0\0\0",
            ]
            .concat()
        );
    }

    #[test]
    fn an_answer_is_an_errno_or_done() {
        let answer = |errno: i32| {
            let mut answer = 36_u32.to_ne_bytes().to_vec();
            answer.extend(ERROR.to_ne_bytes());
            answer.extend([0; 10]);
            answer.extend(errno.to_ne_bytes());
            answer
        };
        verdict(&answer(0)).unwrap();
        let refused = verdict(&answer(-libc::EPERM)).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM));
        assert!(verdict(&[]).is_err());
    }
}
