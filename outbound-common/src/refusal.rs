//! What the kernel side reports when it refuses.

use crate::addr::{Addr16, PortBe};

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
    /// `comm` of the calling thread, NUL-padded; empty where the kernel cannot tell.
    pub comm: [u8; 16],
}

const _: () = assert!(size_of::<Refusal>() == 72 && align_of::<Refusal>() == 8);
