//! Hop-by-hop fields (RFC 9110 section 7.6.1): taken out on each side, put back where the
//! agent itself speaks them. Everything else passes as it is.

use http::Response;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::ext::ReasonPhrase;

/// Takes out every field that is for this connection alone, and gives back the protocol that
/// an `Upgrade` asks for. `transfer-encoding` goes too: framing follows from the body. What
/// stays keeps its order.
pub fn strip_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if !HOP_BY_HOP.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let named: Vec<HeaderName> = tokens(headers, &CONNECTION)
        .filter_map(|token| token.parse().ok())
        .filter(may_be_listed)
        .collect();
    let trailers = tokens(headers, &TE).any(|token| token.eq_ignore_ascii_case("trailers"));
    let upgrade = named
        .contains(&UPGRADE)
        .then(|| headers.get(UPGRADE).cloned())
        .flatten();
    // `HeaderMap::remove` moves the last field into the gap.
    let mut kept = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter() {
        if !HOP_BY_HOP.contains(name) && !named.contains(name) {
            kept.append(name.clone(), value.clone());
        }
    }
    if trailers {
        kept.insert(TE, HeaderValue::from_static("trailers"));
    }
    *headers = kept;
    upgrade
}

/// Takes out one field; what stays keeps its order.
pub fn take_out(headers: &mut HeaderMap, name: &HeaderName) {
    if headers.contains_key(name) {
        let others = headers.iter().filter(|(other, _value)| *other != name);
        *headers = others
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
    }
}

/// Forgets the words behind a status (RFC 9112 section 4), which an origin may choose.
pub fn forget_phrase<B>(response: &mut Response<B>) {
    response.extensions_mut().remove::<ReasonPhrase>();
}

/// Asks the next hop for the protocol that was asked of this one.
pub fn ask_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// `Connection: authorization` would strip what others rely on; such fields are never listed.
fn may_be_listed(name: &HeaderName) -> bool {
    use http::header;
    ![
        header::HOST,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::AUTHORIZATION,
        header::COOKIE,
        header::SET_COOKIE,
        TRAILER,
    ]
    .contains(name)
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

const HOP_BY_HOP: [HeaderName; 6] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(fields: &[(&'static str, &'static str)]) -> (Vec<String>, Option<HeaderValue>) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let upgrade = strip_hop_by_hop(&mut headers);
        (headers.keys().map(ToString::to_string).collect(), upgrade)
    }

    #[test]
    fn fields_of_this_hop_stay_here() {
        let (left, upgrade) = stripped(&[
            ("connection", "close, X-Mine"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("x-other", "2"),
        ]);
        assert_eq!(left, ["x-other"]);
        assert_eq!(upgrade, None);
    }

    #[test]
    fn an_upgrade_counts_only_when_connection_lists_it() {
        assert_eq!(stripped(&[("upgrade", "websocket")]).1, None);
        let (left, upgrade) = stripped(&[("connection", "Upgrade"), ("upgrade", "websocket")]);
        assert!(left.is_empty());
        assert_eq!(upgrade, Some(HeaderValue::from_static("websocket")));
    }

    #[test]
    fn connection_cannot_strip_what_is_not_its_own() {
        let (left, _) = stripped(&[
            ("connection", "host, authorization"),
            ("host", "a"),
            ("authorization", "b"),
        ]);
        assert_eq!(left, ["host", "authorization"]);
    }

    #[test]
    fn te_keeps_trailers_and_nothing_else() {
        let (left, _) = stripped(&[("te", "gzip, trailers")]);
        assert_eq!(left, ["te"]);
    }
}
