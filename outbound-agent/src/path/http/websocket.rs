//! WebSocket over HTTP/2 (RFC 8441): an extended `CONNECT` of the workload, an upgrade of
//! HTTP/1.1 (RFC 6455 section 4) towards the upstream, which every WebSocket server knows.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use http::{Method, Request, Response, StatusCode};
use hyper::ext::Protocol;
use uuid::Uuid;

use super::headers::{ask_upgrade, take_out};

/// Among the extensions of a request that was translated.
#[derive(Clone, Copy, Debug)]
struct Translated;

/// Makes of an extended `CONNECT` the upgrade that it stands for. Every other request, also an
/// extended `CONNECT` for another protocol, stays as it is.
pub fn translate<B>(request: &mut Request<B>) {
    let is_websocket = request
        .extensions()
        .get::<Protocol>()
        .is_some_and(|protocol| protocol.as_str() == WEBSOCKET);
    if request.method() != Method::CONNECT || !is_websocket {
        return;
    }
    request.extensions_mut().remove::<Protocol>();
    request.extensions_mut().insert(Translated);
    *request.method_mut() = Method::GET;
    let headers = request.headers_mut();
    ask_upgrade(headers, HeaderValue::from_static(WEBSOCKET));
    // A nonce of 16 bytes; it keeps nothing secret (RFC 6455 section 10.3).
    if let Ok(key) = STANDARD.encode(Uuid::now_v7().as_bytes()).parse() {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
}

/// Whether a request is such a one.
pub fn is_translated<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Translated>().is_some()
}

/// Makes of `101` the answer to the workload's `CONNECT`.
pub fn accept<B>(response: &mut Response<B>) {
    *response.status_mut() = StatusCode::OK;
    take_out(response.headers_mut(), &SEC_WEBSOCKET_ACCEPT);
}

/// Whether a request asks for a protocol that the agent does not carry.
pub fn is_unknown<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Protocol>().is_some()
}

const WEBSOCKET: &str = "websocket";
