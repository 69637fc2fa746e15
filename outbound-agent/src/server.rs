//! Takes connections, in every network namespace that the agent listens in.

use std::sync::Arc;

use outbound_common::ListenerEntry;
use outbound_common::tenant::{LISTENER_NO_IPV6, LISTENER_PREFER_IPV4};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::connection::{self, Agent};
use crate::path::accept::{Error, Listener};

/// What takes connections. A clone takes them for the same agent.
#[derive(Clone)]
pub struct Server {
    agent: Arc<Agent>,
    room: Arc<Semaphore>,
    port: u16,
    runtime: Handle,
}

/// The agent's listeners in one network namespace. Dropped, they close; what they took goes on.
#[derive(Debug)]
pub struct Listening {
    port: u16,
    has_ipv6: bool,
    _stop: DropGuard,
}

impl Server {
    /// For connections of which `room` has a place, on `port` of every namespace. Must be called
    /// within a runtime, which serves them.
    pub fn new(agent: Arc<Agent>, room: Arc<Semaphore>, port: u16) -> Self {
        Self {
            agent,
            room,
            port,
            runtime: Handle::current(),
        }
    }

    /// The port, the same in every namespace.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Listens in the network namespace of the calling thread, which need not be one of the
    /// runtime's, and serves what comes.
    pub fn listen(&self) -> Result<Listening, Error> {
        let _context = self.runtime.enter();
        let listener = Listener::bind(self.port, Arc::clone(&self.room))?;
        Ok(self.serve(listener))
    }

    /// Serves what comes to a listener, until the result is dropped or the agent ends.
    pub fn serve(&self, listener: Listener) -> Listening {
        let _context = self.runtime.enter();
        let stop = CancellationToken::new();
        let listening = Listening {
            port: listener.port(),
            has_ipv6: listener.has_ipv6(),
            _stop: stop.clone().drop_guard(),
        };
        let agent = Arc::clone(&self.agent);
        let tasks = &self.agent.tasks;
        tasks.spawn("accept", accept_all(listener, agent, stop));
        listening
    }
}

impl Listening {
    /// What the kernel has to know. Tenants that share a namespace are kept apart by their
    /// IPv4 loopback networks.
    pub const fn entry(&self, is_shared: bool) -> ListenerEntry {
        let flags = match (self.has_ipv6, is_shared) {
            (false, _) => LISTENER_NO_IPV6,
            (true, true) => LISTENER_PREFER_IPV4,
            (true, false) => 0,
        };
        ListenerEntry {
            tcp_port: self.port,
            dns_port: 0,
            flags,
        }
    }
}

async fn accept_all(listener: Listener, agent: Arc<Agent>, stop: CancellationToken) {
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
