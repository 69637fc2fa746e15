//! One redirected connect as the kernel saw it.

use crate::addr::{Addr16, PortBe};

/// What both ends of a redirected connection can compute for it: the namespace and both
/// addresses and ports. The workload's port alone does not tell connections apart: the kernel
/// gives one to several connects at once as long as they go to different addresses of the agent.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// Cookie of the network namespace (`SO_NETNS_COOKIE`, Linux 5.14).
    pub netns: u64,
    /// The workload's address.
    pub source: Addr16,
    /// The agent's address.
    pub agent: Addr16,
    /// The workload's port, host byte order.
    pub source_port: u16,
    /// The agent's port, host byte order.
    pub agent_port: u16,
    /// `IPPROTO_TCP` or `IPPROTO_UDP`.
    pub protocol: u32,
}

/// Whose socket it is and where it wanted to go.
///
/// `sock_create` stamps the identity; the connect hooks fill in the destination and who asked.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flow {
    /// The tenant's cgroup: the innermost entry of `TENANTS` above the socket's cgroup.
    pub tenant_cgroup: u64,
    /// The cgroup that the socket was created in.
    pub socket_cgroup: u64,
    /// The workload socket's cookie.
    pub cookie: u64,
    /// Cookie of the namespace that the socket lives in.
    pub netns: u64,
    /// `bpf_ktime_get_ns` at connect, for the sweeper.
    pub connected_ns: u64,
    /// The original destination.
    pub destination: Addr16,
    /// Its port.
    pub destination_port: PortBe,
    /// `AF_INET` or `AF_INET6` once redirected, 0 before: a socket with 0 may send nothing.
    pub family: u8,
    /// A combination of the `FLOW_*` flags.
    pub flags: u8,
    /// Process id of who connected, as the host counts.
    pub pid: u32,
    /// User id of who connected, as the host counts.
    pub uid: u32,
    /// The tenant's slot, see [`crate::TenantEntry::slot`].
    pub slot: u32,
    /// `comm` of the thread that connected, NUL-padded; empty where the kernel cannot tell (before 6.1).
    pub comm: [u8; 16],
}

/// The socket listens, or was accepted from one that does; what it sends answers its peer.
pub const FLOW_INBOUND: u8 = 1;
/// The socket refuses IPv4-mapped addresses (`IPV6_V6ONLY`).
pub const FLOW_V6ONLY: u8 = 2;

impl Flow {
    /// A socket that has just been created in `tenant_cgroup` or below it.
    pub const fn stamp(tenant_cgroup: u64, socket_cgroup: u64, slot: u32, netns: u64) -> Self {
        Self {
            tenant_cgroup,
            socket_cgroup,
            cookie: 0,
            netns,
            connected_ns: 0,
            destination: Addr16::UNSPECIFIED,
            destination_port: PortBe(0),
            family: 0,
            flags: 0,
            pid: 0,
            uid: 0,
            slot,
            comm: [0; 16],
        }
    }
}

const _: () = assert!(size_of::<FlowKey>() == 48 && align_of::<FlowKey>() == 8);
const _: () = assert!(size_of::<Flow>() == 88 && align_of::<Flow>() == 8);
