//! Names of maps and programs: 15 characters or fewer, so that `bpftool` shows them whole.

/// Maps.
pub mod map {
    /// Array of one: the layout version of what is pinned beside it.
    pub const LAYOUT: &str = "LAYOUT";
    /// Cgroup id to tenant.
    pub const TENANTS: &str = "TENANTS";
    /// Array of one: how deep below the root tenants' cgroups lie, a bit each.
    pub const LEVELS: &str = "LEVELS";
    /// Network namespace cookie to the agent's ports.
    pub const LISTENERS: &str = "LISTENERS";
    /// Stamp and original destination of each workload socket.
    pub const SOCKETS: &str = "SOCKETS";
    /// Flows on their way from the workload's socket to the agent's.
    pub const FLOWS: &str = "FLOWS";
    /// Flow of each accepted socket.
    pub const ACCEPTED: &str = "ACCEPTED";
    /// Counters per CPU.
    pub const COUNTERS: &str = "COUNTERS";
    /// Slot to what the kernel side keeps of the tenant.
    pub const ACCOUNTS: &str = "ACCOUNTS";
    /// Slot to the number of its flows that the agent has removed.
    pub const SWEPT: &str = "SWEPT";
    /// Ring buffer of refusals.
    pub const REFUSALS: &str = "REFUSALS";
}

/// Programs.
pub mod program {
    /// Belt.
    pub const EGRESS: &str = "egress";
    /// Stamps sockets and refuses kinds.
    pub const SOCK_CREATE: &str = "sock_create";
    /// Refuses options that lead around the agent.
    pub const SETSOCKOPT: &str = "setsockopt";
    /// Workload side of the hand-over.
    pub const WORKLOAD_OPS: &str = "workload_ops";
    /// Agent side of the hand-over.
    pub const AGENT_OPS: &str = "agent_ops";
    /// Redirects IPv4 connects.
    pub const CONNECT4: &str = "connect4";
    /// Redirects IPv6 and IPv4-mapped connects.
    pub const CONNECT6: &str = "connect6";
    /// Unconnected datagrams, IPv4.
    pub const SENDMSG4: &str = "sendmsg4";
    /// Unconnected datagrams, IPv6.
    pub const SENDMSG6: &str = "sendmsg6";
    /// Restores the source of a reply, IPv4.
    pub const RECVMSG4: &str = "recvmsg4";
    /// Restores the source of a reply, IPv6.
    pub const RECVMSG6: &str = "recvmsg6";
    /// Shows the peer that was asked for, IPv4.
    pub const GETPEERNAME4: &str = "getpeername4";
    /// Shows the peer that was asked for, IPv6.
    pub const GETPEERNAME6: &str = "getpeername6";
    /// Keeps the agent's ports, IPv4.
    pub const BIND4: &str = "bind4";
    /// Keeps the agent's ports, IPv6.
    pub const BIND6: &str = "bind6";
    /// Sentinel at the common ancestor, IPv4 connects.
    pub const SENTINEL4: &str = "sentinel4";
    /// Sentinel, IPv6 connects.
    pub const SENTINEL6: &str = "sentinel6";
    /// Sentinel, IPv4 datagrams.
    pub const SENTINEL_MSG4: &str = "sentinel_msg4";
    /// Sentinel, IPv6 datagrams.
    pub const SENTINEL_MSG6: &str = "sentinel_msg6";
    /// Families that no socket hook sees (`lsm_cgroup`, Linux 6.0).
    pub const FAMILIES: &str = "families";
}

/// Read-only variables that the loader sets.
pub mod global {
    /// 1 where `bpf_set_retval` exists in every hook that refuses (Linux 5.18).
    pub const HAVE_RETVAL: &str = "HAVE_RETVAL";
    /// 1 where `bpf_get_current_comm` may be called from the connect hooks.
    pub const HAVE_COMM: &str = "HAVE_COMM";
}

#[cfg(test)]
mod tests {
    use super::{map, program};

    #[test]
    fn names_fit_the_kernel() {
        for name in [
            map::LISTENERS,
            map::ACCEPTED,
            map::COUNTERS,
            map::REFUSALS,
            program::GETPEERNAME4,
            program::SENTINEL_MSG6,
            program::WORKLOAD_OPS,
        ] {
            assert!(name.len() <= 15, "{name}");
        }
    }
}
