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
mod secrets;

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use serde_json::Value;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::child::Child;
use self::files::Watched;
use self::link::Link;
use self::message::{Call, Content, Load, RequestHead, ToAgent, ToWorker};
use self::secrets::Secrets;
use super::{Failure, Invocation};
use crate::drain::Tasks;
use crate::model::reason::Reason;
use crate::model::worker::{Hosting, Isolation, Service, Values};
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
    is_loaded: bool,
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
        entrypoint: Option<&str>,
        env: &Values,
    ) -> Result<Response<Source>, Failure> {
        let Invocation {
            tenant,
            request,
            errands,
        } = invocation;
        let (head, body) = request.into_parts();
        let link = match self.inner.link().await {
            Ok(link) => link,
            Err(failure) => {
                let unused = Some(body);
                return Err(Failure { unused, ..failure });
            }
        };
        let head = Request::from_parts(head, ());
        let call = Call {
            number: 0,
            isolate: match self.inner.service.isolation {
                Isolation::Tenant => tenant.id.to_string(),
                Isolation::Service => String::new(),
            },
            entrypoint: entrypoint.unwrap_or_default().to_owned(),
            head: RequestHead {
                method: head.method().to_string(),
                url: head.uri().to_string(),
                headers: head.headers().into(),
            },
            content: Content::Empty,
            env: Value::from(env.clone()).to_string(),
        };
        link.call(call, body, &tenant.id, errands).await
    }
}

impl Inner {
    /// The worker, where it is there; a module that is being loaded for the first time is waited
    /// for.
    async fn link(&self) -> Result<Arc<Link>, Failure> {
        loop {
            {
                let now = self.now();
                match (&now.link, &now.amiss) {
                    (_, Some(amiss)) => {
                        return Err(Failure::new(Reason::WorkerUnavailable, amiss.clone()));
                    }
                    (Some(link), None) if now.is_loaded => return Ok(Arc::clone(link)),
                    (None, None) if now.is_loaded => {
                        let text = "the worker's process is not back yet";
                        return Err(Failure::new(Reason::WorkerDied, text));
                    }
                    (Some(_) | None, None) => {}
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
                Ok((link, messages, body)) => {
                    self.live(&link, messages, &body, &mut watched, &mut good)
                        .await;
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
    fn begin(&self) -> io::Result<(Arc<Link>, UnboundedReceiver<ToAgent>, Running)> {
        let (outbox, to_worker) = unbounded_channel();
        let (from_worker, messages) = unbounded_channel();
        let name = Arc::clone(&self.service.name);
        let running = match self.service.hosting {
            Hosting::Process => {
                Running::Process(Child::start(to_worker, from_worker, &self.tasks)?)
            }
            Hosting::Thread => {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                std::thread::Builder::new()
                    .name(format!("worker {name}"))
                    .spawn(move || runtime.block_on(inside::run(to_worker, from_worker)))?;
                Running::Thread
            }
        };
        let secrets = Arc::clone(&self.secrets);
        let link = Link::new(name, secrets, outbox, self.tasks.clone());
        Ok((link, messages, running))
    }

    /// Serves a worker until it is dead, or the agent drains and nothing is under way.
    async fn live(
        &self,
        link: &Arc<Link>,
        mut messages: UnboundedReceiver<ToAgent>,
        running: &Running,
        watched: &mut Watched,
        good: &mut Option<Load>,
    ) {
        let mut offered = self.offer(link, watched, good.as_ref());
        let mut stuck = Stuck::default();
        let mut ticks = tokio::time::interval(LOOK);
        loop {
            let message = tokio::select! {
                biased; // What the worker has said is heard before it is judged.
                message = messages.recv() => message,
                _ = ticks.tick() => {
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
                    continue;
                }
            };
            let Some(message) = message else { return };
            link.take(message);
            if let Some(result) = link.take_loaded() {
                self.settle(link, result, offered.take(), good);
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
        result: Result<(), String>,
        offered: Option<Load>,
        good: &mut Option<Load>,
    ) {
        let service = &*self.service.name;
        let mut now = self.now();
        match result {
            Ok(()) => {
                tracing::info!(service, "outbound worker loaded");
                if offered.is_some() {
                    *good = offered;
                }
                now.amiss = None;
                now.is_loaded = true;
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
            cpu_ms: millis(limits.cpu),
            wall_ms: millis(limits.wall),
            memory_bytes: limits.memory as u64,
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What runs the isolates.
enum Running {
    Process(Child),
    /// It ends when nobody asks it any more.
    Thread,
}

impl Running {
    fn kill(self) {
        match self {
            Self::Process(child) => child.kill(),
            Self::Thread => {}
        }
    }

    /// Time that it has spent on a processor, where that is known.
    fn cpu(&self) -> Option<Duration> {
        match self {
            Self::Process(child) => child.cpu(),
            Self::Thread => None,
        }
    }
}

/// Whether a worker computes for longer than any invocation may.
#[derive(Default)]
struct Stuck {
    since: Option<(Instant, Duration)>,
}

impl Stuck {
    fn is_too_long(&mut self, link: &Link, running: &Running, may: Duration) -> bool {
        let Some(since) = link.ping() else {
            self.since = None;
            return false;
        };
        // A thread that cannot be asked counts all of its time.
        let cpu = running.cpu().unwrap_or_else(|| since.elapsed());
        let at_first = match self.since {
            Some((first, at_first)) if first == since => at_first,
            Some(_) | None => {
                self.since = Some((since, cpu));
                cpu
            }
        };
        cpu.saturating_sub(at_first) > may + GRACE || since.elapsed() > SILENCE
    }
}

/// How often to look at a worker and at its files.
const LOOK: Duration = Duration::from_millis(20);
/// What a worker may compute beyond an invocation's limit before it is killed: it may have several
/// to end for their limits before it hears the agent.
const GRACE: Duration = Duration::from_secs(2);
/// How long a worker may say nothing, whatever it does.
const SILENCE: Duration = Duration::from_secs(20);
/// The pause after a death, and how often it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const MOST_DOUBLINGS: u32 = 7;
/// A worker that has lived for so long died of something new.
const STABLE: Duration = Duration::from_secs(30);
