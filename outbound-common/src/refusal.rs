//! What the kernel side reports when it refuses.

use core::mem::offset_of;

use crate::addr::{Addr16, PortBe};
use crate::counter::Counter;

/// One refused system call, reported through the ring buffer so that it reaches the access log.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The tenant's cgroup, 0 where there is none.
    pub tenant_cgroup: u64,
    /// The cgroup of the calling process.
    pub process_cgroup: u64,
    /// Where the call wanted to go; unspecified where it names no address.
    pub destination: Addr16,
    /// Its port.
    pub destination_port: PortBe,
    /// Padding, always 0.
    pub reserved: u16,
    /// A [`crate::Counter`] as its index.
    pub counter: u32,
    /// `IPPROTO_*`.
    pub protocol: u32,
    /// Process id of the caller, as the host counts.
    pub pid: u32,
    /// User id of the caller, as the host counts.
    pub uid: u32,
    /// `AF_*` of the socket.
    pub family: u32,
    /// How many refusals of the same tenant were not reported since the last one that was.
    pub suppressed: u64,
    /// `comm` of the calling thread, NUL-padded; empty where the kernel cannot tell.
    pub comm: [u8; 16],
}

impl Refusal {
    /// From the bytes of a ring buffer entry; `None` where they are not one.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() < size_of::<Self>() {
            return None;
        }
        let word = |at: usize| Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(u64::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        let short = |at: usize| Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?));
        Some(Self {
            tenant_cgroup: long(offset_of!(Self, tenant_cgroup))?,
            process_cgroup: long(offset_of!(Self, process_cgroup))?,
            destination: Addr16([word(16)?, word(20)?, word(24)?, word(28)?]),
            destination_port: PortBe(short(offset_of!(Self, destination_port))?),
            reserved: 0,
            counter: word(offset_of!(Self, counter))?,
            protocol: word(offset_of!(Self, protocol))?,
            pid: word(offset_of!(Self, pid))?,
            uid: word(offset_of!(Self, uid))?,
            family: word(offset_of!(Self, family))?,
            suppressed: long(offset_of!(Self, suppressed))?,
            comm: *bytes.get(offset_of!(Self, comm)..)?.first_chunk()?,
        })
    }

    /// Which check refused; `None` for an index that this version does not know.
    pub fn check(&self) -> Option<Counter> {
        Counter::from_index(self.counter)
    }
}

const _: () = assert!(offset_of!(Refusal, destination) == 16);
const _: () = assert!(size_of::<Refusal>() == 80 && align_of::<Refusal>() == 8);
