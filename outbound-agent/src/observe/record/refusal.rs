//! A system call that the kernel refused.

use std::net::IpAddr;

use nix::libc;
use outbound_common::Counter;

use super::Opened;
use super::line::Line;
use crate::model::addr::OriginalDst;
use crate::model::reason::{Ending, Reason};
use crate::model::tenant::{CgroupId, TenantId};
use crate::observe::labels::Kind;

/// What the kernel reported, with the tenant's name put to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelRefusal {
    /// Whose process it was, where it was a tenant's.
    pub tenant: Option<TenantId>,
    /// The process's cgroup.
    pub cgroup: CgroupId,
    /// Where the call wanted to go; unspecified where it names no address.
    pub destination: OriginalDst,
    /// `IPPROTO_*`.
    pub protocol: u32,
    /// `AF_*` of the socket.
    pub family: u32,
    /// Which check refused it.
    pub counter: Counter,
    /// Process id, as the host counts.
    pub pid: u32,
    /// User id, as the host counts.
    pub uid: u32,
    /// How many of the tenant's were not reported since the last one that was.
    pub suppressed: u64,
    /// Name of the calling thread; empty when unknown.
    pub executable: Box<str>,
}

impl KernelRefusal {
    pub(super) fn line(&self) -> Line<'_> {
        let mut line = Line::new(Kind::SecurityEvent, Opened::now());
        line.tenant = self.tenant.as_ref().map(TenantId::as_str);
        line.process(self.cgroup, self.pid, self.uid, &self.executable);
        if !self.destination.ip().is_unspecified() {
            line.asked_for(self.destination);
        }
        line.network_transport = transport(self.protocol);
        line.network_type = family(self.family, self.destination.ip());
        line.ending(Ending::of(Reason::Kernel));
        line.kernel_counter = Some(self.counter.label());
        line.kernel_suppressed = (self.suppressed > 0).then_some(self.suppressed);
        line
    }
}

fn transport(protocol: u32) -> Option<&'static str> {
    match i32::try_from(protocol) {
        Ok(libc::IPPROTO_TCP) => Some("tcp"),
        Ok(libc::IPPROTO_UDP) => Some("udp"),
        Ok(libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6) => Some("icmp"),
        Ok(libc::IPPROTO_SCTP) => Some("sctp"),
        Ok(libc::IPPROTO_MPTCP) => Some("mptcp"),
        Ok(libc::IPPROTO_RAW) => Some("raw"),
        _ => None,
    }
}

fn family(family: u32, destination: IpAddr) -> Option<&'static str> {
    match i32::try_from(family) {
        Ok(libc::AF_INET) => Some("ipv4"),
        // An IPv6 socket that asks for an IPv4-mapped address speaks IPv4.
        Ok(libc::AF_INET6) if destination.is_ipv4() => Some("ipv4"),
        Ok(libc::AF_INET6) => Some("ipv6"),
        Ok(libc::AF_PACKET) => Some("packet"),
        Ok(libc::AF_NETLINK) => Some("netlink"),
        Ok(libc::AF_VSOCK) => Some("vsock"),
        Ok(libc::AF_XDP) => Some("xdp"),
        _ => None,
    }
}
