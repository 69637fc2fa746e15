//! Addresses and ports as the kernel holds them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// An IP address as four words in network byte order; IPv4 as its IPv4-mapped form
/// (RFC 4291 section 2.5.5.2), so that one type serves both families.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Addr16(pub [u32; 4]);

/// A port in network byte order.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortBe(pub u16);

const MAPPED: u32 = 0x0000_ffff_u32.to_be();

impl Addr16 {
    /// `::`, also "no address".
    pub const UNSPECIFIED: Self = Self([0; 4]);

    /// The mapped form of an IPv4 address given as the kernel's word, network byte order.
    #[inline(always)]
    pub const fn from_v4_word(word: u32) -> Self {
        Self([0, 0, MAPPED, word])
    }

    /// Whether this is the IPv4-mapped form.
    #[inline(always)]
    pub const fn is_v4(&self) -> bool {
        self.0[0] == 0 && self.0[1] == 0 && self.0[2] == MAPPED
    }

    /// The last word: all of an IPv4 address, network byte order.
    #[inline(always)]
    pub const fn v4_word(&self) -> u32 {
        self.0[3]
    }

    /// The address in std's form, IPv4 unwrapped.
    pub fn to_ip(self) -> IpAddr {
        let mut octets = [0; 16];
        for (bytes, word) in octets.chunks_exact_mut(4).zip(self.0) {
            bytes.copy_from_slice(&word.to_ne_bytes());
        }
        Ipv6Addr::from(octets).to_canonical()
    }
}

impl From<IpAddr> for Addr16 {
    fn from(ip: IpAddr) -> Self {
        let octets = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        let mut words = [0; 4];
        for (word, bytes) in words.iter_mut().zip(octets.chunks_exact(4)) {
            *word = u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        }
        Self(words)
    }
}

impl From<Ipv4Addr> for Addr16 {
    fn from(ip: Ipv4Addr) -> Self {
        IpAddr::V4(ip).into()
    }
}

impl PortBe {
    /// From host order.
    #[inline(always)]
    pub const fn new(port: u16) -> Self {
        Self(port.to_be())
    }

    /// In host order.
    #[inline(always)]
    pub const fn get(self) -> u16 {
        u16::from_be(self.0)
    }
}

/// An address and a port in std's form.
pub fn socket_addr(address: Addr16, port: PortBe) -> SocketAddr {
    SocketAddr::new(address.to_ip(), port.get())
}

const _: () = assert!(size_of::<Addr16>() == 16 && align_of::<Addr16>() == 4);
const _: () = assert!(size_of::<PortBe>() == 2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv4_is_held_mapped_and_comes_back_unwrapped() {
        let held = Addr16::from(Ipv4Addr::new(192, 0, 2, 7));
        assert!(held.is_v4());
        assert_eq!(
            held,
            Addr16::from_v4_word(u32::from_ne_bytes([192, 0, 2, 7]))
        );
        assert_eq!(held.to_ip(), IpAddr::from([192, 0, 2, 7]));
    }

    #[test]
    fn ipv6_comes_back_as_it_was() {
        let ip: IpAddr = "2001:db8::7".parse().unwrap();
        assert!(!Addr16::from(ip).is_v4());
        assert_eq!(Addr16::from(ip).to_ip(), ip);
    }

    #[test]
    fn ports_keep_their_byte_order_in_the_type() {
        assert_eq!(PortBe::new(443).0.to_ne_bytes(), 443_u16.to_be_bytes());
        assert_eq!(PortBe::new(443).get(), 443);
    }
}
