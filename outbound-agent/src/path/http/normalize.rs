//! One canonical form of what a request asks for: host, port, path.
//!
//! Target, `Host` and the connection's original destination must tell the same story
//! (RFC 9112 section 3.2); what is ambiguous is refused, never repaired.

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::{self, Authority};
use http::{Request, Uri, Version};

use super::guard::Refused;
use crate::model::addr::OriginalDst;
use crate::model::host::Host;
use crate::model::reason::Reason;
use crate::model::target::Scheme;

/// What a request asks for, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// `http`, or `https` where the workload's TLS ends at the agent.
    pub scheme: Scheme,
    /// The host that the request names.
    pub host: Host,
    /// The port that the workload connected to, or of an absolute target.
    pub port: u16,
    /// Whether the workload takes the agent for its proxy: its target is absolute (RFC 9112
    /// section 3.2.2), and the connection says nothing about it.
    pub is_proxied: bool,
    /// The path of the target, without the query.
    pub path: Box<str>,
}

/// Reads a request on a connection that was opened to `destination`. Fails with
/// what the guard refused it for, [`Reason::NoHost`], [`Reason::TwoHosts`],
/// [`Reason::TwoLengths`], [`Reason::InvalidHeader`], [`Reason::DestinationMismatch`] or
/// [`Reason::UnsupportedProtocol`] (an absolute target of another scheme).
pub fn normalize<B>(
    request: &Request<B>,
    scheme: Scheme,
    destination: OriginalDst,
) -> Result<Asked, Reason> {
    if let Some(refused) = request.extensions().get::<Refused>() {
        return Err(refused.reason);
    }
    // The guard has seen to that on HTTP/1; HTTP/2 has frames of its own, but not every server
    // behind it.
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    if lengths.next().is_some() && lengths.next().is_some() {
        return Err(Reason::TwoLengths);
    }
    // What a gateway would read as framing that takes `_` for `-`: on HTTP/1 the guard sees to it.
    let has = |name| request.headers().contains_key(name);
    if request.version() >= Version::HTTP_2 && BY_UNDERSCORE.into_iter().any(has) {
        return Err(Reason::InvalidHeader);
    }
    let named = named_authority(request)?;
    let (host, port) = split(&named)?;
    let is_proxied = scheme == Scheme::Http && is_absolute(request);
    let port = if is_proxied {
        if request.uri().scheme() != Some(&uri::Scheme::HTTP) {
            return Err(Reason::UnsupportedProtocol);
        }
        port.unwrap_or(HTTP_PORT)
    } else if port.is_none_or(|port| port == destination.port()) {
        destination.port()
    } else {
        return Err(Reason::DestinationMismatch);
    };
    Ok(Asked {
        scheme,
        host,
        port,
        is_proxied,
        path: path(request.uri()).into(),
    })
}

/// Host and port that `CONNECT` asks for (RFC 9110 section 9.3.6). Fails with what the guard
/// refused it for, [`Reason::NoHost`] or [`Reason::TwoHosts`].
pub fn connect_target<B>(request: &Request<B>) -> Result<(Host, u16), Reason> {
    if let Some(refused) = request.extensions().get::<Refused>() {
        return Err(refused.reason);
    }
    let (host, port) = split(request.uri().authority().ok_or(Reason::NoHost)?)?;
    let mut hosts = request.headers().get_all(HOST).iter();
    if let Some(named) = hosts.next() {
        let named = named.to_str().map_err(|_opaque| Reason::NoHost)?;
        let named: Authority = named.parse().map_err(|_invalid| Reason::NoHost)?;
        // Some programs leave the port out there.
        let (named, named_port) = split(&named)?;
        if hosts.next().is_some() || named != host || named_port.is_some_and(|p| Some(p) != port) {
            return Err(Reason::TwoHosts);
        }
    }
    Ok((host, port.ok_or(Reason::NoHost)?))
}

/// `Authority` lets user information and a broken port through.
fn split(named: &Authority) -> Result<(Host, Option<u16>), Reason> {
    let host = named.host().parse().map_err(|_invalid| Reason::NoHost)?;
    let rest = &named.as_str()[named.host().len()..];
    match rest.strip_prefix(':') {
        None if rest.is_empty() => Ok((host, None)),
        Some(port) => match port.parse() {
            Ok(port @ 1..) => Ok((host, Some(port))),
            Ok(0) | Err(_) => Err(Reason::NoHost),
        },
        None => Err(Reason::NoHost),
    }
}

/// In HTTP/2 every target is.
fn is_absolute<B>(request: &Request<B>) -> bool {
    request.version() < Version::HTTP_2 && request.uri().authority().is_some()
}

/// The one authority of a request: `Host`, and where the target is absolute the same there.
fn named_authority<B>(request: &Request<B>) -> Result<Authority, Reason> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => {
            let text = host.to_str().map_err(|_opaque| Reason::NoHost)?;
            Some(
                text.parse::<Authority>()
                    .map_err(|_invalid| Reason::NoHost)?,
            )
        }
        (None, _) => None,
        (Some(_), Some(_)) => return Err(Reason::TwoHosts),
    };
    match (host, request.uri().authority()) {
        (Some(host), None) => Ok(host),
        (Some(host), Some(target)) if host.as_str().eq_ignore_ascii_case(target.as_str()) => {
            Ok(host)
        }
        // RFC 9112 section 3.2.2 would let the target win; then two servers could read it two ways.
        (Some(_), Some(_)) => Err(Reason::TwoHosts),
        // Only HTTP/1.0 may do without Host.
        (None, Some(target)) => Ok(target.clone()),
        (None, None) => Err(Reason::NoHost),
    }
}

fn path(target: &Uri) -> &str {
    match target.path() {
        "" => "/",
        path => path,
    }
}

const HTTP_PORT: u16 = 80;
const BY_UNDERSCORE: [&str; 2] = ["content_length", "transfer_encoding"];

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(target: &str, hosts: &[&str]) -> Result<Asked, Reason> {
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        normalize(
            &request.body(()).unwrap(),
            Scheme::Http,
            OriginalDst("192.0.2.1:8080".parse().unwrap()),
        )
    }

    #[test]
    fn host_is_canonical_and_the_port_is_the_connections() {
        let asked = asked("/a?b=c", &["API.Example.com.:8080"]).unwrap();
        assert_eq!(asked.host, "api.example.com".parse().unwrap());
        assert_eq!((asked.port, &*asked.path), (8080, "/a"));
    }

    #[test]
    fn an_absolute_target_must_name_the_same_host() {
        assert!(asked("http://a.example/", &["A.example"]).is_ok());
        assert_eq!(
            asked("http://a.example/", &["b.example"]),
            Err(Reason::TwoHosts)
        );
        let asked = asked("http://a.example/", &[]).unwrap();
        assert_eq!((asked.port, asked.is_proxied), (80, true));
    }

    #[test]
    fn a_port_that_was_not_connected_to_is_a_mismatch() {
        assert_eq!(
            asked("/", &["a.example:81"]),
            Err(Reason::DestinationMismatch)
        );
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        assert_eq!(
            asked("/", &["a.example", "a.example"]),
            Err(Reason::TwoHosts)
        );
        for host in [
            "",
            "user@a.example",
            "a.example:",
            "a.example:x",
            "a.example:99999",
            "a b",
            "127.1",
            "[::1",
            "a.example/x",
        ] {
            assert_eq!(asked("/", &[host]), Err(Reason::NoHost), "{host:?}");
        }
        assert_eq!(asked("/", &[]), Err(Reason::NoHost));
    }

    #[test]
    fn connect_names_host_and_port_once() {
        let target = |target: &str, hosts: &[&str]| {
            let mut request = Request::connect(target);
            for host in hosts {
                request = request.header(HOST, *host);
            }
            connect_target(&request.body(()).unwrap())
        };
        let asked = Ok(("a.example".parse().unwrap(), 443));
        assert_eq!(target("A.example:443", &[]), asked);
        assert_eq!(target("a.example:443", &["a.example:443"]), asked);
        assert_eq!(target("a.example:443", &["a.example"]), asked);
        for hosts in [
            &["b.example"][..],
            &["a.example:80"],
            &["a.example", "a.example"],
        ] {
            assert_eq!(target("a.example:443", hosts), Err(Reason::TwoHosts));
        }
        for none in ["a.example", "a.example:0", "u@a.example:443"] {
            assert_eq!(target(none, &[]), Err(Reason::NoHost));
        }
    }
}
