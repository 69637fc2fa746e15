//! One TCP connection to one address that a permit gave out.

use std::io;
use std::time::Duration;

use nix::errno::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Limits;
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
            Self::TimedOut => Reason::ConnectTimeout,
            Self::Reset => Reason::UpstreamReset,
            Self::HostUnreachable | Self::NetUnreachable | Self::NotAsked => {
                Reason::UpstreamUnreachable
            }
        }
    }
}

/// Connects in time, and sees to it that a peer that is gone is found out.
pub(super) async fn dial(peer: UpstreamAddr, limits: &Limits) -> Result<TcpStream, Failed> {
    match timeout(limits.connect, TcpStream::connect(peer.0)).await {
        Err(_elapsed) => Err(Failed::TimedOut),
        Ok(Err(error)) => Err(failed(&error)),
        Ok(Ok(stream)) => {
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, "cannot set TCP_NODELAY");
            }
            if let Err(error) = watch(&stream, limits.dead_peer) {
                tracing::debug!(%error, "cannot set TCP_USER_TIMEOUT or SO_KEEPALIVE");
            }
            Ok(stream)
        }
    }
}

/// What is sent has to be acknowledged within `limit` (tcp(7), `TCP_USER_TIMEOUT`); where
/// nothing is sent, a probe has to be, of which the first goes out after half of it.
fn watch(stream: &TcpStream, limit: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(Some(limit))?;
    // The kernel counts in whole seconds.
    let probes = TcpKeepalive::new()
        .with_time((limit / 2).max(SECOND))
        .with_interval((limit / 2 / PROBES).max(SECOND))
        .with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)
}

const SECOND: Duration = Duration::from_secs(1);
const PROBES: u32 = 3;

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
