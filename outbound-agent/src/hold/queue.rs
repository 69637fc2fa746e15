//! The queue: first packets as the kernel hands them over, and the verdicts that it waits for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use tokio::io::unix::AsyncFd;

use super::Refusal;
use super::netlink::{Kind, Messages, Netlink, messages_in};
use crate::sys;

/// One queue in one network namespace. When it is closed, the kernel drops what is in it.
#[derive(Debug)]
pub(super) struct Queue {
    netlink: Netlink,
    ready: AsyncFd<OwnedFd>,
    number: u16,
}

/// The first packet of a connect, held by the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syn {
    /// The kernel's number of the packet.
    pub(super) packet: u32,
    /// Whence: the workload's socket.
    pub(super) source: SocketAddr,
    /// Whither: the agent.
    pub(super) agent: SocketAddr,
}

impl Syn {
    /// What the packets of one connect share.
    pub(super) const fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.source, self.agent)
    }
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// It goes on to the agent's listener.
    Accept,
    /// It never was; TCP sends another.
    Drop,
    /// The workload's `connect` fails.
    Refuse(Refusal),
}

impl AsFd for Queue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.netlink.as_fd()
    }
}

impl Queue {
    /// In the network namespace of the calling thread. At most `held` packets are in the queue;
    /// what comes on top is dropped, and sent again by TCP.
    pub(super) fn open(number: u16, held: u32) -> io::Result<Self> {
        let netlink = Netlink::open()?;
        let mut messages = Messages::default();
        messages.add(CONFIG, 0, 0, number, |message| {
            // A command; the protocol family means nothing since Linux 3.8.
            message.bytes(1, &[BIND, 0, 0, 0]);
        });
        messages.add(CONFIG, 0, 0, number, |message| {
            let [a, b, c, d] = COPIED.to_be_bytes();
            message.bytes(2, &[a, b, c, d, COPY_PACKET]);
            message.number(3, held);
        });
        netlink.ask(&messages)?;
        let ready = sys::readiness(netlink.as_fd().try_clone_to_owned()?)?;
        Ok(Self {
            netlink,
            ready,
            number,
        })
    }

    /// The packets that have come, at least one. Safe to cancel.
    pub(super) async fn next(&self, buffer: &mut Vec<u8>) -> io::Result<Vec<Syn>> {
        buffer.resize(PACKETS_BYTES, 0);
        loop {
            let mut guard = self.ready.readable().await?;
            match guard.try_io(|_fd| self.netlink.receive(buffer)) {
                Err(_would_block) => {}
                // There were more than fit: TCP sends those again.
                Ok(Err(error)) if error.raw_os_error() == Some(nix::libc::ENOBUFS) => {}
                Ok(Err(error)) => return Err(error),
                Ok(Ok(length)) => {
                    let held = self.read(&buffer[..length])?;
                    if !held.is_empty() {
                        return Ok(held);
                    }
                }
            }
        }
    }

    /// Says what becomes of a packet. Of one that is gone already, nothing does.
    pub(super) fn release(&self, packet: u32, release: Release) -> io::Result<()> {
        let (verdict, mark) = match release {
            Release::Accept => (ACCEPT, None),
            Release::Drop => (DROP, None),
            // Once more through the rules, where the mark leads it to its refusal.
            Release::Refuse(refusal) => (REPEAT, Some(refusal.mark())),
        };
        let mut messages = Messages::default();
        messages.add_unanswered(VERDICT, self.number, |message| {
            let mut header = [0; 8];
            header[..4].copy_from_slice(&u32::to_be_bytes(verdict));
            header[4..].copy_from_slice(&packet.to_be_bytes());
            message.bytes(2, &header);
            if let Some(mark) = mark {
                message.number(3, mark);
            }
        });
        self.netlink.tell(&messages)
    }

    /// What it cannot read it lets go on: the listener judges it.
    fn read(&self, bytes: &[u8]) -> io::Result<Vec<Syn>> {
        let mut held = Vec::new();
        for message in messages_in(bytes).filter(|message| message.kind == PACKET) {
            let Some(header) = message.attribute(1).and_then(|header| header.first_chunk()) else {
                continue;
            };
            let packet = u32::from_be_bytes(*header);
            match message.attribute(10).and_then(ends) {
                Some((source, agent)) => held.push(Syn {
                    packet,
                    source,
                    agent,
                }),
                None => self.release(packet, Release::Accept)?,
            }
        }
        Ok(held)
    }
}

/// Source and destination of a TCP packet.
fn ends(packet: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    let (from, to, transport): (IpAddr, IpAddr, usize) = match packet.first()? >> 4 {
        4 => (
            Ipv4Addr::from(*packet.get(12..)?.first_chunk()?).into(),
            Ipv4Addr::from(*packet.get(16..)?.first_chunk()?).into(),
            usize::from(packet[0] & 0xf) * 4,
        ),
        // The belt lets no extension header pass.
        6 if *packet.get(6)? == TCP => (
            Ipv6Addr::from(*packet.get(8..)?.first_chunk()?).into(),
            Ipv6Addr::from(*packet.get(24..)?.first_chunk()?).into(),
            40,
        ),
        _ => return None,
    };
    let port = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    Some((
        SocketAddr::new(from, port(transport)?),
        SocketAddr::new(to, port(transport + 2)?),
    ))
}

// linux/netfilter/nfnetlink_queue.h
const NF_QUEUE: u16 = 3;
const PACKET: Kind = NF_QUEUE << 8;
const VERDICT: Kind = NF_QUEUE << 8 | 1;
const CONFIG: Kind = NF_QUEUE << 8 | 2;
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
// linux/netfilter.h
const DROP: u32 = 0;
const ACCEPT: u32 = 1;
const REPEAT: u32 = 4;
const TCP: u8 = 6;
/// The longest IPv4 header and the ports behind it.
const COPIED: u32 = 64;
/// More than one message of so short a packet ever takes.
const PACKETS_BYTES: usize = 1 << 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ends_of_a_packet_are_read_behind_options_too() {
        let mut packet = vec![0x46, 0, 0, 0, 0, 0, 0, 0, 64, 6, 0, 0];
        packet.extend([127, 0, 0, 1, 127, 1, 7, 9, 0, 0, 0, 0]);
        packet.extend([0x10, 0x00, 0x3a, 0x99]);
        let ends = ends(&packet).expect("its ends");
        assert_eq!(ends.0, "127.0.0.1:4096".parse().unwrap());
        assert_eq!(ends.1, "127.1.7.9:15001".parse().unwrap());
    }

    #[test]
    fn what_is_no_tcp_packet_has_no_ends() {
        let mut v6 = vec![0x60, 0, 0, 0, 0, 0, 17, 64];
        v6.resize(44, 0);
        for packet in [&[][..], &[0x45], &[0; 60], &[0x45; 20], &v6] {
            assert_eq!(ends(packet), None);
        }
    }
}
