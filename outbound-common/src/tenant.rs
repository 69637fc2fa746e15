//! What the agent tells the kernel: who is a tenant, and where the agent listens.

use crate::addr::Addr16;

/// A tenant's cgroup. Without an entry a watched cgroup has no egress; taking the entry away
/// stops new sockets, new connects and, at the belt, what is already open.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantEntry {
    /// The cgroup id again, so that a lookup by ancestor gives it back.
    pub cgroup: u64,
    /// Number of the tenant on this host, below [`SLOTS`]. It chooses the loopback network
    /// `127.x.y.0/24` through which the tenant reaches the agent, so that no tenant can use
    /// up another's ports.
    pub slot: u32,
    /// A combination of the `TENANT_*` flags.
    pub flags: u32,
}

/// The tenant's servers may answer peers that connected to them.
pub const TENANT_INBOUND: u32 = 1;
/// A socket may be used only by a process of the same tenant.
pub const TENANT_STRICT: u32 = 2;

/// How deep below the root tenants' cgroups may lie.
pub const DEEPEST: u32 = 16;
/// Every level at which a tenant's cgroup may lie, as in the map `LEVELS`: bit `n` for `n` below
/// the root.
pub const LEVELS: u32 = ((1 << DEEPEST) - 1) << 1;

/// The bit of a level; 0 where no tenant is found there.
#[inline(always)]
pub const fn level(depth: usize) -> u32 {
    match depth {
        1..=16 => 1 << depth,
        _ => 0,
    }
}

/// Where the agent listens in one network namespace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenerEntry {
    /// TCP port, host byte order.
    pub tcp_port: u16,
    /// UDP port of the resolver, host byte order; 0 for none.
    pub dns_port: u16,
    /// A combination of the `LISTENER_*` flags.
    pub flags: u32,
}

/// The namespace has no IPv6: connects to IPv6 destinations go to the agent over IPv4.
pub const LISTENER_NO_IPV6: u32 = 1;

/// IPv6 connects go to the agent over IPv4 where the socket permits it: a namespace that
/// tenants share has one `::1` but a loopback network for each of them.
pub const LISTENER_PREFER_IPV4: u32 = 2;

/// How many slots there are: 127.1.0.0/24 to 127.126.255.0/24.
pub const SLOTS: u32 = 126 * 256;

/// The agent's IPv6 address.
pub const AGENT_V6: Addr16 = Addr16([0, 0, 0, 1_u32.to_be()]);

/// The agent's IPv4 network for a slot, host byte order: `127.x.y.0`.
#[inline(always)]
pub const fn agent_net_v4(slot: u32) -> u32 {
    0x7f01_0000 + (slot << 8)
}

/// The agent's IPv4 address for a slot and a destination, network byte order. Destinations are
/// spread over 254 addresses, so that as many connections to one source port range fit.
#[inline(always)]
pub const fn agent_v4(slot: u32, destination: Addr16, destination_port: u16) -> u32 {
    let words = destination.0;
    let mixed = (words[0] ^ words[1] ^ words[2] ^ words[3] ^ destination_port as u32)
        .wrapping_mul(0x9e37_79b1);
    (agent_net_v4(slot) | (1 + (mixed >> 16) % 254)).to_be()
}

/// Whether an address, network byte order, is the agent's for this slot.
#[inline(always)]
pub const fn is_agent_v4(slot: u32, address: u32) -> bool {
    u32::from_be(address) & 0xffff_ff00 == agent_net_v4(slot)
}

const _: () = assert!(size_of::<TenantEntry>() == 16 && align_of::<TenantEntry>() == 8);
const _: () = assert!(size_of::<ListenerEntry>() == 8 && align_of::<ListenerEntry>() == 4);

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;

    use super::*;

    fn octets(slot: u32, last: u8) -> [u8; 4] {
        agent_v4(slot, Addr16::from(Ipv4Addr::new(192, 0, 2, last)), 80).to_ne_bytes()
    }

    #[test]
    fn every_slot_has_a_network_of_its_own() {
        assert_eq!(octets(0, 1)[..3], [127, 1, 0]);
        assert_eq!(octets(SLOTS - 1, 1)[..3], [127, 126, 255]);
    }

    #[test]
    fn the_last_octet_is_never_network_or_broadcast() {
        for last in 0..=255 {
            assert!((1..=254).contains(&octets(7, last)[3]));
        }
    }

    #[test]
    fn every_level_has_a_bit() {
        assert_eq!((0..40).map(level).fold(0, |all, bit| all | bit), LEVELS);
        assert_eq!((level(0), level(1), level(17)), (0, 2, 0));
    }

    #[test]
    fn an_agent_address_belongs_to_its_slot_alone() {
        let address = agent_v4(300, Addr16::UNSPECIFIED, 443);
        assert!(is_agent_v4(300, address));
        assert!(!is_agent_v4(301, address));
    }
}
