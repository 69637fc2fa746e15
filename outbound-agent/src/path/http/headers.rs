//! Hop-by-hop fields (RFC 9110 section 7.6.1): taken out on each side, put back where the
//! agent itself speaks them. Everything else passes as it is.

use http::Response;
use http::header::{
    CONNECTION, HeaderMap, HeaderName, HeaderValue, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};
use hyper::ext::ReasonPhrase;

/// Takes out every field that is for this connection alone, and gives back the protocols that
/// an `Upgrade` asks for, without those that are HTTP again (`hides_requests`). `transfer-encoding`
/// goes too: framing follows from the body. What stays keeps its order.
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
        .then(|| protocols(headers))
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

/// The protocols that the next hop may be asked for.
fn protocols(headers: &HeaderMap) -> Option<HeaderValue> {
    let may_be: Vec<&str> = tokens(headers, &UPGRADE)
        .filter(|protocol| !hides_requests(protocol))
        .collect();
    match may_be.is_empty() {
        true => None,
        false => HeaderValue::try_from(may_be.join(", ")).ok(),
    }
}

/// Whether requests would go on behind the upgrade, where nobody judges them: `h2c` (RFC 7540
/// section 3.2, which RFC 9113 took back), HTTP itself, and TLS (RFC 2817). A server may answer
/// as if it had not been asked.
fn hides_requests(protocol: &str) -> bool {
    let name = protocol.split('/').next().unwrap_or(protocol).trim();
    ["h2c", "h2", "h3", "http", "https", "tls", "ssl"]
        .iter()
        .any(|hidden| name.eq_ignore_ascii_case(hidden))
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
    fn no_upgrade_leads_to_requests_that_nobody_judges() {
        for (asked, left) in [
            ("h2c", None),
            ("H2C", None),
            ("HTTP/2.0", None),
            ("TLS/1.0, HTTP/1.1", None),
            ("h2c, websocket", Some("websocket")),
            ("websocket, foo/2", Some("websocket, foo/2")),
            ("", None),
        ] {
            let (_, upgrade) = stripped(&[("connection", "upgrade"), ("upgrade", asked)]);
            let upgrade = upgrade.as_ref().map(|value| value.to_str().unwrap());
            assert_eq!(upgrade, left, "{asked}");
        }
        let twice = [
            ("connection", "upgrade"),
            ("upgrade", "h2c"),
            ("upgrade", "x"),
        ];
        assert_eq!(stripped(&twice).1, Some(HeaderValue::from_static("x")));
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
