//! `Target`: one entry of an allow, deny or `hosts` list.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use ipnet::IpNet;

use super::host::{Host, HostError};
use super::pattern::Glob;

/// What a request or a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS, or TLS that is passed through.
    Https,
    /// Any other bytes over TCP.
    Tcp,
}

impl Scheme {
    /// Every scheme.
    pub const ALL: [Self; 3] = [Self::Http, Self::Https, Self::Tcp];

    /// Those of `wanted`, in one order.
    pub fn among(wanted: &[Self]) -> &'static [Self] {
        use Scheme::{Http, Https, Tcp};
        let has = |scheme| wanted.contains(&scheme);
        match (has(Http), has(Https), has(Tcp)) {
            (true, true, true) => &[Http, Https, Tcp],
            (true, true, false) => &[Http, Https],
            (true, false, true) => &[Http, Tcp],
            (false, true, true) => &[Https, Tcp],
            (true, false, false) => &[Http],
            (false, true, false) => &[Https],
            (false, false, true) => &[Tcp],
            (false, false, false) => &[],
        }
    }

    /// As written in a target and in logs.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
        }
    }
}

/// Which hosts a target names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// `*`
    Any,
    /// `example.com`
    Exact(Host),
    /// `*.example.com`: any depth below, not `example.com` itself.
    Below(Box<str>),
    /// `api-*.example.com`: `*` is any run of characters of one label.
    Glob(HostGlob),
    /// `192.0.2.0/24`
    Network(IpNet),
    /// `@name`: every host of a set.
    Set(Box<str>),
}

/// A name some labels of which have `*` in them: any run of characters but dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGlob {
    text: Box<str>,
    labels: Vec<Glob>,
    /// Where in `text` the labels without `*` at the end begin.
    parent: usize,
}

impl HostGlob {
    fn new(text: &str) -> Self {
        let labels: Vec<&str> = text.split('.').collect();
        let last_star = labels.iter().rposition(|label| label.contains('*'));
        let literal = &labels[last_star.map_or(0, |at| at + 1)..];
        let length = literal.join(".").len();
        Self {
            text: text.into(),
            labels: labels.iter().map(|label| Glob::new(*label)).collect(),
            parent: text.len() - length,
        }
    }

    /// The labels without `*` in which it ends, as in `example.com`.
    pub fn parent(&self) -> &str {
        &self.text[self.parent..]
    }

    /// Whether it stands for this name.
    pub fn matches(&self, name: &str) -> bool {
        let mut labels = name.split('.');
        let mut globs = self.labels.iter();
        let are_alike = globs.all(|glob| labels.next().is_some_and(|label| glob.matches(label)));
        are_alike && labels.next().is_none()
    }
}

/// Which ports a target names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// `:*`, and a deny without a port.
    Every,
    /// An allow without a port: 80 and 443.
    Web,
    /// `:8443`
    One(u16),
}

impl Ports {
    /// Whether a port is among them.
    pub const fn contain(self, port: u16) -> bool {
        match self {
            Self::Every => true,
            Self::Web => port == 80 || port == 443,
            Self::One(one) => one == port,
        }
    }
}

/// `[scheme://]host[:port]`, as an operator wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// As written.
    pub text: Box<str>,
    /// The scheme, `None` where none is written: what that means depends on the list.
    pub scheme: Option<Scheme>,
    /// The hosts.
    pub pattern: Pattern,
    /// The port, `None` where none is written: what that means depends on the list.
    pub port: Option<Ports>,
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The part before `://`.
    #[error("`{0}://` is not a scheme; write http, https or tcp")]
    Scheme(String),
    /// The part after the last `:`.
    #[error("`{0}` is not a port; write 1 to 65535 or *")]
    Port(String),
    /// `*` in what is an address.
    #[error("`*` is for names; write a range of addresses as 192.0.2.0/24")]
    Wildcard,
    /// `@` without a name.
    #[error("`@` stands in front of a set's name, as in `@pypi`")]
    Set,
    /// An address range that is none.
    #[error("`{0}` is not an address range; write it as 192.0.2.0/24")]
    Network(String),
    /// The host.
    #[error("`{host}` is not a host: {error}")]
    Host {
        /// As written.
        host: String,
        /// What is wrong with it.
        error: HostError,
    },
    /// `tcp://` without a port.
    #[error("a tcp:// target needs a port, as in `tcp://db.internal:5432`")]
    TcpWithoutPort,
    /// A path or the like behind the host.
    #[error("a target ends after host and port; `{0}` is too much")]
    Path(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(Scheme::Http), rest),
            Some(("https", rest)) => (Some(Scheme::Https), rest),
            Some(("tcp", rest)) => (Some(Scheme::Tcp), rest),
            Some((other, _)) => return Err(TargetError::Scheme(other.to_owned())),
            None => (None, text),
        };
        let (host, port) = split_port(rest)?;
        let pattern = parse_pattern(host)?;
        if scheme == Some(Scheme::Tcp) && port.is_none() {
            return Err(TargetError::TcpWithoutPort);
        }
        Ok(Self {
            text: text.into(),
            scheme,
            pattern,
            port,
        })
    }
}

/// Splits `host[:port]`; an IPv6 address with a port stands in brackets.
fn split_port(text: &str) -> Result<(&str, Option<Ports>), TargetError> {
    let (host, port) = if let Some(end) = text.find(']') {
        let (host, rest) = text.split_at(end + 1);
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None if rest.starts_with('/') => (text, None),
            None => return Err(TargetError::Path(rest.to_owned())),
        }
    } else {
        match text.split_once(':') {
            Some((_, rest)) if rest.contains(':') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    let port = match port {
        None => None,
        Some("*") => Some(Ports::Every),
        Some(port) => match port.parse::<u16>() {
            Ok(number @ 1..) => Some(Ports::One(number)),
            _ => return Err(TargetError::Port(port.to_owned())),
        },
    };
    Ok((host, port))
}

fn parse_pattern(host: &str) -> Result<Pattern, TargetError> {
    if host == "*" {
        return Ok(Pattern::Any);
    }
    let parse_host = |host: &str| {
        host.parse::<Host>().map_err(|error| TargetError::Host {
            host: host.to_owned(),
            error,
        })
    };
    if let Some(below) = host.strip_prefix("*.") {
        return match parse_host(below)? {
            Host::Name(name) => Ok(Pattern::Below(name.as_ref().into())),
            Host::Address(_) => Err(TargetError::Wildcard),
        };
    }
    if let Some(name) = host.strip_prefix('@') {
        let is_name = !name.is_empty() && name.bytes().all(is_name_byte);
        return match is_name {
            true => Ok(Pattern::Set(name.into())),
            false => Err(TargetError::Set),
        };
    }
    if host.contains('*') {
        let is_numeric = |label: &str| label.bytes().all(|b| b.is_ascii_digit() || b == b'*');
        if host.split('.').all(is_numeric) {
            return Err(TargetError::Wildcard);
        }
        // A `*` may stand where a letter may: what is a host with one is a glob.
        return match parse_host(&host.replace('*', "x"))? {
            Host::Name(_) if host.is_ascii() => {
                let host = host.to_ascii_lowercase();
                Ok(Pattern::Glob(HostGlob::new(host.trim_end_matches('.'))))
            }
            Host::Name(_) | Host::Address(_) => Err(TargetError::Wildcard),
        };
    }
    if let Some((address, _prefix)) = host.split_once('/') {
        let bare = host.replace(['[', ']'], "");
        return match bare.parse::<IpNet>() {
            Ok(network) => Ok(Pattern::Network(canonical_network(network))),
            Err(_) if address.parse::<std::net::IpAddr>().is_ok() => {
                Err(TargetError::Network(host.to_owned()))
            }
            Err(_) => Err(TargetError::Path(host[address.len()..].to_owned())),
        };
    }
    parse_host(host).map(Pattern::Exact)
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')
}

/// Addresses are compared with IPv4-mapped ones unwrapped, and so are ranges.
fn canonical_network(network: IpNet) -> IpNet {
    let unwrapped = match network {
        IpNet::V4(_) => None,
        IpNet::V6(v6) => v6
            .addr()
            .to_ipv4_mapped()
            .zip(v6.prefix_len().checked_sub(96))
            .and_then(|(v4, length)| IpNet::new(v4.into(), length).ok()),
    };
    unwrapped.unwrap_or(network).trunc()
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
