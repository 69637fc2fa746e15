//! The worker's side: isolates that answer calls, and a host that asks the agent for everything.
//!
//! Runs on one thread, in the worker process or in the agent. An isolate belongs to a tenant, or
//! to all; the least recently used is thrown away when there are too many, and any that an
//! invocation has used up.

mod outside;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use http::Method;
use outbound_javascript::{
    self as javascript, Bindings, Body, Chunks, HostError, Isolate, Limits, Module,
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, LocalSet, spawn_local};

use self::outside::Outside;
use super::message::{Call, Content, Fault, Load, Octets, Piece, ResponseHead, ToAgent, ToWorker};

/// How many isolates a worker keeps.
const ISOLATES: usize = 1024;

/// Answers what comes in until nobody is left to ask.
pub(super) async fn run(mut inbox: UnboundedReceiver<ToWorker>, outbox: UnboundedSender<ToAgent>) {
    let inside = Rc::new(Inside::new(outbox));
    let local = LocalSet::new();
    let serving = async {
        while let Some(message) = inbox.recv().await {
            inside.take(message);
        }
    };
    local.run_until(serving).await;
}

/// A worker.
struct Inside {
    wire: Rc<Wire>,
    loaded: RefCell<Option<(Module, Bindings)>>,
    isolates: RefCell<HashMap<(String, String), Kept>>,
    calls: RefCell<HashMap<u64, AbortHandle>>,
    clock: Cell<u64>,
}

struct Kept {
    isolate: Rc<Isolate>,
    used: u64,
}

impl Inside {
    fn new(outbox: UnboundedSender<ToAgent>) -> Self {
        Self {
            wire: Rc::new(Wire {
                outbox,
                waiting: RefCell::default(),
                streams: RefCell::default(),
                last: Cell::new(0),
            }),
            loaded: RefCell::default(),
            isolates: RefCell::default(),
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
            ToWorker::Call(call) => {
                let (number, inside) = (call.number, Rc::clone(self));
                let answered = spawn_local(async move { inside.answer(call).await });
                self.calls
                    .borrow_mut()
                    .insert(number, answered.abort_handle());
            }
            ToWorker::Abandon { call } => {
                if let Some(answering) = self.calls.borrow_mut().remove(&call) {
                    answering.abort();
                }
                self.wire.say(ToAgent::Over { call, cut: 0 });
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
    fn load(&self, load: Load) -> Result<(), javascript::WorkerError> {
        let limits = Limits {
            cpu: Duration::from_millis(load.cpu_ms),
            wall: Duration::from_millis(load.wall_ms),
            wait_until: Duration::from_millis(load.wall_ms),
            memory_bytes: usize::try_from(load.memory_bytes).unwrap_or(usize::MAX),
            ..Limits::default()
        };
        let module = Module::load(load.files, &load.main, limits)?;
        let bindings = Bindings {
            secrets: load.secrets,
            ..Bindings::default()
        };
        self.isolates.borrow_mut().clear();
        *self.loaded.borrow_mut() = Some((module, bindings));
        Ok(())
    }

    async fn answer(&self, call: Call) {
        let number = call.number;
        let replied = match self.isolate(&call.isolate, &call.entrypoint) {
            Ok(isolate) => {
                let replied = isolate.fetch(to_call(call)).await;
                if isolate.poisoned().is_some() {
                    self.throw_away(&isolate);
                }
                replied
            }
            Err(error) => Err(error),
        };
        let (result, rest) = match replied {
            Ok(reply) => {
                let head = ResponseHead {
                    status: reply.head.status.as_u16(),
                    headers: (&reply.head.headers).into(),
                };
                (Ok((head, self.wire.content(reply.body))), Some(reply.rest))
            }
            Err(error) => {
                let text = match &error {
                    javascript::WorkerError::Exception { stack, .. } => format!("{error}\n{stack}"),
                    _ => error.to_string(),
                };
                (Err((Fault::of(&error), text.trim_end().to_owned())), None)
            }
        };
        self.wire.say(ToAgent::Answer {
            call: number,
            result,
        });
        let cut = match rest {
            Some(rest) => rest.finished().await.cut,
            None => 0,
        };
        self.calls.borrow_mut().remove(&number);
        self.wire.say(ToAgent::Over { call: number, cut });
    }

    fn isolate(
        &self,
        owner: &str,
        entrypoint: &str,
    ) -> Result<Rc<Isolate>, javascript::WorkerError> {
        self.clock.set(self.clock.get() + 1);
        let mut isolates = self.isolates.borrow_mut();
        let key = (owner.to_owned(), entrypoint.to_owned());
        if let Some(kept) = isolates.get_mut(&key) {
            kept.used = self.clock.get();
            return Ok(Rc::clone(&kept.isolate));
        }
        if isolates.len() >= ISOLATES {
            let idle = isolates
                .iter()
                .filter(|(_, kept)| kept.isolate.outstanding() == 0);
            let oldest = idle.min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                isolates.remove(&oldest);
            }
        }
        let loaded = self.loaded.borrow();
        let Some((module, bindings)) = loaded.as_ref() else {
            return Err(javascript::WorkerError::Engine {
                message: "no module was loaded".to_owned(),
            });
        };
        let mut bindings = bindings.clone();
        if !entrypoint.is_empty() {
            entrypoint.clone_into(&mut bindings.entrypoint);
        }
        let host = Rc::new(Outside(Rc::clone(&self.wire)));
        let isolate = Rc::new(Isolate::new(module, &bindings, host)?);
        let kept = Kept {
            isolate: Rc::clone(&isolate),
            used: self.clock.get(),
        };
        isolates.insert(key, kept);
        Ok(isolate)
    }

    fn throw_away(&self, isolate: &Rc<Isolate>) {
        let mut isolates = self.isolates.borrow_mut();
        isolates.retain(|_, kept| !Rc::ptr_eq(&kept.isolate, isolate));
    }
}

fn to_call(call: Call) -> javascript::Call {
    let Call {
        number,
        head,
        content,
        env,
        ..
    } = call;
    javascript::Call {
        number,
        request: javascript::RequestHead {
            // The agent has them from types that hold nothing else.
            method: head.method.parse().unwrap_or(Method::GET),
            url: head.url,
            headers: head.headers.into_map().unwrap_or_default(),
        },
        body: to_body(content),
        env: serde_json::from_str(&env).unwrap_or_default(),
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

/// The way to the agent.
struct Wire {
    outbox: UnboundedSender<ToAgent>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<ToWorker>>>,
    streams: RefCell<HashMap<u64, mpsc::Sender<()>>>,
    last: Cell<u64>,
}

impl Wire {
    fn say(&self, message: ToAgent) {
        // Without an agent this ends soon.
        let _sent = self.outbox.send(message);
    }

    fn number(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    fn settle(&self, errand: u64, message: ToWorker) {
        if let Some(waiting) = self.waiting.borrow_mut().remove(&errand) {
            // Whoever waited may be gone.
            let _sent = waiting.send(message);
        }
    }

    /// Waits for the answer to an errand; a wait that is given up is told.
    fn wait(self: &Rc<Self>, errand: u64) -> Wait {
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(errand, sender);
        Wait {
            wire: Rc::clone(self),
            errand,
            answer,
        }
    }

    fn content(self: &Rc<Self>, body: Body) -> Content {
        match body {
            Body::Empty => Content::Empty,
            Body::Bytes(octets) => Content::Whole(Octets(octets)),
            Body::Handle(number) => Content::Handle(number),
            Body::Stream(chunks) => {
                let stream = self.number();
                // One piece for each that is asked for.
                let (pulls, pulled) = mpsc::channel(1);
                self.streams.borrow_mut().insert(stream, pulls);
                spawn_local(feed(Rc::clone(self), stream, chunks, pulled));
                Content::Stream(stream)
            }
        }
    }
}

async fn feed(wire: Rc<Wire>, stream: u64, mut chunks: Chunks, mut pulled: mpsc::Receiver<()>) {
    while pulled.recv().await.is_some() {
        let piece = match chunks.next().await {
            Some(Ok(octets)) => Piece::Data(Octets(octets)),
            None => Piece::End,
            Some(Err(error)) => Piece::Failed(error.to_string()),
        };
        let is_last = !matches!(piece, Piece::Data(_));
        wire.say(ToAgent::Piece { stream, piece });
        if is_last {
            wire.streams.borrow_mut().remove(&stream);
            return;
        }
    }
}

struct Wait {
    wire: Rc<Wire>,
    errand: u64,
    answer: oneshot::Receiver<ToWorker>,
}

impl Wait {
    async fn answer(mut self) -> Result<ToWorker, HostError> {
        let answer = (&mut self.answer).await;
        answer.map_err(|_gone| HostError::new("the agent is gone"))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self
            .wire
            .waiting
            .borrow_mut()
            .remove(&self.errand)
            .is_some()
        {
            self.wire.say(ToAgent::Forget {
                errand: self.errand,
            });
        }
    }
}
