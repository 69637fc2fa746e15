//! Takes connections and queries, in every network namespace that the agent listens in.

use std::sync::Arc;

use outbound_common::ListenerEntry;
use outbound_common::tenant::{LISTENER_NO_IPV6, LISTENER_PREFER_IPV4};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{self, Agent};
use crate::hold::{self, Holding, Holds};
use crate::path::accept::{self, Listener};
use crate::path::dns::socket::{self as dns, DatagramSocket};
use crate::query;

/// What takes connections and queries. A clone takes them for the same agent.
#[derive(Clone)]
pub struct Server {
    agent: Arc<Agent>,
    room: Arc<Semaphore>,
    port: u16,
    dns_port: u16,
    holds: Option<Arc<Holds>>,
    runtime: Handle,
}

/// The agent's sockets in one network namespace, not served yet.
#[derive(Debug)]
pub struct Sockets {
    listener: Listener,
    datagrams: dns::Sockets,
}

/// The agent's sockets in one network namespace, served. Dropped, they close; what they took
/// goes on.
#[derive(Debug)]
pub struct Listening {
    entry: ListenerEntry,
    _holding: Option<Holding>,
    _stop: DropGuard,
}

/// Why the agent cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// For connections.
    #[error(transparent)]
    Accept(#[from] accept::Error),
    /// For queries.
    #[error(transparent)]
    Dns(#[from] dns::Error),
    /// For connects that wait for their upstreams.
    #[error(transparent)]
    Hold(#[from] hold::Error),
}

impl Sockets {
    /// Binds in the network namespace of the calling thread; port 0 takes any free one.
    /// Connections are served while there is `room`. Must be called within a runtime.
    pub fn bind(port: u16, dns_port: u16, room: &Arc<Semaphore>) -> Result<Self, Error> {
        Ok(Self {
            listener: Listener::bind(port, Arc::clone(room))?,
            datagrams: dns::Sockets::bind(dns_port)?,
        })
    }

    /// The port for connections.
    pub const fn port(&self) -> u16 {
        self.listener.port()
    }

    /// The port for queries.
    pub const fn dns_port(&self) -> u16 {
        self.datagrams.port()
    }
}

impl Server {
    /// For connections of which `room` has a place, on the ports of these sockets in every
    /// namespace. Must be called within a runtime, which serves them.
    pub fn new(agent: Arc<Agent>, room: Arc<Semaphore>, first: &Sockets) -> Self {
        Self {
            agent,
            room,
            port: first.port(),
            dns_port: first.dns_port(),
            holds: None,
            runtime: Handle::current(),
        }
    }

    /// Its ports, the same in every namespace.
    pub const fn ports(&self) -> [u16; 2] {
        [self.port, self.dns_port]
    }

    /// The same, that holds connects in every namespace that it listens in from now on.
    #[must_use]
    pub fn holding(self, holds: Arc<Holds>) -> Self {
        let holds = Some(holds);
        Self { holds, ..self }
    }

    /// Listens in the network namespace of the calling thread, which need not be one of the
    /// runtime's, and serves what comes.
    pub fn listen(&self) -> Result<Listening, Error> {
        let _context = self.runtime.enter();
        let sockets = Sockets::bind(self.port, self.dns_port, &self.room)?;
        let holding = self.holds.as_ref().map(|holds| holds.hold_here());
        let holding = holding.transpose()?;
        let mut listening = self.serve(sockets);
        listening._holding = holding;
        Ok(listening)
    }

    /// Serves what comes, until the result is dropped or the agent ends.
    pub fn serve(&self, sockets: Sockets) -> Listening {
        let _context = self.runtime.enter();
        let stop = CancellationToken::new();
        // Where tenants share a namespace their IPv4 loopback networks keep them apart, and a
        // namespace may lose its IPv6 at any time.
        let flags = if sockets.listener.has_ipv6() {
            LISTENER_PREFER_IPV4
        } else {
            LISTENER_NO_IPV6
        };
        let entry = ListenerEntry {
            tcp_port: sockets.port(),
            dns_port: sockets.dns_port(),
            flags,
        };
        let tasks = &self.agent.tasks;
        let agent = || Arc::clone(&self.agent);
        let taken = take_connections(sockets.listener, agent(), stop.clone());
        tasks.spawn("accept", taken);
        for socket in sockets.datagrams.each() {
            let taken = take_datagrams(socket, agent(), stop.clone());
            tasks.spawn("datagrams", taken);
        }
        Listening {
            entry,
            _holding: None,
            _stop: stop.drop_guard(),
        }
    }
}

impl Listening {
    /// What the kernel has to know.
    pub const fn entry(&self) -> ListenerEntry {
        self.entry
    }
}

async fn take_connections(listener: Listener, agent: Arc<Agent>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased; // What is to stop takes nothing more.
            () = agent.tasks.draining() => return,
            () = stop.cancelled() => return,
            accepted = listener.accept() => {
                agent.tasks.spawn("connection", connection::serve(accepted, Arc::clone(&agent)));
            }
        }
    }
}

async fn take_datagrams(socket: Arc<DatagramSocket>, agent: Arc<Agent>, stop: CancellationToken) {
    loop {
        tokio::select! {
            biased; // As above.
            () = agent.tasks.draining() => return,
            () = stop.cancelled() => return,
            datagram = socket.receive() => query::take(datagram, &socket, &agent),
        }
    }
}
