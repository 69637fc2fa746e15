//! The sockets on which datagrams come, and from which each answer leaves by the address that
//! was asked: every tenant has a loopback network of its own.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt,
    sockopt,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::message::MAX_QUERY_BYTES;
use crate::model::addr::Downstream;

/// The agent's sockets for DNS in one network namespace.
#[derive(Debug)]
pub struct Sockets {
    v4: Arc<DatagramSocket>,
    v6: Option<Arc<DatagramSocket>>,
    port: u16,
}

/// One of them.
#[derive(Debug)]
pub struct DatagramSocket {
    socket: UdpSocket,
    local: SocketAddr,
}

/// A datagram of the workload, and the address of the agent that it came to.
#[derive(Debug)]
pub struct Datagram {
    /// What it says.
    pub message: Vec<u8>,
    /// The workload's end.
    pub source: Downstream,
    /// The agent's.
    pub local: SocketAddr,
}

/// Why the agent cannot answer DNS.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The port is taken or not allowed.
    #[error(
        "cannot answer DNS on {address}; choose another `dns_port` in [agent], or end what holds it"
    )]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        source: io::Error,
    },
}

impl Sockets {
    /// Takes datagrams on `port` of every `127.0.0.0/8` address and of `::1`, in the namespace
    /// of the calling thread; 0 takes any free port.
    pub fn bind(port: u16) -> Result<Self, Error> {
        let failed = |address| move |source| Error::Bind { address, source };
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let v4 = DatagramSocket::bind(any).map_err(failed(any))?;
        let port = v4.local.port();
        let address = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
        let v6 = match DatagramSocket::bind(address) {
            Ok(socket) => Some(Arc::new(socket)),
            // IPv6 is not built in, or `::1` is not there because it is disabled.
            Err(error) if is_without_ipv6(&error) => None,
            Err(source) => return Err(Error::Bind { address, source }),
        };
        Ok(Self {
            v4: Arc::new(v4),
            v6,
            port,
        })
    }

    /// The port of both.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Each of them.
    pub fn each(self) -> impl Iterator<Item = Arc<DatagramSocket>> {
        [Some(self.v4), self.v6].into_iter().flatten()
    }
}

impl DatagramSocket {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        // Every 127.x.y.z is the agent's, no address of any other interface is.
        socket.bind_device(Some(b"lo"))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        }
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        let socket = UdpSocket::from_std(socket.into())?;
        let local = socket.local_addr()?;
        Ok(Self { socket, local })
    }

    /// The next datagram, of which more than any query needs is cut off. Safe to cancel.
    pub async fn receive(&self) -> Datagram {
        loop {
            let received = self
                .socket
                .async_io(Interest::READABLE, || match self.local {
                    SocketAddr::V4(local) => self.receive_v4(local.port()),
                    SocketAddr::V6(_) => self.receive_v6(),
                })
                .await;
            match received {
                Ok(datagram) => return datagram,
                Err(error) => {
                    // Out of memory: what waits is kept or dropped, spinning would not help.
                    tracing::error!(%error, "cannot receive datagrams");
                    tokio::time::sleep(OUT_OF_RESOURCES).await;
                }
            }
        }
    }

    fn receive_v4(&self, port: u16) -> io::Result<Datagram> {
        let mut bytes = [0; MAX_QUERY_BYTES];
        let mut space = nix::cmsg_space!(libc::in_pktinfo);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg::<SockaddrIn>(
            self.socket.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            MsgFlags::empty(),
        )?;
        let asked = received.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => Some(info.ipi_addr),
            _ => None,
        });
        let (Some(source), Some(asked)) = (received.address, asked) else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        let asked = Ipv4Addr::from(asked.s_addr.to_ne_bytes());
        let length = received.bytes;
        Ok(Datagram {
            source: Downstream(SocketAddrV4::from(source).into()),
            local: SocketAddr::from((asked, port)),
            message: bytes[..length].to_vec(),
        })
    }

    fn receive_v6(&self) -> io::Result<Datagram> {
        let mut bytes = [0; MAX_QUERY_BYTES];
        let (length, source) = self.socket.try_recv_from(&mut bytes)?;
        Ok(Datagram {
            message: bytes[..length].to_vec(),
            source: Downstream(source),
            // Bound to it.
            local: self.local,
        })
    }

    /// Answers a datagram from the address that it came to.
    pub async fn send(
        &self,
        message: &[u8],
        local: SocketAddr,
        source: Downstream,
    ) -> io::Result<()> {
        let (IpAddr::V4(local), SocketAddr::V4(source)) = (local.ip(), source.0) else {
            return self.socket.send_to(message, source.0).await.map(|_sent| ());
        };
        let info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: libc::in_addr {
                s_addr: u32::from_ne_bytes(local.octets()),
            },
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        self.socket
            .async_io(Interest::WRITABLE, || {
                sendmsg(
                    self.socket.as_raw_fd(),
                    &[IoSlice::new(message)],
                    &[ControlMessage::Ipv4PacketInfo(&info)],
                    MsgFlags::empty(),
                    Some(&SockaddrIn::from(source)),
                )?;
                Ok(())
            })
            .await
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn is_without_ipv6(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL))
}

const OUT_OF_RESOURCES: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_leaves_from_the_address_that_was_asked() {
        let sockets = Sockets::bind(0).unwrap();
        let port = sockets.port();
        let asked: Vec<SocketAddr> = ["127.3.7.9", "127.0.0.1", "::1"]
            .map(|ip| SocketAddr::new(ip.parse().unwrap(), port))
            .into();
        for socket in sockets.each() {
            for &asked in asked
                .iter()
                .filter(|asked| asked.is_ipv4() == socket.local.is_ipv4())
            {
                let here = if asked.is_ipv4() {
                    "127.0.0.1:0"
                } else {
                    "[::1]:0"
                };
                let workload = UdpSocket::bind(here).await.unwrap();
                workload.send_to(b"query", asked).await.unwrap();
                let datagram = socket.receive().await;
                assert_eq!((&*datagram.message, datagram.local), (&b"query"[..], asked));
                let source = datagram.source;
                assert_eq!(source.0, workload.local_addr().unwrap());
                socket
                    .send(b"answer", datagram.local, source)
                    .await
                    .unwrap();
                let mut answer = [0; 16];
                let (length, from) = workload.recv_from(&mut answer).await.unwrap();
                assert_eq!((&answer[..length], from), (&b"answer"[..], asked));
            }
        }
    }
}
