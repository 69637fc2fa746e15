//! How a request names its target, in each version of HTTP. Both names come from the permit's
//! destination, never from what the workload wrote.

use http::header::{CONTENT_LENGTH, HOST, HeaderValue, TRANSFER_ENCODING};
use http::uri::{Authority, Parts, PathAndQuery};
use http::{Request, Response, Uri, Version};

use super::super::policy::Destination;
use super::pool::Sender;

/// Fits a request to the connection that it goes out on. HTTP/1: origin form and `Host` (RFC
/// 9112 section 3.2.1). HTTP/2: `:scheme` and `:authority` (RFC 9113 section 8.3.1). May be
/// called again for another connection.
pub(super) fn fit<B>(request: &mut Request<B>, destination: &Destination, sender: &Sender) {
    let path = request
        .uri()
        .path_and_query()
        .cloned()
        .unwrap_or_else(|| PathAndQuery::from_static("/"));
    let mut parts = Parts::default();
    match sender {
        Sender::Http1(_) => {
            *request.version_mut() = Version::HTTP_11;
            if !request.headers().contains_key(HOST)
                && let Ok(host) = HeaderValue::from_str(&destination.authority())
            {
                request.headers_mut().insert(HOST, host);
            }
        }
        Sender::Http2(..) => {
            *request.version_mut() = Version::HTTP_2;
            request.headers_mut().remove(HOST);
            parts.scheme = destination.scheme.label().parse().ok();
            parts.authority = destination.authority().parse::<Authority>().ok();
        }
    }
    parts.path_and_query = Some(path);
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// Makes a response the agent's own: its version is (RFC 9110 section 2.5), so that a body that
/// ends with its connection is framed anew. Nothing where its body has two lengths, of which
/// the workload could read the other one (RFC 9112 section 6.3).
pub(super) fn own<B>(mut response: Response<B>) -> Option<Response<B>> {
    *response.version_mut() = Version::HTTP_11;
    let headers = response.headers();
    let has_two = headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH);
    (!has_two).then_some(response)
}
