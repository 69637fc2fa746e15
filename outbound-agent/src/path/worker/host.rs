//! Workers that are modules: run in a process of their own, or in a thread of the agent's.
//!
//! A worker that dies, or that does not answer for longer than it may compute, is killed and
//! replaced; what it was doing, and what arrives before it is back, fails. Changed files are
//! loaded as they change; those that do not load leave the last good ones in place.

pub mod child;
mod files;
mod inside;
mod link;
mod message;
mod running;
mod secrets;
mod thread;
pub mod trial;

use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use http::Response;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::child::Child;
use self::files::Watched;
pub(super) use self::link::Caller;
use self::link::{Answered, Link};
use self::message::{Handlers, Load, ToWorker};
pub use self::running::State;
use self::running::{Running, Stuck};
use self::secrets::Secrets;
use self::thread::Thread;
use super::{Decided, Failure, Invocation, TunnelInvocation};
use crate::drain::Tasks;
use crate::model::reason::Reason;
use crate::model::worker::{Hosting, Service};
use crate::path::http::body::Source;

/// A module that answers, until it is dropped and has nothing more to do.
pub(super) struct Host {
    inner: Arc<Inner>,
    _end: DropGuard,
}

struct Inner {
    service: Arc<Service>,
    secrets: Arc<Secrets>,
    tasks: Tasks,
    now: Mutex<Now>,
    /// Nobody will ask it any more.
    ended: CancellationToken,
}

/// What there is at the moment.
#[derive(Default)]
struct Now {
    link: Option<Arc<Link>>,
    /// Why no module is loaded, if none is.
    amiss: Option<String>,
    /// What the module does, once one has loaded.
    handlers: Option<Handlers>,
    restarts: u64,
}

impl Host {
    /// Starts the worker of a service; it is there soon. Must be called within a runtime.
    pub(super) fn start(service: &Arc<Service>, main: PathBuf, tasks: &Tasks) -> Self {
        let inner = Arc::new(Inner {
            service: Arc::clone(service),
            secrets: Arc::new(Secrets::new(&service.secrets)),
            tasks: tasks.clone(),
            now: Mutex::default(),
            ended: CancellationToken::new(),
        });
        tasks.spawn("worker host", Arc::clone(&inner).keep_running(main));
        let _end = inner.ended.clone().drop_guard();
        Self { inner, _end }
    }

    /// Has the module answer.
    pub(super) async fn call(
        &self,
        invocation: Invocation,
        caller: &Caller<'_>,
    ) -> Result<Response<Source>, Failure> {
        let link = match self.inner.link().await {
            Ok((link, _)) => link,
            Err(failure) => {
                let unused = Some(invocation.request.into_body());
                return Err(Failure { unused, ..failure });
            }
        };
        let errands = Arc::clone(&invocation.errands);
        match link
            .call(invocation.request, caller, invocation.errands)
            .await?
        {
            Answered::Response(response) => Ok(response),
            Answered::Fetch(request) => {
                let fetched = errands.fetch(request).await;
                fetched.map_err(|error| Failure::new(Reason::WorkerException, error.message))
            }
            Answered::Nothing => {
                let text = "the module exports no fetch handler";
                Err(Failure::new(Reason::WorkerException, text))
            }
            Answered::Refused(_) | Answered::Forwarded(..) | Answered::Tunnel(_) => Err(
                Failure::new(Reason::WorkerException, "no response was given"),
            ),
        }
    }

    /// Has the module decide about a tunnel; `None` where it has no handler for that.
    pub(super) async fn connect(
        &self,
        invocation: TunnelInvocation,
        caller: &Caller<'_>,
    ) -> Result<Option<Decided>, Failure> {
        let (link, handlers) = self.inner.link().await?;
        if !handlers.has_connect {
            return Ok(None);
        }
        let TunnelInvocation {
            asked,
            body,
            errands,
            ..
        } = invocation;
        match link.tunnel(asked, body, caller, errands).await? {
            Answered::Nothing => Ok(None),
            Answered::Refused(reason) => Ok(Some(Decided::Refused(reason))),
            Answered::Forwarded(host, port) => Ok(Some(Decided::Forwarded(host, port))),
            Answered::Tunnel(body) => Ok(Some(Decided::Answered(body))),
            Answered::Response(_) | Answered::Fetch(_) => Err(Failure::new(
                Reason::WorkerException,
                "no decision was given",
            )),
        }
    }

    /// Whether tunnels are to be asked about: not where the module is known to have no handler.
    pub(super) fn decides_tunnels(&self) -> bool {
        let handlers = self.inner.now().handlers;
        handlers.is_none_or(|handlers| handlers.has_connect)
    }

    pub(super) fn state(&self) -> State {
        let now = self.inner.now();
        let (isolates, outstanding) = now.link.as_ref().map_or((0, 0), |link| link.counts());
        State {
            isolates,
            outstanding,
            restarts: now.restarts,
        }
    }
}

impl Inner {
    /// The worker, where it is there; a module that is being loaded for the first time is waited
    /// for.
    async fn link(&self) -> Result<(Arc<Link>, Handlers), Failure> {
        loop {
            {
                let now = self.now();
                match (&now.link, &now.amiss, now.handlers) {
                    (_, Some(amiss), _) => {
                        return Err(Failure::new(Reason::WorkerUnavailable, amiss.clone()));
                    }
                    (Some(link), None, Some(handlers)) => return Ok((Arc::clone(link), handlers)),
                    (None, None, Some(_)) => {
                        let text = "the worker's process is not back yet";
                        return Err(Failure::new(Reason::WorkerDied, text));
                    }
                    (Some(_) | None, None, None) => {}
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Starts the worker again and again, until the agent drains.
    async fn keep_running(self: Arc<Self>, main: PathBuf) {
        let mut watched = Watched::new(main);
        let mut good: Option<Load> = None;
        let mut deaths = 0;
        loop {
            let began = Instant::now();
            match self.begin() {
                Ok((link, life, body)) => {
                    self.live(&link, life, &body, &mut watched, &mut good).await;
                    self.now().link = None;
                    body.kill();
                    link.die();
                }
                Err(error) => {
                    let (service, error) = (&*self.service.name, &error as &dyn std::error::Error);
                    tracing::error!(service, error, "cannot start the outbound worker");
                }
            }
            if self.is_over() {
                return;
            }
            self.now().restarts += 1;
            deaths = match began.elapsed() > STABLE {
                true => 1,
                false => deaths + 1,
            };
            let pause = FIRST_PAUSE * 2_u32.pow(deaths.min(MOST_DOUBLINGS) - 1);
            tracing::error!(
                service = &*self.service.name,
                ?pause,
                "outbound worker died"
            );
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Whether nothing new will be asked.
    fn is_over(&self) -> bool {
        self.tasks.is_draining() || self.ended.is_cancelled()
    }

    /// Starts a worker, which has no module yet.
    fn begin(&self) -> io::Result<(Arc<Link>, Life, Running)> {
        let (outbox, to_worker) = unbounded_channel();
        let secrets = Arc::clone(&self.secrets);
        let name = Arc::clone(&self.service.name);
        let (link, loads) = Link::new(Arc::clone(&name), secrets, outbox, self.tasks.clone());
        let (end, ended) = oneshot::channel();
        let running = match self.service.hosting {
            Hosting::Process => {
                let heard = Arc::clone(&link);
                let take = move |message| heard.take(message);
                Running::Process(Child::start(&name, to_worker, take, end, &self.tasks)?)
            }
            Hosting::Thread => Running::Thread(Thread::start(&link, to_worker, end, &self.tasks)?),
        };
        Ok((link, Life { loads, ended }, running))
    }

    /// Serves a worker until it is dead, or the agent drains and nothing is under way.
    async fn live(
        &self,
        link: &Arc<Link>,
        mut life: Life,
        running: &Running,
        watched: &mut Watched,
        good: &mut Option<Load>,
    ) {
        let mut offered = self.offer(link, watched, good.as_ref());
        let mut stuck = Stuck::default();
        loop {
            let pause = match link.is_idle() {
                true => IDLE_LOOK,
                false => LOOK,
            };
            tokio::select! {
                biased; // What the worker has said is heard before it is judged.
                result = life.loads.recv() => {
                    let Some(result) = result else { return };
                    self.settle(link, result, offered.take(), good);
                }
                _ = &mut life.ended => return,
                () = tokio::time::sleep(pause) => {
                    if self.is_over() && link.is_idle() {
                        return;
                    }
                    if stuck.is_too_long(link, running, self.service.limits.cpu) {
                        tracing::error!(service = &*self.service.name, "outbound worker is stuck");
                        return;
                    }
                    if let Some(load) = watched.changed(|files| self.load(files)) {
                        link.say(ToWorker::Load(load.clone()));
                        offered = Some(load);
                    }
                }
            }
        }
    }

    /// Sends the files as they are, or as they last were good.
    fn offer(&self, link: &Link, watched: &mut Watched, good: Option<&Load>) -> Option<Load> {
        let found = watched.read().map(|files| self.load(files));
        let load = match (found, good) {
            (Ok(load), _) => load,
            (Err(_unreadable), Some(good)) => good.clone(),
            (Err(error), None) => {
                let amiss = format!("{}: {error}", watched.main().display());
                tracing::error!(service = &*self.service.name, amiss, "no outbound worker");
                self.now().amiss = Some(amiss);
                return None;
            }
        };
        link.say(ToWorker::Load(load.clone()));
        Some(load)
    }

    /// A module that does not load keeps the last good one.
    fn settle(
        &self,
        link: &Arc<Link>,
        result: Result<Handlers, String>,
        offered: Option<Load>,
        good: &mut Option<Load>,
    ) {
        let service = &*self.service.name;
        let mut now = self.now();
        match result {
            Ok(handlers) => {
                tracing::info!(service, "outbound worker loaded");
                if offered.is_some() {
                    *good = offered;
                }
                now.amiss = None;
                now.handlers = Some(handlers);
                now.link = Some(Arc::clone(link));
            }
            Err(error) => {
                tracing::error!(service, error, "outbound worker does not load");
                match good {
                    // A new process has none yet.
                    Some(good) if now.link.is_none() => link.say(ToWorker::Load(good.clone())),
                    Some(_) => {}
                    None => now.amiss = Some(error),
                }
            }
        }
    }

    fn load(&self, (files, main): (Vec<(String, String)>, String)) -> Load {
        let limits = &self.service.limits;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Load {
            files,
            main,
            secrets: self.secrets.names(),
            caches: self
                .service
                .caches
                .iter()
                .map(ToString::to_string)
                .collect(),
            cpu_ms: millis(limits.cpu),
            wall_ms: millis(limits.wall),
            memory_bytes: limits.memory as u64,
            isolates: limits.isolates as u64,
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is heard of a worker beside its answers.
struct Life {
    loads: UnboundedReceiver<Result<Handlers, String>>,
    /// Completes when it is dead.
    ended: oneshot::Receiver<()>,
}

/// Whether something is over without having to wait; if not, it is to be spawned.
fn is_over_at_once(future: Pin<&mut impl Future<Output = ()>>) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    future.poll(&mut context).is_ready()
}

/// How often to look at a worker and at its files.
const LOOK: Duration = Duration::from_millis(20);
/// As [`LOOK`], while it has nothing to do.
const IDLE_LOOK: Duration = Duration::from_millis(250);
/// The pause after a death, and how often it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MOST_DOUBLINGS: u32 = 7;
/// A worker that has lived for so long died of something new.
const STABLE: Duration = Duration::from_secs(30);
