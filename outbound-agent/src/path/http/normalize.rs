//! One canonical form of what a request asks for: host, port, path.
//!
//! Target, `Host` and the connection's original destination must tell the same story
//! (RFC 9112 section 3.2); what is ambiguous is refused, never repaired.

use http::header::{CONTENT_LENGTH, HOST};
use http::uri::Authority;
use http::{Method, Request, Uri};

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
    /// The port that the workload connected to.
    pub port: u16,
    /// The path of the target, without the query.
    pub path: Box<str>,
}

/// Reads a request on a connection that was opened to `destination`. Fails with
/// what the guard refused it for, [`Reason::NoHost`], [`Reason::TwoHosts`],
/// [`Reason::TwoLengths`], [`Reason::DestinationMismatch`] or [`Reason::UnsupportedProtocol`]
/// (`CONNECT`).
pub fn normalize<B>(
    request: &Request<B>,
    scheme: Scheme,
    destination: OriginalDst,
) -> Result<Asked, Reason> {
    if let Some(refused) = request.extensions().get::<Refused>() {
        return Err(refused.reason);
    }
    if request.method() == Method::CONNECT {
        return Err(Reason::UnsupportedProtocol);
    }
    // The guard has seen to that on HTTP/1; HTTP/2 has frames of its own, but not every server
    // behind it.
    let mut lengths = request.headers().get_all(CONTENT_LENGTH).iter();
    if lengths.next().is_some() && lengths.next().is_some() {
        return Err(Reason::TwoLengths);
    }
    let named = named_authority(request)?;
    let host: Host = named.host().parse().map_err(|_invalid| Reason::NoHost)?;
    // `Authority` lets user information and a broken port through.
    let rest = &named.as_str()[named.host().len()..];
    let port = match rest.strip_prefix(':') {
        None if rest.is_empty() => None,
        Some(port) => Some(port.parse::<u16>().map_err(|_invalid| Reason::NoHost)?),
        None => return Err(Reason::NoHost),
    };
    if port.is_some_and(|port| port != destination.port()) {
        return Err(Reason::DestinationMismatch);
    }
    Ok(Asked {
        scheme,
        host,
        port: destination.port(),
        path: path(request.uri()).into(),
    })
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
        assert!(asked("http://a.example/", &[]).is_ok());
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
    fn connect_is_not_for_a_transparent_agent() {
        let request = Request::connect("a.example:443").body(()).unwrap();
        let destination = OriginalDst("192.0.2.1:443".parse().unwrap());
        assert_eq!(
            normalize(&request, Scheme::Http, destination),
            Err(Reason::UnsupportedProtocol)
        );
    }
}
