//! What a worker's request asks for, and what it may not say.

use http::Uri;
use http::header::HeaderName;
use http::uri::Scheme as UriScheme;

use crate::model::reason::Reason;
use crate::model::target::Scheme;
use crate::path::http::normalize::Asked;
use crate::path::worker::NotFetched;

/// Fields of a connection, and the one that says how a body ends.
pub(super) const NEVER: [HeaderName; 5] = [
    http::header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    http::header::TRAILER,
    http::header::TRANSFER_ENCODING,
];

pub(super) fn refused_field(name: &HeaderName) -> NotFetched {
    NotFetched {
        reason: None,
        message: format!("the header `{name}` is the agent's to set"),
    }
}

pub(super) fn not_fetched(reason: Reason, asked: &Asked) -> NotFetched {
    NotFetched {
        reason: Some(reason),
        message: format!(
            "{}://{}:{}: {}",
            asked.scheme.label(),
            asked.host,
            asked.port,
            reason.label()
        ),
    }
}

/// What an absolute URL asks for, in canonical form.
pub(super) fn target(url: &Uri) -> Result<Asked, NotFetched> {
    let wrong = |what: &str| NotFetched {
        reason: None,
        message: format!("{url}: {what}"),
    };
    let scheme = match url.scheme() {
        Some(scheme) if *scheme == UriScheme::HTTP => Scheme::Http,
        Some(scheme) if *scheme == UriScheme::HTTPS => Scheme::Https,
        Some(_) | None => return Err(wrong("only http and https can be fetched")),
    };
    let authority = url
        .authority()
        .ok_or_else(|| wrong("a URL to fetch has a host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("a URL to fetch carries no credentials"));
    }
    let host = authority.host().parse();
    let implied = match scheme {
        Scheme::Https => 443,
        Scheme::Http | Scheme::Tcp => 80,
    };
    Ok(Asked {
        scheme,
        host: host.map_err(|_invalid| wrong("its host is none"))?,
        port: authority.port_u16().unwrap_or(implied),
        path: url.path().into(),
        is_proxied: false,
    })
}
