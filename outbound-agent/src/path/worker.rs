//! Stage 7, `worker`: each request of a namespace's tenants passes the operator's code.
//!
//! Takes an [`Invocation`], gives the code's response or a [`Failure`]. What the code asks of the
//! world is an errand that the story runs ([`Errands`]), so that policy, credentials and the way
//! out stay where they are. What went wrong in the code is for the operator's eyes only.

mod call;
mod chain;
pub mod host;
mod room;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderName, Request, Response};

pub use self::call::Uncounted;
use self::call::{Egress, Server};
pub use self::chain::{Chain, WORKER};
use self::host::{Caller, Host};
use self::room::{Place, Room};
use super::http::body::Source;
use crate::drain::Tasks;
use crate::model::reason::Reason;
use crate::model::tenant::Tenant;
use crate::model::worker::{Code, Outbound, Service, Values};

/// Marks a request as the tenant's, also where the worker has changed it: the number of its
/// exchange.
pub const REQUEST: HeaderName = HeaderName::from_static("outbound-request");

/// What the code of one invocation asks of the world.
pub trait Errands: Send + Sync + 'static {
    /// Sends a request whose target is an absolute URL; gives what comes back, redirects too.
    fn fetch(self: Arc<Self>, request: Request<Source>) -> Errand;

    /// Nothing of the invocation is left, and this is what it used. A worker that is a server
    /// does not say.
    fn over(&self, _used: Used) {}
}

/// What an invocation used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Time on a processor, in the engine.
    pub cpu: Duration,
    /// From its begin until nothing of it was left.
    pub wall: Duration,
    /// Tasks and bodies that were cut before their end.
    pub cut: u32,
}

/// An errand that is being run.
pub type Errand = Pin<Box<dyn Future<Output = Result<Response<Source>, NotFetched>> + Send>>;

/// Why there is no response to a worker's request, as the worker may know it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct NotFetched {
    /// In a reply to a worker that is a server.
    pub reason: Option<Reason>,
    /// In words.
    pub message: String,
}

/// A request that is to pass a worker.
pub struct Invocation {
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// The request: its target an absolute URL, no field of this hop, [`REQUEST`] set.
    pub request: Request<Source>,
    /// Runs the worker's errands.
    pub errands: Arc<dyn Errands>,
}

/// A tunnel that a worker is to decide about.
pub struct TunnelInvocation {
    /// Whose it is.
    pub tenant: Arc<Tenant>,
    /// The name or address, and the port, that the workload asked for.
    pub asked: (String, u16),
    /// What the workload sends; read only where the worker answers.
    pub body: Source,
    /// Runs the worker's errands.
    pub errands: Arc<dyn Errands>,
}

/// What a worker made of a tunnel.
pub enum Decided {
    /// It is refused; why is for the operator.
    Refused(String),
    /// It goes on to this host and port.
    Forwarded(String, u16),
    /// The worker is its other end: this is what the workload receives.
    Answered(Source),
}

/// Why a worker gave no response.
#[derive(Debug)]
pub struct Failure {
    /// Why.
    pub reason: Reason,
    /// What the operator should know.
    pub text: String,
    /// The request's body, where nothing of it is gone.
    pub unused: Option<Source>,
}

impl Failure {
    fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
            unused: None,
        }
    }
}

/// Every worker of the configuration.
pub struct Workers {
    running: ArcSwap<Running>,
    body_idle: Duration,
    tasks: Tasks,
}

/// Those that there are now.
#[derive(Clone, Default)]
struct Running {
    by_service: HashMap<Arc<str>, Arc<Worker>>,
    egress: Option<Arc<Egress>>,
}

/// One of them.
struct Worker {
    service: Arc<Service>,
    room: Room,
    runs: Runs,
}

/// Workers that are about to answer.
pub struct Prepared(Running);

impl Prepared {
    /// As [`Workers::address`].
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address()
    }
}

impl Running {
    fn of(&self, caller: &Caller<'_>) -> Result<&Worker, Failure> {
        let worker = self.by_service.get(&caller.outbound.service.name);
        let gone = || {
            let text = "the configuration has no such worker any more";
            Failure::new(Reason::WorkerUnavailable, text)
        };
        worker.map(|worker| &**worker).ok_or_else(gone)
    }

    fn address(&self) -> Option<SocketAddr> {
        self.egress.as_ref().map(|egress| egress.address())
    }
}

/// Where it runs.
enum Runs {
    Elsewhere(Box<Server>),
    Here(Host),
}

/// Why the workers cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Where workers that are servers send their requests.
    #[error("cannot listen on loopback for the requests of workers")]
    Egress(#[source] std::io::Error),
}

impl Workers {
    /// Those of `services`. Between two pieces of a body `body_idle` may pass. Must be called
    /// within a runtime.
    pub fn start(
        services: &[Arc<Service>],
        body_idle: Duration,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let workers = Self {
            running: ArcSwap::default(),
            body_idle,
            tasks: tasks.clone(),
        };
        workers.run(workers.prepare(services)?);
        Ok(workers)
    }

    /// Starts those of `services` that do not run yet, beside all that do. Must be called within
    /// a runtime. What is not [run](Self::run) ends again.
    pub fn prepare(&self, services: &[Arc<Service>]) -> Result<Prepared, Error> {
        let now = self.running.load();
        let mut next = Running {
            by_service: HashMap::new(),
            egress: now.egress.clone(),
        };
        for service in services {
            let known = now.by_service.get(&service.name);
            let worker = match known.filter(|known| known.service.runs_as(service)) {
                Some(known) => Arc::clone(known),
                None => Arc::new(self.begin(service, &mut next.egress)?),
            };
            next.by_service.insert(Arc::clone(&service.name), worker);
        }
        Ok(Prepared(next))
    }

    fn begin(
        &self,
        service: &Arc<Service>,
        egress: &mut Option<Arc<Egress>>,
    ) -> Result<Worker, Error> {
        let runs = match &service.code {
            Code::Url { address, key } => {
                if egress.is_none() {
                    let started = Egress::start(&self.tasks).map_err(Error::Egress)?;
                    *egress = Some(Arc::new(started));
                }
                let server = Server::new(address, key, self.body_idle, self.tasks.clone());
                Runs::Elsewhere(Box::new(server))
            }
            Code::Module(main) => Runs::Here(Host::start(service, main.clone(), &self.tasks)),
        };
        Ok(Worker {
            service: Arc::clone(service),
            room: Room::new(service.limits.concurrency),
            runs,
        })
    }

    /// Has these answer from now on; those that are not among them end when they have nothing
    /// more to do.
    pub fn run(&self, prepared: Prepared) {
        self.running.store(Arc::new(prepared.0));
    }

    /// Where the agent takes requests of workers, and of nobody else.
    pub fn address(&self) -> Option<SocketAddr> {
        self.running.load().address()
    }

    /// Keeps no connection to a worker for later.
    pub fn close_idle(&self) {
        for worker in self.running.load().by_service.values() {
            match &worker.runs {
                Runs::Elsewhere(server) => server.close_idle(),
                Runs::Here(_) => {}
            }
        }
    }

    /// Has a worker answer.
    pub async fn invoke(
        &self,
        invocation: Invocation,
        outbound: &Outbound,
    ) -> Result<Response<Source>, Failure> {
        let tenant = Arc::clone(&invocation.tenant);
        let caller = caller(&tenant, outbound)?;
        let running = self.running.load_full();
        let worker = running.of(&caller)?;
        let _place = worker.enter(&tenant)?;
        let called = async {
            match (&worker.runs, &running.egress) {
                (Runs::Here(host), _) => host.call(invocation, &caller).await,
                (Runs::Elsewhere(server), Some(egress)) => {
                    let url = invocation.request.uri().to_string();
                    let env: Values = caller.outbound.env(caller.parameters, &url);
                    // Larger than what a module needs.
                    Box::pin(server.call(invocation, &env, egress)).await
                }
                (Runs::Elsewhere(_), None) => Err(Failure::new(
                    Reason::Internal,
                    "nothing takes the worker's requests",
                )),
            }
        };
        within(caller.outbound.service.limits.wall, called).await
    }

    /// Has a worker decide about a tunnel; `None` where tunnels follow the policy.
    pub async fn decide(
        &self,
        invocation: TunnelInvocation,
        outbound: &Outbound,
    ) -> Result<Option<Decided>, Failure> {
        let tenant = Arc::clone(&invocation.tenant);
        let caller = caller(&tenant, outbound)?;
        let running = self.running.load_full();
        let worker = running.of(&caller)?;
        let Runs::Here(host) = &worker.runs else {
            return Ok(None);
        };
        let _place = worker.enter(&tenant)?;
        let decided = host.connect(invocation, &caller);
        within(caller.outbound.service.limits.wall, decided).await
    }

    /// Whether a worker is to be asked about tunnels.
    pub fn decides_tunnels(&self, outbound: &Outbound) -> bool {
        let running = self.running.load();
        let worker = running.by_service.get(&outbound.service.name);
        match worker.map(|worker| &worker.runs) {
            Some(Runs::Here(host)) => host.decides_tunnels(),
            Some(Runs::Elsewhere(_)) | None => false,
        }
    }

    /// What each service that is a module has at the moment.
    pub fn states(&self) -> Vec<(Arc<str>, host::State)> {
        let running = self.running.load();
        let states = running.by_service.iter();
        let states = states.filter_map(|(name, worker)| match &worker.runs {
            Runs::Here(host) => Some((Arc::clone(name), host.state())),
            Runs::Elsewhere(_) => None,
        });
        states.collect()
    }
}

impl Worker {
    fn enter(&self, tenant: &Tenant) -> Result<Place, Failure> {
        let text = "as many invocations as its limits allow are under way";
        let place = self.room.enter(&tenant.id);
        place.ok_or_else(|| Failure::new(Reason::WorkerLimit, text))
    }
}

async fn within<T>(
    wall: Duration,
    called: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let answered = tokio::time::timeout(wall, called).await;
    answered.unwrap_or_else(|_elapsed| {
        let text = format!("no response within {wall:?}");
        Err(Failure::new(Reason::WorkerTimeout, text))
    })
}

/// From what the invocations of a tenant are.
fn caller<'a>(tenant: &'a Tenant, outbound: &'a Outbound) -> Result<Caller<'a>, Failure> {
    let dispatched = tenant.namespace.as_ref().zip(tenant.parameters.as_ref());
    let (namespace, parameters) = dispatched.ok_or_else(|| {
        let text = "the tenant was not dispatched with the parameters of its namespace";
        Failure::new(Reason::NotDispatched, text)
    })?;
    Ok(Caller {
        tenant,
        namespace,
        outbound,
        parameters,
    })
}
