//! The agent's own HTTP: metrics for Prometheus, and the admin API on a Unix socket.
//!
//! The metrics address answers `/metrics`, `/healthz` and `/readyz` to whoever reaches it; what
//! names tenants or can change something is on the socket alone, whose file mode says who may
//! ask. Give it [`Tasks`] of its own and drain them last: a drain is something to watch.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tracing::{debug, warn};

use super::access_log::AccessLog;
use super::metrics::Metrics;
use super::readiness::Readiness;
use crate::drain::Tasks;

mod events;
pub mod openapi;
mod operation;
mod routes;
mod socket;
#[cfg(test)]
mod tests;
pub mod view;

pub use socket::AdminSocket;

use routes::Surface;
use view::{
    Assign, Assigned, Assignment, Cgroup, ConfigProblem, Dispatch, Dispatched, Judgement, Listens,
    Namespace, Question, Reloaded, Status, TenantView,
};

/// Why the agent cannot listen for its operators.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The metrics address.
    #[error("cannot listen on {address} for metrics")]
    Metrics {
        /// Which one.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The admin socket.
    #[error("cannot {attempt} the admin socket {socket}")]
    Socket {
        /// What was attempted.
        attempt: &'static str,
        /// Which one.
        socket: String,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody answers there.
    #[error("another agent answers on {socket}; stop it first")]
    AnotherAgent {
        /// Where.
        socket: String,
    },
    /// Another agent is between looking and listening.
    #[error("another agent is starting on {socket}")]
    AnotherStarts {
        /// Where.
        socket: String,
    },
    /// A file that is not ours to remove.
    #[error("{socket} exists and is not a socket; move it away or name another admin socket")]
    NotASocket {
        /// Which one.
        socket: String,
    },
}

/// Where the admin API finds what it shows.
pub trait Subject: Send + Sync + 'static {
    /// The agent as a whole.
    fn status(&self) -> Status;
    /// Every tenant.
    fn tenants(&self) -> Vec<TenantView>;
    /// One tenant.
    fn tenant(&self, name: &str) -> Option<TenantView>;
    /// Every assigned cgroup.
    fn assignments(&self) -> Vec<Assignment>;
    /// Makes a cgroup a tenant's. May block.
    fn assign(&self, assign: &Assign) -> Result<Assigned, Refused>;
    /// Takes a cgroup back. May block.
    fn unassign(&self, cgroup: &Cgroup) -> Result<Assigned, Refused>;
    /// What would happen to a request. May block.
    fn check(&self, question: &Question) -> Result<Judgement, Refused>;
    /// Reads the configuration again. May block.
    fn reload(&self) -> Result<Reloaded, Refused>;
    /// Gives a tenant's processes in a cgroup their parameters. May block.
    fn dispatch(&self, namespace: &str, dispatch: &Dispatch) -> Result<Dispatched, Refused>;
    /// What is dispatched in a namespace.
    fn dispatches(&self, namespace: &str) -> Result<Vec<Dispatched>, Refused>;
    /// One dispatch.
    fn dispatched(&self, namespace: &str, id: &str) -> Result<Dispatched, Refused>;
    /// Ends a dispatch. May block.
    fn end_dispatch(&self, namespace: &str, id: &str) -> Result<Dispatched, Refused>;
    /// Listens in a namespace that a process of the tenant is about to start in. May block.
    fn listen_in(&self, tenant: &str, namespace: Namespace) -> Result<Listens, Refused>;
}

/// What an operator asked for and does not get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 400: as it is asked; 404: something that it names is not there; 409: as things stand; 422:
    /// the configuration; 500: the system.
    pub status: StatusCode,
    /// Why, for a person.
    pub error: String,
    /// What is wrong with the configuration, where it was to be reloaded.
    pub problems: Vec<ConfigProblem>,
}

impl Refused {
    /// What is asked says what it may not, or cannot be read.
    pub fn wrong(error: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error: error.into(),
            problems: Vec::new(),
        }
    }

    /// An error and its causes, on one line.
    pub fn because(status: StatusCode, error: &dyn std::error::Error) -> Self {
        let causes = std::iter::successors(Some(error), |error| error.source());
        let texts: Vec<String> = causes.map(ToString::to_string).collect();
        Self {
            status,
            error: texts.join(": "),
            problems: Vec::new(),
        }
    }
}

/// Answers operators.
#[derive(Clone)]
pub struct Admin {
    metrics: Metrics,
    readiness: Readiness,
    log: AccessLog,
    subject: Arc<dyn Subject>,
    tasks: Tasks,
}

/// How long a client may take to send a request's head, and may be idle between two.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// How many clients at once; more wait to be accepted.
const MAX_CONNECTIONS: usize = 64;
/// How long to leave a listener alone that cannot accept, as when descriptors have run out.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

impl Admin {
    /// Shows these, and runs in `tasks`.
    pub fn new(
        metrics: Metrics,
        readiness: Readiness,
        log: AccessLog,
        subject: Arc<dyn Subject>,
        tasks: Tasks,
    ) -> Self {
        Self {
            metrics,
            readiness,
            log,
            subject,
            tasks,
        }
    }

    /// Answers on the metrics address until the drain.
    pub fn serve_metrics(&self, listener: TcpListener) {
        self.tasks
            .spawn("metrics", self.clone().serve(listener, Surface::Metrics));
    }

    /// Answers on the admin socket until the drain; its file is removed then.
    pub fn serve_socket(&self, socket: AdminSocket) {
        self.tasks
            .spawn("admin", self.clone().serve(socket, Surface::Admin));
    }

    async fn serve(self, listener: impl Accept, surface: Surface) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut draining = pin!(self.tasks.draining());
        loop {
            let accept = async {
                let slot = Arc::clone(&slots).acquire_owned().await;
                (slot, listener.accept().await)
            };
            let (slot, accepted) = tokio::select! {
                // A drain stands first, so that a busy listener cannot outlive it.
                biased;
                () = &mut draining => return,
                accepted = accept => accepted,
            };
            match accepted {
                Ok(stream) => {
                    let connection = self.clone().connection(stream, surface);
                    self.tasks.spawn("admin connection", async move {
                        let _slot = slot;
                        connection.await;
                    });
                }
                Err(error) => {
                    warn!(error = %error, "admin connection not accepted");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    async fn connection(self, stream: impl Stream, surface: Surface) {
        let draining = self.tasks.draining();
        let service = service_fn(|request| {
            let answer = routes::answer(&self, surface, request);
            async { Ok::<_, Infallible>(answer.await) }
        });
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = draining => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(error = %error, "admin connection broken");
        }
    }
}

/// Listens on the metrics address.
pub async fn bind_metrics(address: SocketAddr) -> Result<TcpListener, Error> {
    TcpListener::bind(address)
        .await
        .map_err(|source| Error::Metrics { address, source })
}

/// What both kinds of listener give.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static {}

impl Stream for TcpStream {}
impl Stream for UnixStream {}

/// What both kinds of listener do.
trait Accept: Send + Sync + 'static {
    type Stream: Stream;

    fn accept(&self) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = TcpStream;

    async fn accept(&self) -> io::Result<TcpStream> {
        Ok(Self::accept(self).await?.0)
    }
}

impl Accept for AdminSocket {
    type Stream = UnixStream;

    async fn accept(&self) -> io::Result<UnixStream> {
        Ok(self.listener().accept().await?.0)
    }
}
