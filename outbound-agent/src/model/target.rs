//! `Target`: one entry of an allow, deny or `hosts` list; `Targets`: such a list, compiled.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;

use super::host::{Host, HostError};
use super::place::Place;

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
    /// `192.0.2.0/24`
    Network(IpNet),
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
    /// `*` somewhere else than at the front.
    #[error("`*` stands alone or as the first label, as in `*.example.com`")]
    Wildcard,
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
    if host.contains('*') {
        return Err(TargetError::Wildcard);
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

/// Which list a target stands in: what an unwritten scheme or port means there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// Unwritten: `http` and `https`, ports 80 and 443.
    Allow,
    /// Unwritten: every scheme, every port.
    Deny,
    /// Where a credential may go; unwritten as in [`List::Allow`].
    Hosts,
}

impl List {
    /// The key of the list in the configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Hosts => "hosts",
        }
    }
}

/// A target in its list: nothing is left unwritten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// How logs and replies name it: `deny *.evil.example`.
    pub label: Arc<str>,
    /// Where it is written, when that is known.
    pub place: Option<Place>,
    /// The schemes.
    pub schemes: &'static [Scheme],
    /// The ports.
    pub ports: Ports,
}

/// A list of targets, compiled so that a look-up costs as much in a list of ten as in one of
/// a hundred thousand: one hash look-up per label of the host, or per length of prefix.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    pub(crate) exact: HashMap<Host, Vec<Rule>>,
    pub(crate) below: HashMap<Box<str>, Vec<Rule>>,
    /// By length of prefix, the longest first.
    pub(crate) networks: Vec<(u8, HashMap<IpNet, Vec<Rule>>)>,
    pub(crate) any: Vec<Rule>,
    /// The exact names for `tcp`, with their ports.
    pub(crate) opaque: Vec<(Host, Ports)>,
    /// Every port that some rule is for.
    pub(crate) ports: HashSet<Ports>,
}

impl Targets {
    /// Compiles a list.
    pub fn compile(targets: impl IntoIterator<Item = Target>, list: List) -> Self {
        Self::compile_placed(targets.into_iter().map(|target| (target, None)), list)
    }

    /// Compiles a list whose entries know where they are written.
    pub fn compile_placed(
        targets: impl IntoIterator<Item = (Target, Option<Place>)>,
        list: List,
    ) -> Self {
        let mut compiled = Self::default();
        for (target, place) in targets {
            let rule = Rule::new(&target, place, list);
            compiled.insert(target.pattern, rule);
        }
        compiled
    }

    fn insert(&mut self, pattern: Pattern, rule: Rule) {
        self.ports.insert(rule.ports);
        match pattern {
            Pattern::Any => self.any.push(rule),
            Pattern::Exact(host) => {
                if matches!(host, Host::Name(_)) && rule.schemes.contains(&Scheme::Tcp) {
                    self.opaque.push((host.clone(), rule.ports));
                }
                self.exact.entry(host).or_default().push(rule);
            }
            Pattern::Below(name) => self.below.entry(name).or_default().push(rule),
            Pattern::Network(network) => {
                let length = network.prefix_len();
                let at = self.networks.partition_point(|(other, _)| *other > length);
                if self
                    .networks
                    .get(at)
                    .is_none_or(|(other, _)| *other != length)
                {
                    self.networks.insert(at, (length, HashMap::new()));
                }
                let (_, networks) = &mut self.networks[at];
                networks.entry(network).or_default().push(rule);
            }
        }
    }

    /// Every rule, in no order.
    pub fn rules(&self) -> impl Iterator<Item = &Rule> {
        let networks = self.networks.iter().flat_map(|(_, rules)| rules.values());
        let rules = self
            .exact
            .values()
            .chain(self.below.values())
            .chain(networks);
        rules.flatten().chain(&self.any)
    }

    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty()
            && self.below.is_empty()
            && self.networks.is_empty()
            && self.any.is_empty()
    }
}

impl Rule {
    fn new(target: &Target, place: Option<Place>, list: List) -> Self {
        let (schemes, ports): (&[Scheme], _) = match list {
            List::Allow | List::Hosts => (&[Scheme::Http, Scheme::Https], Ports::Web),
            List::Deny => (&[Scheme::Http, Scheme::Https, Scheme::Tcp], Ports::Every),
        };
        Self {
            label: format!("{} {target}", list.label()).into(),
            place,
            schemes: target.scheme.map_or(schemes, |scheme| match scheme {
                Scheme::Http => &[Scheme::Http],
                Scheme::Https => &[Scheme::Https],
                Scheme::Tcp => &[Scheme::Tcp],
            }),
            ports: target.port.unwrap_or(ports),
        }
    }
}
