//! Addresses and names that a rule has to name before they can be reached.
//!
//! The private ones are those of the IANA special-purpose registries (RFC 6890 and its
//! updates) that lead to this host, to its surroundings or nowhere; the ranges for
//! documentation are ordinary. Metadata services give out the machine's own credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::host::Host;

/// How far a rule has to go to open an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guard {
    /// Any rule does.
    Ordinary,
    /// An address or a network that contains it.
    Private,
    /// That very address.
    Metadata,
}

/// What one form of an address is; forms that it embeds are for [`forms`] to find.
pub(super) fn guard(address: IpAddr) -> Guard {
    if METADATA.contains(&address) {
        return Guard::Metadata;
    }
    let is_private = match address {
        IpAddr::V4(v4) => PRIVATE_V4
            .iter()
            .any(|(network, length)| (v4.to_bits() ^ network.to_bits()) >> (32 - length) == 0),
        IpAddr::V6(v6) => PRIVATE_V6
            .iter()
            .any(|(network, length)| (v6.to_bits() ^ network.to_bits()) >> (128 - length) == 0),
    };
    if is_private {
        Guard::Private
    } else {
        Guard::Ordinary
    }
}

/// An address in canonical form, and the IPv4 addresses that it stands for.
pub(super) fn forms(address: IpAddr) -> impl Iterator<Item = IpAddr> + Clone {
    let canonical = address.to_canonical();
    let embedded = match canonical {
        IpAddr::V4(_) => [None, None],
        IpAddr::V6(v6) => embedded(v6),
    };
    std::iter::once(canonical).chain(embedded.into_iter().flatten().map(IpAddr::V4))
}

fn embedded(address: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let bits = address.to_bits();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the 32 bits at an offset are what is wanted"
    )]
    let at = |shift: u32| Some(Ipv4Addr::from_bits((bits >> shift) as u32));
    match address.segments() {
        // NAT64, RFC 6052 section 2.1 and RFC 8215
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => [at(0), None],
        // 6to4, RFC 3056 section 2
        [0x2002, ..] => [at(80), None],
        // Teredo, RFC 4380 section 4: the server, and the client with its bits turned over
        [0x2001, 0, ..] => [
            at(64),
            at(0).map(|client| Ipv4Addr::from_bits(!client.to_bits())),
        ],
        // IPv4-compatible, RFC 4291 section 2.5.5.1, and IPv4-translated, RFC 2765
        [0, 0, 0, 0, 0, 0, ..] if bits > 1 => [at(0), None],
        [0, 0, 0, 0, 0xffff, 0, ..] => [at(0), None],
        // ISATAP, RFC 5214 section 6.1: in whatever prefix
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => [at(0), None],
        _ => [None, None],
    }
}

/// Whether a host is a metadata service's name.
pub(super) fn is_metadata_name(host: &Host) -> bool {
    match host {
        Host::Name(name) => METADATA_NAMES.contains(&name.as_ref()),
        Host::Address(_) => false,
    }
}

const METADATA_NAMES: [&str; 5] = [
    "instance-data",
    "instance-data.ec2.internal",
    "metadata.aws.internal",
    "metadata.azure.internal",
    "metadata.google.internal",
];

const METADATA: [IpAddr; 9] = [
    // AWS, Azure, Google Cloud and most others; ECS tasks; EKS pod identity
    v4(169, 254, 169, 254),
    v4(169, 254, 170, 2),
    v4(169, 254, 170, 23),
    v6(0xfd00, 0xec2, 0x254),
    v6(0xfd00, 0xec2, 0x23),
    // Alibaba Cloud, Oracle Cloud, Azure's wire server, Google Cloud over IPv6
    v4(100, 100, 100, 200),
    v4(192, 0, 0, 192),
    v4(168, 63, 129, 16),
    v6(0xfd20, 0xce, 0x254),
];

const PRIVATE_V4: [(Ipv4Addr, u8); 11] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    // Multicast; reserved and broadcast
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
];

const PRIVATE_V6: [(Ipv6Addr, u8); 11] = [
    (Ipv6Addr::UNSPECIFIED, 128),
    (Ipv6Addr::LOCALHOST, 128),
    // NAT64 of a site's own, RFC 8215: where in it the IPv4 address stands, only the site knows
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    // Discard only, RFC 6666
    (Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0), 64),
    // Dummy prefix, RFC 9780; benchmarking, RFC 5180; segment routing, RFC 9602
    (Ipv6Addr::new(0x100, 0, 0, 1, 0, 0, 0, 0), 64),
    (Ipv6Addr::new(0x2001, 2, 0, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x5f00, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7),
    (Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    // Site-local, RFC 3879
    (Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 10),
    (Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// `a:b::h`
const fn v6(a: u16, b: u16, h: u16) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(a, b, 0, 0, 0, 0, 0, h))
}
