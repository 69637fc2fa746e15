//! Sockets that were made before the programs were attached, found and ended (`sock_diag`).
//!
//! They have no stamp, so that the belt drops what they send; ending them tells their owners at
//! once instead of after a time-out. The messages are few and fixed, see linux/inet_diag.h.

use std::collections::HashSet;
use std::io::{self, Read as _, Write as _};

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

/// Sockets that are not a tenant's own.
#[derive(Debug, Default)]
pub struct Strangers {
    /// Made in one of these cgroups.
    pub cgroups: HashSet<u64>,
    /// Of these inodes, wherever they were made.
    pub inodes: HashSet<u32>,
}

/// What became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Ended.
    pub ended: usize,
    /// Still there: this kernel cannot end them. Nothing leaves them all the same.
    pub left: usize,
}

impl Cut {
    /// Adds another count.
    pub fn add(&mut self, other: Self) {
        self.ended += other.ended;
        self.left += other.left;
    }
}

/// Ends the TCP and UDP sockets among the strangers that live in the network namespace of the
/// calling thread.
pub fn cut(strangers: &Strangers) -> io::Result<Cut> {
    let mut cut = Cut::default();
    let mut channel = Channel::open()?;
    // A dump may miss a socket that moves in the kernel's table meanwhile.
    for _pass in 0..PASSES {
        let mut left = 0;
        let mut ended = 0;
        for (family, protocol) in KINDS {
            for found in channel.list(family, protocol, strangers)? {
                match channel.destroy(&found, protocol) {
                    Ok(()) => ended += 1,
                    Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => left += 1,
                    // It has ended by itself.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                }
            }
        }
        cut.ended += ended;
        cut.left = left;
        if ended == 0 {
            break;
        }
    }
    Ok(cut)
}

/// Whether this kernel ends sockets on request.
pub(super) fn can_cut() -> bool {
    // No socket is from nowhere to nowhere: a kernel that can says that there is none.
    let nobody = Found {
        family: libc::AF_INET as u8,
        id: [0; ID],
    };
    let answer = Channel::open().and_then(|mut channel| channel.destroy(&nobody, TCP));
    answer.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// A socket of the kernel's list.
struct Found {
    family: u8,
    id: [u8; ID],
}

/// A netlink socket.
struct Channel {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Channel {
    fn open() -> io::Result<Self> {
        let protocol = Protocol::from(libc::NETLINK_SOCK_DIAG);
        let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::RAW, Some(protocol))?;
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER],
        })
    }

    /// The strangers of one kind.
    fn list(&mut self, family: u8, protocol: u8, strangers: &Strangers) -> io::Result<Vec<Found>> {
        const DUMP: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_DUMP) as u16;
        // Sockets in TIME_WAIT send nothing of anybody's.
        let states = !(1_u32 << TIME_WAIT);
        self.ask(
            SOCK_DIAG_BY_FAMILY,
            DUMP,
            family,
            protocol,
            states,
            &[0; ID],
        )?;
        let mut found = Vec::new();
        self.answers(|body| {
            if let Some(diag) = Diag::read(body)
                && (strangers.inodes.contains(&diag.inode)
                    || diag
                        .cgroup
                        .is_some_and(|id| strangers.cgroups.contains(&id)))
            {
                found.push(diag.socket);
            }
        })?;
        Ok(found)
    }

    fn destroy(&mut self, socket: &Found, protocol: u8) -> io::Result<()> {
        const ACK: u16 = (libc::NLM_F_REQUEST | libc::NLM_F_ACK) as u16;
        self.ask(SOCK_DESTROY, ACK, socket.family, protocol, 0, &socket.id)?;
        self.answers(|_none| {})
    }

    /// Sends `struct nlmsghdr` and `struct inet_diag_req_v2`.
    fn ask(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        protocol: u8,
        states: u32,
        id: &[u8; ID],
    ) -> io::Result<()> {
        self.sequence += 1;
        let mut message = Vec::with_capacity(HEADER + 8 + ID);
        message.extend_from_slice(&((HEADER + 8 + ID) as u32).to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&[0; 4]);
        message.extend_from_slice(&[family, protocol, 0, 0]);
        message.extend_from_slice(&states.to_ne_bytes());
        message.extend_from_slice(id);
        self.socket.write_all(&message)
    }

    /// Takes answers until the last.
    fn answers(&mut self, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        loop {
            let length = self.socket.read(&mut self.buffer)?;
            let mut rest = self.buffer.get(..length).unwrap_or_default();
            while let Some(length) = word(rest, 0) {
                let length = length as usize;
                let message = rest.get(HEADER..length).ok_or(io::ErrorKind::InvalidData)?;
                match (word(rest, 4).map(|word| word as u16), word(rest, 8)) {
                    // An answer to an earlier question that broke off.
                    (_, sequence) if sequence != Some(self.sequence) => {}
                    (Some(NLMSG_DONE), _) => return Ok(()),
                    (Some(NLMSG_ERROR), _) => {
                        return match word(message, 0).unwrap_or_default().cast_signed() {
                            0 => Ok(()),
                            error => Err(io::Error::from_raw_os_error(-error)),
                        };
                    }
                    _ => take(message),
                }
                rest = rest.get(aligned(length)..).unwrap_or_default();
            }
        }
    }
}

/// What is read of `struct inet_diag_msg` and its attributes.
struct Diag {
    socket: Found,
    inode: u32,
    cgroup: Option<u64>,
}

impl Diag {
    fn read(body: &[u8]) -> Option<Self> {
        let socket = Found {
            family: *body.first()?,
            id: *body.get(4..)?.first_chunk()?,
        };
        let inode = word(body, 68)?;
        let mut cgroup = None;
        let mut rest = body.get(72..)?;
        while let Some(header) = word(rest, 0) {
            let [a, b, c, d] = header.to_ne_bytes();
            let length = usize::from(u16::from_ne_bytes([a, b]));
            if u16::from_ne_bytes([c, d]) == INET_DIAG_CGROUP_ID {
                cgroup = rest.get(4..).and_then(<[u8]>::first_chunk);
            }
            rest = rest.get(aligned(length.max(4))..).unwrap_or_default();
        }
        Some(Self {
            socket,
            inode,
            cgroup: cgroup.map(|id| u64::from_ne_bytes(*id)),
        })
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

const TCP: u8 = libc::IPPROTO_TCP as u8;
const UDP: u8 = libc::IPPROTO_UDP as u8;
const KINDS: [(u8, u8); 4] = [
    (libc::AF_INET as u8, TCP),
    (libc::AF_INET6 as u8, TCP),
    (libc::AF_INET as u8, UDP),
    (libc::AF_INET6 as u8, UDP),
];

const PASSES: usize = 3;
const BUFFER: usize = 64 << 10;
/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// Length of `struct inet_diag_sockid`.
const ID: usize = 48;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLMSG_ERROR: u16 = libc::NLMSG_ERROR as u16;
const NLMSG_DONE: u16 = libc::NLMSG_DONE as u16;
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `TCP_TIME_WAIT`.
const TIME_WAIT: u32 = 6;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_is_found_among_the_attributes() {
        let mut body = vec![0; 72];
        body[0] = libc::AF_INET6 as u8;
        body[68..72].copy_from_slice(&77_u32.to_ne_bytes());
        // An attribute of one octet, padded, and then the cgroup.
        body.extend_from_slice(&[5, 0, 8, 0, 3, 0, 0, 0]);
        body.extend_from_slice(&[12, 0, 21, 0]);
        body.extend_from_slice(&4242_u64.to_ne_bytes());
        let diag = Diag::read(&body).unwrap();
        assert_eq!((diag.inode, diag.cgroup), (77, Some(4242)));
        assert_eq!(Diag::read(&body[..72]).unwrap().cgroup, None);
        assert!(Diag::read(&body[..71]).is_none());
    }

    #[test]
    fn an_attribute_that_says_it_is_empty_ends() {
        let mut body = vec![0; 84];
        body[72..76].copy_from_slice(&[0, 0, 21, 0]);
        assert_eq!(Diag::read(&body).unwrap().cgroup, Some(0));
    }
}
