//! What the kernel side counts, per CPU.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Index into `COUNTERS`, and the reason in a [`crate::Refusal`].
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// Every counter, in order of index.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The counter of an index.
            pub fn from_index(index: u32) -> Option<Self> {
                Self::ALL.get(index as usize).copied()
            }

            /// The name in metrics and logs.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

counters! {
    /// A connect was redirected to the agent.
    Redirected = "redirected",
    /// A DNS datagram, or the connect of its socket, was redirected to the agent.
    RedirectedDns = "redirected_dns",
    /// Socket or connect in a watched cgroup that is no tenant's.
    NoTenant = "no_tenant",
    /// The socket carries no stamp: made elsewhere, before the hooks, or inside the kernel.
    NoStamp = "no_stamp",
    /// A socket from elsewhere was used by a process of a tenant (sentinel).
    ForeignSocket = "foreign_socket",
    /// A socket of one tenant was used by a process of another.
    WrongTenant = "wrong_tenant",
    /// The agent does not listen in this network namespace.
    NoListener = "no_listener",
    /// The socket is bound to a device.
    BoundDevice = "bound_device",
    /// A datagram that is not DNS.
    Datagram = "datagram",
    /// A family, type or protocol of socket that is not let through.
    SocketKind = "socket_kind",
    /// A socket option that would lead around the agent.
    SocketOption = "socket_option",
    /// A bind to one of the agent's ports.
    AgentPort = "agent_port",
    /// A connect whose destination is the agent itself.
    AgentAddress = "agent_address",
    /// `FLOWS` is full.
    FlowsFull = "flows_full",
    /// A socket's storage could not be made.
    StorageFailed = "storage_failed",
    /// A connection reached the agent's port without a flow.
    FlowMissing = "flow_missing",
    /// Belt: the socket has no stamp or was never redirected.
    BeltUnstamped = "belt_unstamped",
    /// Belt: the packet leaves by another interface than loopback.
    BeltInterface = "belt_interface",
    /// Belt: IP options, extension headers or a fragment.
    BeltHeader = "belt_header",
    /// Belt: the destination is not the agent.
    BeltDestination = "belt_destination",
    /// Belt: the tenant was taken away while the socket lived.
    BeltNoTenant = "belt_no_tenant",
    /// Belt: the answer of a server, of a tenant that may not have any.
    BeltInbound = "belt_inbound",
    /// A tenant has as many pending flows as one may have.
    TenantFlowsFull = "tenant_flows_full",
    /// A datagram from an address from which another tenant's query is under way.
    FlowTaken = "flow_taken",
    /// A refusal was not reported because the ring buffer was full.
    RefusalLost = "refusal_lost",
    /// A refusal was not reported because its tenant had enough of them in this second.
    RefusalSuppressed = "refusal_suppressed",
}

#[cfg(test)]
mod tests {
    use super::Counter;

    #[test]
    fn index_and_position_agree() {
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
        }
    }
}
