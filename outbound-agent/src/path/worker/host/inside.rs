//! The worker's side: isolates that answer calls, and a host that asks the agent for everything.
//!
//! Runs on one thread, in the worker process or in the agent. An isolate belongs to a tenant, or
//! to all; the least recently used is thrown away when there are too many, and any that an
//! invocation has used up.

mod outside;
mod wire;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use outbound_javascript::{
    self as javascript, Bindings, Body, Decision, Env, Given, Isolate, Limits, Module, Rest,
    WorkerError,
};
use tokio::task::{AbortHandle, LocalSet, spawn_local};

use self::outside::Outside;
use self::wire::Wire;
use super::is_over_at_once;
use super::message::{
    Answer, Call, Content, Fault, Handlers, Introduction, Load, Octets, ResponseHead, ToAgent,
    ToWorker, Tunnel, Usage,
};

/// How long after an isolate was needed another is made ahead.
const BEFORE_SPARE: Duration = Duration::from_millis(5);

/// Answers what `hear` hands on, until that ends; what is said goes to `outbox`.
pub(super) async fn run<T>(
    outbox: impl Fn(ToAgent) + 'static,
    hear: impl AsyncFnOnce(&dyn Fn(ToWorker)) -> T,
) -> T {
    let inside = Rc::new(Inside::new(outbox));
    let take = |message| inside.take(message);
    LocalSet::new().run_until(hear(&take)).await
}

/// A worker.
struct Inside {
    wire: Rc<Wire>,
    loaded: RefCell<Option<Loaded>>,
    callers: RefCell<HashMap<u64, Rc<Caller>>>,
    isolates: RefCell<HashMap<Rc<Key>, Kept>>,
    /// One that nobody has yet, for the default export.
    spare: RefCell<Option<Isolate>>,
    providing: RefCell<Option<AbortHandle>>,
    calls: RefCell<HashMap<u64, AbortHandle>>,
    clock: Cell<u64>,
}

/// A module, and what its isolates have.
struct Loaded {
    module: Module,
    bindings: Bindings,
    most_isolates: usize,
}

/// Whose an isolate is, and which export of the module it runs.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    owner: String,
    entrypoint: String,
}

/// From what calls are.
struct Caller {
    key: Rc<Key>,
    env: Env,
}

struct Kept {
    isolate: Rc<Isolate>,
    used: u64,
}

/// What comes of a call, and what lives on behind it.
type Answered = Result<(Answer, Rest), WorkerError>;

impl Inside {
    fn new(outbox: impl Fn(ToAgent) + 'static) -> Self {
        Self {
            wire: Rc::new(Wire::new(outbox)),
            loaded: RefCell::default(),
            callers: RefCell::default(),
            isolates: RefCell::default(),
            spare: RefCell::default(),
            providing: RefCell::default(),
            calls: RefCell::default(),
            clock: Cell::new(0),
        }
    }

    fn take(self: &Rc<Self>, message: ToWorker) {
        match message {
            ToWorker::Load(load) => {
                let result = self.load(load).map_err(|error| error.to_string());
                self.wire.say(ToAgent::Loaded(result));
            }
            ToWorker::Introduce(introduction) => self.meet(introduction),
            ToWorker::Retire(number) => drop(self.callers.borrow_mut().remove(&number)),
            ToWorker::Call(call) => {
                let (number, inside) = (call.number, Rc::clone(self));
                self.begin(number, async move { inside.fetch(call).await });
            }
            ToWorker::Tunnel(tunnel) => {
                let (number, inside) = (tunnel.number, Rc::clone(self));
                self.begin(number, async move { inside.connect(tunnel).await });
            }
            ToWorker::Abandon { call } => {
                if let Some(answering) = self.calls.borrow_mut().remove(&call) {
                    answering.abort();
                }
            }
            ToWorker::Fetched { errand, .. }
            | ToWorker::Chunk { errand, .. }
            | ToWorker::Signed { errand, .. } => self.wire.settle(errand, message),
            ToWorker::Pull { stream } => {
                if let Some(pulls) = self.wire.streams.borrow().get(&stream) {
                    // There is never more than one: the next follows a piece.
                    let _sent = pulls.try_send(());
                }
            }
            ToWorker::Unwanted { stream } => {
                self.wire.streams.borrow_mut().remove(&stream);
            }
            ToWorker::Ping(number) => self.wire.say(ToAgent::Pong(number)),
        }
    }

    /// Isolates of another module answer what they have begun, and nothing more.
    fn load(self: &Rc<Self>, load: Load) -> Result<Handlers, WorkerError> {
        let limits = Limits {
            cpu: Duration::from_millis(load.cpu_ms),
            // The agent minds the time.
            wall: None,
            wait_until: Duration::from_millis(load.wall_ms),
            memory_bytes: usize::try_from(load.memory_bytes).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        let module = Module::load(load.files, &load.main, limits)?;
        let handlers = Handlers {
            has_connect: module.has_connect(),
        };
        let bindings = Bindings {
            secrets: load.secrets,
            caches: load.caches,
            ..Bindings::default()
        };
        self.isolates.borrow_mut().clear();
        self.spare.take();
        self.tell_isolates();
        *self.loaded.borrow_mut() = Some(Loaded {
            module,
            bindings,
            most_isolates: usize::try_from(load.isolates).unwrap_or(usize::MAX),
        });
        self.provide();
        Ok(handlers)
    }

    fn meet(&self, introduction: Introduction) {
        let caller = Caller {
            key: Rc::new(Key {
                owner: introduction.isolate,
                entrypoint: introduction.entrypoint,
            }),
            env: Env {
                number: introduction.number,
                values: introduction.env.into(),
                has_own_url: introduction.has_own_url,
            },
        };
        let number = introduction.number;
        self.callers.borrow_mut().insert(number, Rc::new(caller));
    }

    /// Runs a call until nothing of it is left, or it is abandoned.
    fn begin(self: &Rc<Self>, call: u64, answered: impl Future<Output = Answered> + 'static) {
        let inside = Rc::clone(self);
        let mut running = Box::pin(async move {
            let answered = answered.await;
            inside.finish(call, answered).await;
        });
        // Many are over before they have waited for anything.
        if !is_over_at_once(running.as_mut()) {
            let handle = spawn_local(running).abort_handle();
            self.calls.borrow_mut().insert(call, handle);
        }
    }

    async fn fetch(self: &Rc<Self>, call: Call) -> Answered {
        let (isolate, env) = self.isolate(call.from)?;
        let request = javascript::RequestHead {
            // The agent has it from a type that holds nothing else.
            method: call.head.method.parse().unwrap_or(Method::GET),
            url: call.head.url,
            headers: call.head.fields.into(),
        };
        let replied = isolate
            .fetch(javascript::Call {
                number: call.number,
                request,
                body: to_body(call.content),
                env,
            })
            .await;
        self.look_at(&isolate);
        let reply = replied?;
        let answer = match reply.given {
            Given::Response(head, body) => {
                let head = ResponseHead {
                    status: head.status.as_u16(),
                    fields: (&head.headers).into(),
                };
                Answer::Response(head, self.wire.content(body))
            }
            Given::Fetch(head, body) => Answer::Fetch(head.into(), self.wire.content(body)),
            // The body is where it was.
            Given::Pass(_) => Answer::Pass,
        };
        Ok((answer, reply.rest))
    }

    async fn connect(self: &Rc<Self>, tunnel: Tunnel) -> Answered {
        let (isolate, env) = self.isolate(tunnel.from)?;
        let decided = isolate
            .connect(javascript::Tunnel {
                number: tunnel.number,
                host: tunnel.host,
                port: tunnel.port,
                body: to_body(tunnel.content),
                env,
            })
            .await;
        self.look_at(&isolate);
        let (decision, rest) = decided?;
        let answer = match decision {
            Decision::Refuse { reason } => Answer::Refuse(reason),
            Decision::Forward { host, port } => Answer::Forward(host, port),
            Decision::Answer(body) => Answer::Tunnel(self.wire.content(body)),
        };
        Ok((answer, rest))
    }

    async fn finish(&self, call: u64, answered: Answered) {
        let (result, rest) = match answered {
            Ok((answer, rest)) => (Ok(answer), Some(rest)),
            Err(error) => {
                let text = match &error {
                    WorkerError::Exception { stack, .. } => format!("{error}\n{stack}"),
                    _ => error.to_string(),
                };
                (Err((Fault::of(&error), text.trim_end().to_owned())), None)
            }
        };
        let (over, rest) = match rest.map(Rest::if_finished) {
            None => (Some(Usage::default()), None),
            Some(Ok(used)) => (Some(to_usage(used)), None),
            Some(Err(rest)) => (None, Some(rest)),
        };
        self.wire.say(ToAgent::Answer { call, result, over });
        if let Some(rest) = rest {
            let usage = to_usage(rest.finished().await);
            self.wire.say(ToAgent::Over { call, usage });
        }
        self.calls.borrow_mut().remove(&call);
    }

    /// The isolate of a caller, made where there is none, and what the caller has on `env`.
    fn isolate(self: &Rc<Self>, caller: u64) -> Result<(Rc<Isolate>, Env), WorkerError> {
        let broken = |message: &str| WorkerError::Engine {
            message: message.to_owned(),
        };
        let caller = self.callers.borrow().get(&caller).cloned();
        let caller = caller.ok_or_else(|| broken("the caller was not introduced"))?;
        self.clock.set(self.clock.get() + 1);
        let mut isolates = self.isolates.borrow_mut();
        if let Some(kept) = isolates.get_mut(&caller.key) {
            if kept.isolate.poisoned().is_none() {
                kept.used = self.clock.get();
                return Ok((Rc::clone(&kept.isolate), caller.env.clone()));
            }
            // What lives on behind a response has used it up.
            drop(isolates.remove(&caller.key));
        }
        let loaded = self.loaded.borrow();
        let loaded = loaded
            .as_ref()
            .ok_or_else(|| broken("no module was loaded"))?;
        if isolates.len() >= loaded.most_isolates {
            let idle = isolates
                .iter()
                .filter(|(_, kept)| kept.isolate.outstanding() == 0);
            let oldest = idle.min_by_key(|(_, kept)| kept.used);
            match oldest.map(|(key, _)| Rc::clone(key)) {
                Some(oldest) => drop(isolates.remove(&oldest)),
                None => return Err(WorkerError::Crowded),
            }
        }
        let spare = match caller.key.entrypoint.is_empty() {
            true => self.spare.take(),
            false => None,
        };
        let isolate = match spare {
            Some(isolate) => isolate,
            None => self.make(loaded, &caller.key.entrypoint)?,
        };
        let isolate = Rc::new(isolate);
        let kept = Kept {
            isolate: Rc::clone(&isolate),
            used: self.clock.get(),
        };
        isolates.insert(Rc::clone(&caller.key), kept);
        drop(isolates);
        self.tell_isolates();
        self.provide();
        Ok((isolate, caller.env.clone()))
    }

    fn make(&self, loaded: &Loaded, entrypoint: &str) -> Result<Isolate, WorkerError> {
        let mut bindings = loaded.bindings.clone();
        if !entrypoint.is_empty() {
            entrypoint.clone_into(&mut bindings.entrypoint);
        }
        let host = Rc::new(Outside(Rc::clone(&self.wire)));
        Isolate::new(&loaded.module, &bindings, host)
    }

    /// Makes an isolate for the next tenant that comes, once what is ready has run: nobody waits
    /// for it then.
    fn provide(self: &Rc<Self>) {
        let inside = Rc::clone(self);
        let providing = spawn_local(async move {
            tokio::time::sleep(BEFORE_SPARE).await;
            let loaded = inside.loaded.borrow();
            let is_wanted = inside.spare.borrow().is_none();
            if let Some(loaded) = loaded.as_ref().filter(|_| is_wanted) {
                // Whoever needs it will learn why there is none.
                *inside.spare.borrow_mut() = inside.make(loaded, "").ok();
            }
        });
        if let Some(before) = self.providing.replace(Some(providing.abort_handle())) {
            before.abort();
        }
    }

    /// An isolate that an invocation has used up is thrown away.
    fn look_at(&self, isolate: &Rc<Isolate>) {
        if isolate.poisoned().is_some() {
            let mut isolates = self.isolates.borrow_mut();
            isolates.retain(|_, kept| !Rc::ptr_eq(&kept.isolate, isolate));
            drop(isolates);
            self.tell_isolates();
        }
    }

    fn tell_isolates(&self) {
        let count = self.isolates.borrow().len();
        self.wire.say(ToAgent::Isolates(count as u64));
    }
}

fn to_usage(used: javascript::Usage) -> Usage {
    Usage {
        cpu_us: u64::try_from(used.cpu.as_micros()).unwrap_or(u64::MAX),
        cut: used.cut,
    }
}

/// Streams are the worker's own: none comes from the agent.
fn to_body(content: Content) -> Body {
    match content {
        Content::Empty | Content::Stream(_) => Body::Empty,
        Content::Whole(Octets(octets)) => Body::Bytes(octets),
        Content::Handle(number) => Body::Handle(number),
    }
}
