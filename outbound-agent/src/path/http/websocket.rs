//! WebSocket over HTTP/2 (RFC 8441): an extended `CONNECT` of the workload becomes an upgrade of
//! HTTP/1.1 (RFC 6455 section 4), which every WebSocket server knows; and an upgrade becomes an
//! extended `CONNECT` where the upstream speaks HTTP/2 and says that it takes that.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CONNECTION, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Method, Request, Response, StatusCode};
use hyper::ext::Protocol;
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
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

/// An upgrade that goes out as an extended `CONNECT`, with what its answer needs.
#[derive(Clone, Debug)]
pub struct Extended {
    key: Option<HeaderValue>,
}

impl Extended {
    /// Whether a request asks to go on as WebSocket, and as nothing else.
    pub fn may_be<B>(request: &Request<B>) -> bool {
        request.method() == Method::GET
            && (request.headers().get(UPGRADE))
                .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(WEBSOCKET.as_bytes()))
    }

    /// Makes an extended `CONNECT` of an upgrade.
    pub fn of<B>(request: &mut Request<B>) -> Self {
        *request.method_mut() = Method::CONNECT;
        let protocol = Protocol::from_static(WEBSOCKET);
        request.extensions_mut().insert(protocol);
        let headers = request.headers_mut();
        let key = headers.get(SEC_WEBSOCKET_KEY).cloned();
        for name in [CONNECTION, UPGRADE, SEC_WEBSOCKET_KEY] {
            take_out(headers, &name);
        }
        Self { key }
    }

    /// Makes the upgrade that it was of one that did not go out.
    pub fn take_back<B>(self, request: &mut Request<B>) {
        *request.method_mut() = Method::GET;
        request.extensions_mut().remove::<Protocol>();
        let headers = request.headers_mut();
        ask_upgrade(headers, HeaderValue::from_static(WEBSOCKET));
        if let Some(key) = self.key {
            headers.insert(SEC_WEBSOCKET_KEY, key);
        }
    }

    /// Makes of `200` the answer to the upgrade. Anything else is an answer as it is.
    pub fn answer<B>(self, response: &mut Response<B>) {
        if response.status() != StatusCode::OK {
            return;
        }
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        ask_upgrade(headers, HeaderValue::from_static(WEBSOCKET));
        if let Some(accept) = self.key.as_ref().and_then(accept_of) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
    }
}

/// What shows that the key was read (RFC 6455 section 4.2.2).
fn accept_of(key: &HeaderValue) -> Option<HeaderValue> {
    let read = [key.as_bytes(), KEY_SUFFIX].concat();
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &read);
    STANDARD.encode(hash).parse().ok()
}

/// Whether a request asks for a protocol that the agent does not carry.
pub fn is_unknown<B>(request: &Request<B>) -> bool {
    request.extensions().get::<Protocol>().is_some()
}

const WEBSOCKET: &str = "websocket";
const KEY_SUFFIX: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn an_upgrade_is_an_extended_connect_and_back() {
        let upgrade = || {
            Request::get("/chat")
                .header("host", "a.test")
                .header("connection", "upgrade")
                .header("upgrade", "WebSocket")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("sec-websocket-version", "13")
                .body(())
                .unwrap()
        };
        let mut request = upgrade();
        assert!(Extended::may_be(&request));
        let extended = Extended::of(&mut request);
        assert_eq!(request.method(), Method::CONNECT);
        let fields: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        assert_eq!(fields, ["host", "sec-websocket-version"]);
        extended.clone().take_back(&mut request);
        assert!(Extended::may_be(&request) && !is_unknown(&request));
        let key = &request.headers()[SEC_WEBSOCKET_KEY];
        assert_eq!(key, "dGhlIHNhbXBsZSBub25jZQ==");
        let mut response = Response::new(());
        extended.clone().answer(&mut response);
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        // The example of RFC 6455 section 1.3.
        let accept = &response.headers()[SEC_WEBSOCKET_ACCEPT];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        *response.status_mut() = StatusCode::NOT_FOUND;
        extended.answer(&mut response);
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        for (name, value) in [("upgrade", "websocket, x"), ("upgrade", "x")] {
            let mut other = upgrade();
            other
                .headers_mut()
                .insert(name, HeaderValue::from_static(value));
            assert!(!Extended::may_be(&other));
        }
    }
}
