//! One TCP connection to one address that a permit gave out.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::model::addr::UpstreamAddr;
use crate::model::reason::Reason;

/// How the network answered, where it did not connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nobody listens there.
    Refused,
    /// The way ends before the host, or a router forbids it.
    HostUnreachable,
    /// There is no way.
    NetUnreachable,
    /// Nobody has answered.
    TimedOut,
    /// The connection was reset while it was made.
    Reset,
    /// The agent's host could not ask: no port, no descriptor, no memory.
    NotAsked,
}

impl Failed {
    /// As logs and replies say it.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Refused => Reason::UpstreamRefused,
            Self::TimedOut => Reason::UpstreamTimeout,
            Self::Reset => Reason::UpstreamReset,
            Self::HostUnreachable | Self::NetUnreachable | Self::NotAsked => {
                Reason::UpstreamUnreachable
            }
        }
    }
}

/// Connects within `limit`.
pub(super) async fn dial(peer: UpstreamAddr, limit: Duration) -> Result<TcpStream, Failed> {
    match timeout(limit, TcpStream::connect(peer.0)).await {
        Err(_elapsed) => Err(Failed::TimedOut),
        Ok(Err(error)) => Err(failed(&error)),
        Ok(Ok(stream)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            Ok(stream)
        }
    }
}

fn failed(error: &io::Error) -> Failed {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ECONNREFUSED) => Failed::Refused,
        // A route that prohibits gives EACCES, a filter on this host EPERM.
        Some(Errno::EHOSTUNREACH | Errno::EHOSTDOWN | Errno::EACCES | Errno::EPERM) => {
            Failed::HostUnreachable
        }
        // A black hole among the routes gives EINVAL.
        Some(Errno::ENETUNREACH | Errno::ENETDOWN | Errno::EINVAL) => Failed::NetUnreachable,
        Some(Errno::ETIMEDOUT) => Failed::TimedOut,
        Some(Errno::ECONNRESET | Errno::ECONNABORTED) => Failed::Reset,
        _ => Failed::NotAsked,
    }
}
