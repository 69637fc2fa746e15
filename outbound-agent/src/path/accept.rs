//! Stage 1, `accept`: connections as they come.
//!
//! Listens on loopback alone, takes a connection only while there is room for it, and gives
//! [`Accepted`]. What is over the limit is reset, never queued without bound.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::model::addr::Downstream;

/// A connection that the kernel brought to the agent.
#[derive(Debug)]
pub struct Accepted {
    /// The workload's connection.
    pub stream: TcpStream,
    /// Its far end.
    pub downstream: Downstream,
    /// Its place among the connections that may be open at once; freed on drop.
    pub place: Option<OwnedSemaphorePermit>,
}

/// The agent's sockets in one network namespace.
#[derive(Debug)]
pub struct Listener {
    v4: TcpListener,
    v6: Option<TcpListener>,
    port: u16,
    room: Arc<Semaphore>,
}

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken or not allowed.
    #[error("cannot listen on {address}; choose another `port` in [agent], or end what holds it")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

impl Listener {
    /// Listens on `port` of every `127.0.0.0/8` address and of `::1`, in the namespace of the
    /// calling thread; 0 takes any free port. A connection is served while there is `room`, which
    /// listeners share.
    pub fn bind(port: u16, room: Arc<Semaphore>) -> Result<Self, Error> {
        let any = |port| SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let v4 = bind(any(port)).map_err(|source| Error::Bind {
            address: any(port),
            source,
        })?;
        let port = v4
            .local_addr()
            .map_err(|source| Error::Bind {
                address: any(port),
                source,
            })?
            .port();
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let v6 = match bind(address) {
            Ok(listener) => Some(listener),
            // IPv6 is not built in, or `::1` is not there because it is disabled.
            Err(error)
                if matches!(
                    error.raw_os_error(),
                    Some(libc_errno::EAFNOSUPPORT | libc_errno::EADDRNOTAVAIL)
                ) =>
            {
                None
            }
            Err(source) => return Err(Error::Bind { address, source }),
        };
        Ok(Self { v4, v6, port, room })
    }

    /// The port of both sockets.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether the namespace has IPv6.
    pub const fn has_ipv6(&self) -> bool {
        self.v6.is_some()
    }

    /// The next connection; `place` is `None` where the limit is reached. Safe to cancel.
    pub async fn accept(&self) -> Accepted {
        loop {
            let accepted = match &self.v6 {
                Some(v6) => tokio::select! {
                    accepted = self.v4.accept() => accepted,
                    accepted = v6.accept() => accepted,
                },
                None => self.v4.accept().await,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let place = Arc::clone(&self.room).try_acquire_owned().ok();
                    return Accepted {
                        stream,
                        downstream: Downstream(peer),
                        place,
                    };
                }
                // The peer is gone already: the next one, please.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    // Out of descriptors or memory: the backlog waits, spinning would not help.
                    tracing::error!(%error, "cannot accept connections");
                    tokio::time::sleep(OUT_OF_RESOURCES).await;
                }
            }
        }
    }
}

impl Accepted {
    /// Ends the connection with a reset, so that the workload does not take it for an answer.
    pub fn reset(self) {
        reset(&self.stream);
    }
}

/// One end of a connection that is carried, the workload's as a rule.
pub trait Downlink: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// Makes closing it look like no answer, whoever closes it: the kernel too, for an agent that
    /// is killed.
    fn abort(&self);
    /// Makes closing it a proper end again.
    fn settle(&self);
}

impl Downlink for TcpStream {
    fn abort(&self) {
        reset(self);
    }

    fn settle(&self) {
        if let Err(error) = SockRef::from(self).set_linger(None) {
            tracing::debug!(%error, "cannot take back a zero linger");
        }
    }
}

/// Makes closing `stream` send a reset.
pub fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "cannot set a zero linger");
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    // A restarted agent takes its port back from connections in TIME_WAIT.
    socket.set_reuse_address(true)?;
    // What was accepted inherits it: a body that follows its head waits for no acknowledgement.
    socket.set_tcp_nodelay(true)?;
    if address.is_ipv6() {
        // Nothing that came by another interface is for `::1`. A socket of one interface would not
        // answer a workload that connects from the address of another.
        socket.set_only_v6(true)?;
    } else {
        // Every 127.x.y.z is the agent's, no address of any other interface is.
        socket.bind_device(Some(b"lo"))?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

const BACKLOG: i32 = 4096;
const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

/// The two errors that mean "no IPv6 here" (asm-generic/errno.h).
mod libc_errno {
    pub(super) const EAFNOSUPPORT: i32 = nix::errno::Errno::EAFNOSUPPORT as i32;
    pub(super) const EADDRNOTAVAIL: i32 = nix::errno::Errno::EADDRNOTAVAIL as i32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_accepted_is_sent_without_delay() {
        let listener = Listener::bind(0, Arc::new(Semaphore::new(1))).unwrap();
        let address = (Ipv4Addr::LOCALHOST, listener.port());
        let (accepted, connected) = tokio::join!(listener.accept(), TcpStream::connect(address));
        assert!(accepted.stream.nodelay().unwrap());
        drop(connected);
    }
}
