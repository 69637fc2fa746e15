//! One TCP connection to one address that a permit gave out.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::addr::UpstreamAddr;
use crate::model::reason::Reason;

/// Connects within `limit`. Fails with whatever an `Upstream*` reason says best.
pub(super) async fn dial(peer: UpstreamAddr, limit: Duration) -> Result<TcpStream, Reason> {
    match timeout(limit, TcpStream::connect(peer.0)).await {
        Err(_elapsed) => Err(Reason::UpstreamTimeout),
        Ok(Err(error)) => Err(reason(&error)),
        Ok(Ok(stream)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            Ok(stream)
        }
    }
}

fn reason(error: &io::Error) -> Reason {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Reason::UpstreamRefused,
        io::ErrorKind::TimedOut => Reason::UpstreamTimeout,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Reason::UpstreamReset,
        _ => Reason::UpstreamUnreachable,
    }
}
