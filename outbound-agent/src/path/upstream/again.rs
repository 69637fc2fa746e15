//! Which requests may be sent a second time.

use http::Request;
use http::header::UPGRADE;

use super::super::http::body::Outgoing;

/// The same request once more, where an upstream that has read it may read it again (RFC 9110
/// section 9.2.2): its method is idempotent, and it has no body. A connection that was kept may
/// be closed by the upstream just when it is used again.
pub(super) fn again(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if !request.method().is_idempotent() || request.headers().contains_key(UPGRADE) {
        return None;
    }
    let mut again = Request::new(request.body().again()?);
    *again.method_mut() = request.method().clone();
    *again.uri_mut() = request.uri().clone();
    *again.version_mut() = request.version();
    *again.headers_mut() = request.headers().clone();
    *again.extensions_mut() = request.extensions().clone();
    Some(again)
}
