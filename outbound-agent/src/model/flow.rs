//! `Flow`: one redirected connect, in std's types.

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use super::addr::{Downstream, OriginalDst};
use super::tenant::CgroupId;

/// What the kernel remembers of a redirected connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    /// Which connect it was.
    pub connect: ConnectId,
    /// Where the workload wanted to connect.
    pub original_dst: OriginalDst,
    /// The tenant's cgroup.
    pub tenant_cgroup: CgroupId,
    /// The cgroup in which the socket was made: the tenant's or one below it.
    pub socket_cgroup: CgroupId,
    /// Cookie of the network namespace that the workload's socket lives in.
    pub netns: u64,
    /// Process id of who connected, as the host counts; 0 when unknown.
    pub pid: u32,
    /// User id of who connected, as the host counts.
    pub uid: u32,
    /// Name of the thread that connected, as the kernel holds it (15 octets); empty when unknown.
    pub executable: Box<str>,
}

/// One connect among all that there have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnectId {
    /// Cookie of the workload's socket.
    pub socket: u64,
    /// When it connected, in nanoseconds of the monotonic clock: a socket may connect again.
    pub at: u64,
}

/// Where flows come from: the kernel, or in tests a stand-in for it.
pub trait Flows: Send + Sync + 'static {
    /// The flow of an accepted connection, `None` where the kernel knows none: such a
    /// connection is refused.
    fn flow(&self, accepted: BorrowedFd<'_>, downstream: Downstream) -> Option<Flow>;

    /// The flow of a datagram that `socket` received, sent to the address `local` of the agent.
    /// Every datagram of one workload socket has one; `None` as above.
    fn flow_of_datagram(
        &self,
        socket: BorrowedFd<'_>,
        source: Downstream,
        local: SocketAddr,
    ) -> Option<Flow>;
}
