//! `Host`: the one way to compare hosts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// A host in canonical form: an IP address (IPv4-mapped unwrapped), or a name in lower case,
/// IDNA A-labels, without trailing dot, made of letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A domain name.
    Name(Arc<str>),
    /// An address literal.
    Address(IpAddr),
}

/// Why a text is no host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// A character that no host name has.
    #[error("the host has a character that host names do not have")]
    Character,
    /// Longer than 253 octets, or a label empty or longer than 63 (RFC 1035 section 2.3.4).
    #[error("the host or one of its labels is empty or too long")]
    Length,
    /// Looks like an IPv4 address in a form that is not four decimal numbers.
    #[error("the host is an IPv4 address in an unusual form; write four decimal numbers")]
    UnusualAddress,
    /// IDNA (UTS 46) does not accept it.
    #[error("the host is not a valid internationalised name")]
    Idna,
}

impl FromStr for Host {
    type Err = HostError;

    /// Takes what stands in a `Host` header or a server name, without port: `example.com`,
    /// `EXAMPLE.com.`, `192.0.2.1`, `[2001:db8::1]`, `2001:db8::1`.
    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if let Some(inner) = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return inner
                .parse::<Ipv6Addr>()
                .map(Self::from)
                .map_err(|_invalid| HostError::Character);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from(address));
        }
        let name = canonical_name(text.strip_suffix('.').unwrap_or(text))?;
        // WHATWG URL: a host whose last label is a number is an address, in one of the forms
        // that `inet_aton` takes. Nobody writes these by accident.
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_number = last.strip_prefix("0x").map_or_else(
            || last.bytes().all(|b| b.is_ascii_digit()),
            |hex| hex.bytes().all(|b| b.is_ascii_hexdigit()),
        );
        if is_number {
            return Err(HostError::UnusualAddress);
        }
        Ok(Self::Name(name.into()))
    }
}

/// Lower case, A-labels, checked characters and lengths.
fn canonical_name(text: &str) -> Result<String, HostError> {
    let name = if text.is_ascii() {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii_strict(text).map_err(|_rejected| HostError::Idna)?
    };
    if name.is_empty() || name.len() > 253 {
        return Err(HostError::Length);
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > 63 {
            return Err(HostError::Length);
        }
        if !label
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        {
            return Err(HostError::Character);
        }
    }
    Ok(name)
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }
}

impl From<Ipv4Addr> for Host {
    fn from(address: Ipv4Addr) -> Self {
        Self::Address(address.into())
    }
}

impl From<Ipv6Addr> for Host {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::V6(address).into()
    }
}

impl fmt::Display for Host {
    /// IPv6 addresses without brackets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn canonical(text: &str) -> String {
        text.parse::<Host>().unwrap().to_string()
    }

    #[test]
    fn one_host_has_one_form() {
        assert_eq!(canonical("API.Example.COM."), "api.example.com");
        assert_eq!(canonical("bücher.example"), "xn--bcher-kva.example");
        assert_eq!(canonical("[2001:DB8::1]"), "2001:db8::1");
        assert_eq!(canonical("::ffff:192.0.2.1"), "192.0.2.1");
    }

    #[test]
    fn unusual_addresses_are_refused_not_resolved() {
        for text in [
            "127.1",
            "0x7f.1",
            "2130706433",
            "0x7f000001",
            "0177.0.0.1",
            "1.2.3.4.5",
            "a.0x",
        ] {
            assert_eq!(
                text.parse::<Host>(),
                Err(HostError::UnusualAddress),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for (text, error) in [
            ("", HostError::Empty),
            ("a..b", HostError::Length),
            (".", HostError::Length),
            ("a b", HostError::Character),
            ("a\0.example", HostError::Character),
            ("a/b", HostError::Character),
            ("user@host", HostError::Character),
            ("[::1", HostError::Character),
            ("%61.example", HostError::Character),
        ] {
            assert_eq!(text.parse::<Host>(), Err(error), "{text:?}");
        }
        assert_eq!("a".repeat(64).parse::<Host>(), Err(HostError::Length));
    }
}
