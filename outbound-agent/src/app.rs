//! Builds each part of the agent once, in order, and ends them in reverse.
//!
//! What listens is bound before anything is attached; what is attached stays when the agent
//! ends, so that its tenants have no egress rather than an open one.

pub mod daemon;
pub(crate) mod subject;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::config::{self, Config};
use crate::connection::{Agent, Limits};
use crate::drain::{Drained, Tasks};
use crate::model::flow::Flows;
use crate::model::tenant::Tenants;
use crate::observe::record::Records;
use crate::path::upstream::resolve::{self, Resolver};
use crate::path::upstream::{self, Upstream};
use crate::path::{detect, dns, http};
use crate::server::{self, Listening, Server, Sockets};

/// An agent that serves connections; the kernel that brings them is somebody else's.
pub struct App {
    agent: Arc<Agent>,
    tasks: Tasks,
    server: Server,
    listening: Listening,
}

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its own listeners.
    #[error(transparent)]
    Server(#[from] server::Error),
    /// Its resolver.
    #[error(transparent)]
    Resolve(#[from] resolve::Error),
}

impl App {
    /// Binds the listeners, in the network namespace of the calling thread, and serves what
    /// comes. Must be called within a runtime.
    pub fn start(
        config: &Config,
        flows: Arc<dyn Flows>,
        tenants: Arc<ArcSwap<Tenants>>,
        records: Records,
    ) -> Result<Self, Error> {
        let room = Arc::new(Semaphore::new(config.limits.connections));
        let sockets = Sockets::bind(config.agent.port, config.agent.dns_port, &room)?;
        let tasks = Tasks::new();
        let agent_ports = vec![
            sockets.port(),
            sockets.dns_port(),
            config.agent.metrics.port(),
        ];
        let resolver = Resolver::new(config.resolver.hosts.clone(), &config.resolver.servers)?;
        let limits = &config.limits;
        let upstream_limits = upstream::Limits {
            resolve: limits.resolve,
            connect: limits.connect,
            response_header: limits.response_header,
            pool_idle: limits.pool_idle,
            pool_connections: limits.pool_connections,
        };
        let agent = Arc::new(Agent {
            flows,
            tenants,
            records,
            upstream: Upstream::new(
                Box::new(resolver),
                upstream_limits,
                agent_ports.clone(),
                tasks.clone(),
            ),
            names: dns::Accounts::new(queries(limits)),
            tasks: tasks.clone(),
            agent_ports,
            limits: stages(limits),
        });
        let server = Server::new(Arc::clone(&agent), room, &sockets);
        let listening = server.serve(sockets);
        tasks.spawn(
            "forget idle upstreams",
            forget_idle(Arc::clone(&agent), limits.pool_idle),
        );
        Ok(Self {
            agent,
            tasks,
            server,
            listening,
        })
    }

    /// The port on which connections are taken.
    pub const fn port(&self) -> u16 {
        self.listening.entry().tcp_port
    }

    /// The port on which DNS is answered.
    pub const fn dns_port(&self) -> u16 {
        self.listening.entry().dns_port
    }

    /// The listeners in the namespace that the agent started in, which tenants share.
    pub const fn listening(&self) -> &Listening {
        &self.listening
    }

    /// What takes connections in other namespaces as well.
    pub const fn server(&self) -> &Server {
        &self.server
    }

    /// Tasks that end with the agent.
    pub const fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// What every connection shares.
    pub const fn agent(&self) -> &Arc<Agent> {
        &self.agent
    }

    /// Takes no more connections, lets those that are open finish until `deadline`, then ends
    /// them.
    pub async fn stop(self, deadline: Duration) -> Drained {
        self.tasks.drain(deadline).await
    }
}

/// The limits of a connection's stages.
const fn stages(limits: &config::Limits) -> Limits {
    Limits {
        detect: detect::Limits {
            first_byte: limits.detect,
            rest: limits.client_hello,
        },
        http: http::Limits {
            request_header: limits.request_header,
            body_idle: limits.body_idle,
            header_bytes: limits.header_bytes,
            headers: limits.headers,
        },
        tunnel_idle: limits.tunnel_idle,
    }
}

/// The limits of a tenant's queries.
const fn queries(limits: &config::Limits) -> dns::Limits {
    dns::Limits {
        per_second: limits.dns_per_tenant_per_second,
        at_once: limits.dns_per_tenant,
        name_bytes: limits.dns_name_bytes,
        idle: limits.dns_idle,
    }
}

async fn forget_idle(agent: Arc<Agent>, every: Duration) {
    loop {
        tokio::select! {
            biased; // Ends first.
            () = agent.tasks.draining() => return agent.upstream.close_idle(),
            () = tokio::time::sleep(every) => agent.upstream.forget_idle(),
        }
    }
}
