//! Builds each part of the agent once, in order, and ends them in reverse.
//!
//! What listens is bound before anything is attached; what is attached stays when the agent
//! ends, so that its tenants have no egress rather than an open one.

pub mod daemon;
pub(crate) mod explain;
pub mod renew;
pub(crate) mod subject;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;

use crate::config::{self, Config};
use crate::connection::standing::Standings;
use crate::connection::{Agent, Limits};
use crate::drain::{Drained, Tasks};
use crate::model::flow::Flows;
use crate::model::tenant::Tenants;
use crate::observe::metrics::WorkerState;
use crate::observe::record::Records;
use crate::path;
use crate::path::credentials::Credentials;
use crate::path::limits::Accounts;
use crate::path::policy::rate::Rates;
use crate::path::tls::Terminator;
use crate::path::tls::authority::{self, Authority};
use crate::path::tls::issuers::Issuers;
use crate::path::upstream::resolve::{self, Resolver};
use crate::path::upstream::tls::{self, Verifier};
use crate::path::upstream::{self, Upstream};
use crate::path::worker::{self, Workers};
use crate::path::{credentials, detect, dns, http};
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
    /// Its certificate authority.
    #[error(transparent)]
    Authority(#[from] authority::Error),
    /// Whom it trusts.
    #[error(transparent)]
    Verifier(#[from] tls::Error),
    /// The outbound workers.
    #[error(transparent)]
    Worker(#[from] worker::Error),
    /// What tenants have taken.
    #[error(transparent)]
    Limits(#[from] path::limits::Error),
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
        let workers = Workers::start(&config.services, config.limits.body_idle, &tasks)?;
        let mut agent_ports = vec![
            sockets.port(),
            sockets.dns_port(),
            config.agent.metrics.port(),
        ];
        agent_ports.extend(workers.address().map(|address| address.port()));
        let agent_ports = Arc::new(ArcSwap::from_pointee(agent_ports));
        let upstream = upstream(config, Arc::clone(&agent_ports), tasks.clone())?;
        let agent = Arc::new(Agent {
            flows,
            tenants,
            records,
            terminator: Terminator::new(issuers(config)?, config.limits.tls_handshake),
            accounts: Accounts::open(&config.agent.state_dir)?,
            credentials: Credentials::new(credential_limits(&config.limits)),
            upstream,
            workers,
            rates: Rates::default(),
            names: dns::Accounts::new(dns_limits(&config.limits)),
            standings: Standings::default(),
            tasks: tasks.clone(),
            agent_ports,
            limits: limits(&config.limits),
        });
        let read = Arc::clone(&agent);
        agent.records.read_workers(Box::new(move || {
            let states = read.workers.states().into_iter();
            let state = states.map(|(service, state)| WorkerState {
                service,
                isolates: state.isolates,
                outstanding: state.outstanding,
                restarts: state.restarts,
            });
            state.collect()
        }));
        let server = Server::new(Arc::clone(&agent), room, &sockets);
        let listening = server.serve(sockets);
        tasks.spawn("usage", keep_usage(Arc::clone(&agent)));
        tasks.spawn(
            "forget idle upstreams",
            forget_idle(Arc::clone(&agent), config.limits.pool_idle),
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
        let drained = self.tasks.drain(deadline).await;
        save_usage(&self.agent).await;
        drained
    }
}

fn resolver(config: &Config) -> Result<Resolver, resolve::Error> {
    Resolver::new(config.resolver.hosts.clone(), &config.resolver.servers)
}

fn verifier(config: &Config) -> Result<Verifier, tls::Error> {
    Verifier::new(&config.tls.roots, config.limits.tls_handshake)
}

fn upstream(
    config: &Config,
    agent_ports: Arc<ArcSwap<Vec<u16>>>,
    tasks: Tasks,
) -> Result<Upstream, Error> {
    let limits = &config.limits;
    let limits = upstream::Limits {
        resolve: limits.resolve,
        connect: limits.connect,
        dead_peer: limits.dead_peer,
        header_bytes: limits.header_bytes,
        headers: limits.headers,
        response_header: limits.response_header,
        errand: limits.token,
        pool_idle: limits.pool_idle,
        pool_connections: limits.pool_connections,
    };
    Ok(Upstream::new(
        Box::new(resolver(config)?),
        verifier(config)?,
        limits,
        agent_ports,
        tasks,
    ))
}

const fn limits(limits: &config::Limits) -> Limits {
    Limits {
        detect: detect::Limits {
            first_byte: limits.detect,
            rest: limits.client_hello,
        },
        http: http::Limits {
            request_header: limits.request_header,
            body_idle: limits.body_idle,
            expect_continue: limits.expect_continue,
            header_bytes: limits.header_bytes,
            headers: limits.headers,
            http2_streams: limits.http2_streams,
            dead_peer: limits.dead_peer,
        },
        tunnel_idle: limits.tunnel_idle,
    }
}

const fn credential_limits(limits: &config::Limits) -> credentials::Limits {
    credentials::Limits {
        command: limits.secret_command,
        command_ttl: limits.secret_command_ttl,
        body: limits.body_idle,
    }
}

const fn dns_limits(limits: &config::Limits) -> dns::Limits {
    dns::Limits {
        per_second: limits.dns_per_tenant_per_second,
        at_once: limits.dns_per_tenant,
        name_bytes: limits.dns_name_bytes,
        idle: limits.dns_idle,
    }
}

/// The operator's own authority, the agent's, or one for each tenant. What workloads have to
/// trust is written down before anything is attached.
fn issuers(config: &Config) -> Result<Issuers, authority::Error> {
    let host_roots = tls::system_bundle()
        .map(fs::read)
        .transpose()
        .unwrap_or_default()
        .unwrap_or_default();
    let (tls, directory) = (&config.tls, &config.agent.state_dir);
    if tls.authority_per_tenant {
        let issuers = Issuers::per_tenant(directory, host_roots);
        for spec in &config.tenants {
            issuers.store(Some(&spec.tenant.id))?;
        }
        return Ok(issuers);
    }
    let authority = match (&tls.authority, &tls.authority_key) {
        (Some(certificate), key) => {
            Authority::load(certificate, key.as_ref().unwrap_or(certificate))
        }
        (None, _) => Authority::load_or_make(directory, None),
    }?;
    Issuers::shared(authority, directory, host_roots)
}

/// Keeps what tenants have taken of their quotas, whatever becomes of the agent.
async fn keep_usage(agent: Arc<Agent>) {
    loop {
        tokio::select! {
            biased; // Ends first: the last time is `stop`'s.
            () = agent.tasks.draining() => return,
            () = tokio::time::sleep(SAVE_USAGE) => save_usage(&agent).await,
        }
    }
}

async fn save_usage(agent: &Arc<Agent>) {
    let agent = Arc::clone(agent);
    let saved = tokio::task::spawn_blocking(move || agent.accounts.save()).await;
    if let Ok(Err(error)) = saved {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "what tenants took of their quotas is not kept");
    }
}

const SAVE_USAGE: Duration = Duration::from_secs(5);

async fn forget_idle(agent: Arc<Agent>, every: Duration) {
    loop {
        tokio::select! {
            biased; // Ends first.
            () = agent.tasks.draining() => {
                agent.workers.close_idle();
                return agent.upstream.close_idle();
            }
            () = tokio::time::sleep(every) => {
                agent.upstream.forget_idle();
                agent.rates.forget();
                agent.credentials.forget_expired();
            }
        }
    }
}
