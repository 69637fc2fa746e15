//! Netfilter's netlink: messages of nested attributes, to the kernel and back.
//!
//! Numbers in attributes are in network byte order unless an expression of nf_tables compares
//! them as the host holds them.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, connect, recv, send,
    setsockopt, socket, sockopt,
};

/// A connection to one subsystem of netfilter, in one network namespace.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: OwnedFd,
}

/// What netfilter calls a message's type: subsystem and number.
pub(super) type Kind = u16;

/// Ends or begins what is to happen as a whole (`NFNL_MSG_BATCH_*`).
pub(super) const BATCH_BEGIN: Kind = 0x10;
pub(super) const BATCH_END: Kind = 0x11;
/// `NLM_F_CREATE`, `NLM_F_EXCL` and `NLM_F_APPEND`.
pub(super) const CREATE: u16 = 0x400;
pub(super) const EXCLUSIVE: u16 = 0x200;
pub(super) const APPEND: u16 = 0x800;

const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const ERROR: Kind = 2;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
/// `struct nfgenmsg`: family, version, and a number that the subsystem chooses.
const SUBHEADER: usize = 4;

impl Netlink {
    /// In the network namespace of the calling thread.
    pub(super) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkNetFilter,
        )?;
        // Connected to the kernel: what another process sends here is refused. A workload may be
        // root of this namespace.
        connect(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        // Room for what comes while the agent is busy; what finds none is sent again by TCP.
        setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BYTES)?;
        Ok(Self { socket })
    }

    /// Sends messages and waits for nothing.
    pub(super) fn tell(&self, messages: &Messages) -> io::Result<()> {
        send(self.raw(), &messages.bytes, MsgFlags::empty())?;
        Ok(())
    }

    /// Sends messages, and gives the first error with which the kernel answers one of them.
    pub(super) fn ask(&self, messages: &Messages) -> io::Result<()> {
        self.tell(messages)?;
        let mut buffer = vec![0; REPLY_BYTES];
        let mut answered = Ok(());
        // The kernel answers before `send` returns.
        loop {
            let length = match recv(self.raw(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EAGAIN) => return answered,
                Err(errno) => return Err(errno.into()),
            };
            for message in messages_in(&buffer[..length]) {
                let code = message
                    .body
                    .first_chunk()
                    .map(|code| i32::from_ne_bytes(*code));
                if message.kind == ERROR
                    && let Some(code @ ..0) = code
                    && answered.is_ok()
                {
                    answered = Err(io::Error::from_raw_os_error(-code));
                }
            }
        }
    }

    /// Takes what the kernel has sent; fails with `WouldBlock` where there is nothing.
    pub(super) fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.raw(), buffer, MsgFlags::MSG_DONTWAIT)?)
    }

    fn raw(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const RECEIVE_BYTES: usize = 4 << 20;
const REPLY_BYTES: usize = 1 << 16;

/// Messages to be sent at once.
#[derive(Debug, Default)]
pub(super) struct Messages {
    bytes: Vec<u8>,
}

impl Messages {
    /// Adds a message; `number` is the subsystem's.
    pub(super) fn add(
        &mut self,
        kind: Kind,
        flags: u16,
        family: u8,
        number: u16,
        attributes: impl FnOnce(&mut Attributes),
    ) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        let is_part = kind == BATCH_BEGIN || kind == BATCH_END;
        let flags = flags | REQUEST | if is_part { 0 } else { ACKNOWLEDGE };
        self.bytes.extend(flags.to_ne_bytes());
        // Sequence and sender: the kernel fills in what it needs.
        self.bytes.extend([0; 8]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(number.to_be_bytes());
        let mut inside = Attributes(std::mem::take(&mut self.bytes));
        attributes(&mut inside);
        self.bytes = inside.0;
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Adds a message that the kernel answers only where it is wrong.
    pub(super) fn add_unanswered(
        &mut self,
        kind: Kind,
        number: u16,
        attributes: impl FnOnce(&mut Attributes),
    ) {
        let start = self.bytes.len();
        self.add(kind, 0, 0, number, attributes);
        self.bytes[start + 6..start + 8].copy_from_slice(&REQUEST.to_ne_bytes());
    }
}

/// The attributes of a message, or within another attribute.
#[derive(Debug)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.put(kind, |inside| inside.0.extend(value));
    }

    /// With the NUL at its end.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.put(kind, |inside| {
            inside.0.extend(value.as_bytes());
            inside.0.push(0);
        });
    }

    pub(super) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub(super) fn nest(&mut self, kind: u16, attributes: impl FnOnce(&mut Self)) {
        self.put(kind | NESTED, attributes);
    }

    fn put(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        let start = self.0.len();
        self.0.extend([0; 2]);
        self.0.extend(kind.to_ne_bytes());
        value(self);
        // An attribute of ours is a few octets, a list of elements at most a thousand of them.
        let length = (self.0.len() - start) as u16;
        self.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(ALIGNMENT), 0);
    }
}

const ALIGNMENT: usize = 4;

/// One message of the kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: Kind,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The value of an attribute.
    pub(super) fn attribute(&self, kind: u16) -> Option<&'a [u8]> {
        let mut rest = self.body.get(SUBHEADER..)?;
        loop {
            let (length, found) = (half(rest, 0)?, half(rest, 2)?);
            let value = rest.get(ALIGNMENT..usize::from(length))?;
            if found & !NESTED == kind {
                return Some(value);
            }
            rest = rest.get(usize::from(length).next_multiple_of(ALIGNMENT)..)?;
        }
    }
}

/// The messages in what was received; ends at one that is cut off.
pub(super) fn messages_in(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(*bytes.first_chunk()?) as usize;
        let message = Message {
            kind: half(bytes, 4)?,
            body: bytes.get(HEADER..length)?,
        };
        bytes = bytes
            .get(length.next_multiple_of(ALIGNMENT)..)
            .unwrap_or_default();
        Some(message)
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes
        .get(at..)?
        .first_chunk()
        .copied()
        .map(u16::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut messages = Messages::default();
        messages.add(0x301, 0, 2, 7, |inside| {
            inside.text(1, "abcd");
            inside.nest(2, |inside| inside.number(1, 9));
            inside.bytes(3, b"x");
        });
        messages.add_unanswered(0x302, 7, |inside| inside.number(1, 5));
        let read: Vec<_> = messages_in(&messages.bytes).collect();
        assert_eq!(read.len(), 2);
        assert_eq!(read[0].kind, 0x301);
        assert_eq!(read[0].attribute(1), Some(&b"abcd\0"[..]));
        assert_eq!(read[0].attribute(2), Some(&[8, 0, 1, 0, 0, 0, 0, 9][..]));
        assert_eq!(read[0].attribute(3), Some(&b"x"[..]));
        assert_eq!(read[0].attribute(4), None);
        assert_eq!(read[1].attribute(1), Some(&[0, 0, 0, 5][..]));
    }

    #[test]
    fn what_is_cut_off_is_no_message() {
        let mut messages = Messages::default();
        messages.add(0x301, 0, 2, 7, |inside| inside.text(1, "abcd"));
        for length in 0..messages.bytes.len() {
            assert_eq!(
                messages_in(&messages.bytes[..length]).count(),
                0,
                "{length}"
            );
        }
        assert_eq!(messages_in(&[0; 64]).count(), 0);
    }
}
