//! A module, loaded and answering.

mod budget;
mod engine;
mod invocation;
mod sending;
mod shared;
mod waiting;

use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::error::{Poison, WorkerError};
use crate::host::Host;
use crate::message::{Body, RequestHead, ResponseHead};
use crate::module::Module;
use engine::Engine;
use invocation::Invocation;
pub(crate) use invocation::{Answer, Source};
pub(crate) use shared::Shared;
pub(crate) use waiting::Use;

/// A module with its own heap. Not `Send`: it stays in the `LocalSet` that it was made in.
pub struct Isolate {
    engine: Rc<Engine>,
}

/// What a module finds on `env`, whatever it is called for.
#[derive(Debug, Clone)]
pub struct Bindings {
    /// Plain values.
    pub vars: Map<String, Value>,
    /// Secrets that sign without being seen, by the name of their binding.
    pub secrets: Vec<String>,
    /// Small maps whose entries expire, by the name of their binding.
    pub caches: Vec<String>,
    /// The export that answers; `default` unless the service says otherwise.
    pub entrypoint: String,
}

/// One request to answer.
#[derive(Debug)]
pub struct Call {
    /// The caller's number of it; [`Host`] functions are given it back.
    pub number: u64,
    /// The request.
    pub request: RequestHead,
    /// Its content.
    pub body: Body,
    /// What it has on `env` besides the bindings.
    pub env: Env,
}

/// What a call has on `env` besides the bindings; wins over them.
#[derive(Debug, Clone)]
pub struct Env {
    /// The same number stands for the same values, which are then made once per isolate; 0 are
    /// those of one call alone.
    pub number: u64,
    /// An object, as JSON.
    pub values: Arc<str>,
    /// Whether `url` is there too: the one that the call is for.
    pub has_own_url: bool,
}

/// One tunnel to decide about.
#[derive(Debug)]
pub struct Tunnel {
    /// The caller's number of it; [`Host`] functions are given it back.
    pub number: u64,
    /// The name or address that the workload asked for.
    pub host: String,
    /// The port that it asked for.
    pub port: u16,
    /// What it sends.
    pub body: Body,
    /// What it has on `env` besides the bindings.
    pub env: Env,
}

/// What a `connect` handler wants to become of a tunnel.
#[derive(Debug)]
pub enum Decision {
    /// It is refused.
    Refuse {
        /// For the operator; may be empty.
        reason: String,
    },
    /// It goes on, to where it wanted or elsewhere.
    Forward {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// The module itself answers with these bytes.
    Answer(Body),
}

/// What a module gave for a request, and what goes on behind it.
#[derive(Debug)]
pub struct Reply {
    /// What it gave.
    pub given: Given,
    /// Tells when the invocation is over.
    pub rest: Rest,
}

/// What a module gave for a request.
#[derive(Debug)]
pub enum Given {
    /// A response.
    Response(ResponseHead, Body),
    /// A request whose response is the module's, unseen: what its `fetch` gave is what it gave,
    /// and no code of it waits for the same.
    Fetch(RequestHead, Body),
    /// As [`Given::Fetch`], and the request is the one that it was called with, as it came.
    Pass(Body),
}

/// What lives on after a response. Dropping it ends nothing.
#[derive(Debug)]
pub struct Rest(oneshot::Receiver<Usage>);

/// What an invocation came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Processor time spent in the engine.
    pub cpu: Duration,
    /// From its request until nothing of it was left.
    pub wall: Duration,
    /// `waitUntil` tasks and bodies that were cut before their end.
    pub cut: u32,
}

impl Isolate {
    /// Whether something that the module exports decides about tunnels.
    pub(crate) fn has_connect(&self) -> bool {
        self.engine.has_connect
    }

    /// Evaluates a module with these bindings.
    ///
    /// # Errors
    ///
    /// When it does not load, throws, or exceeds its limits.
    pub fn new(
        module: &Module,
        bindings: &Bindings,
        host: Rc<dyn Host>,
    ) -> Result<Self, WorkerError> {
        let shared = Rc::new(Shared::new(host, module.limits()));
        let engine = Engine::new(module, bindings, shared)?;
        Ok(Self { engine })
    }

    /// Has the module answer a request. Dropping the future ends the invocation.
    ///
    /// # Errors
    ///
    /// When there is no response: see [`WorkerError`].
    pub async fn fetch(&self, call: Call) -> Result<Reply, WorkerError> {
        let answer = self.invoke(call.number, |number| self.engine.dispatch(number, call));
        match answer.await? {
            (Answer::Given(given), rest) => Ok(Reply { given, rest }),
            (Answer::Tunnel(_), _rest) => Err(WorkerError::NoHandler { handler: "fetch" }),
        }
    }

    /// Has the module decide about a tunnel. Dropping the future ends the invocation.
    ///
    /// # Errors
    ///
    /// When there is no decision: [`WorkerError::NoHandler`] where the module has no `connect`
    /// handler, or any other.
    pub async fn connect(&self, tunnel: Tunnel) -> Result<(Decision, Rest), WorkerError> {
        let answer = self.invoke(tunnel.number, |number| self.engine.tunnel(number, tunnel));
        match answer.await? {
            (Answer::Tunnel(decision), rest) => Ok((decision, rest)),
            (Answer::Given(_), _rest) => Err(WorkerError::NoHandler { handler: "connect" }),
        }
    }

    /// Runs one invocation until it has its answer.
    async fn invoke(
        &self,
        call: u64,
        begin: impl FnOnce(u32),
    ) -> Result<(Answer, Rest), WorkerError> {
        let shared = &self.engine.shared;
        if let Some(poison) = shared.poison.get() {
            return Err(WorkerError::Poisoned(poison));
        }
        let (sender, receiver) = oneshot::channel();
        let number = shared.number();
        let mut invocation = Invocation::new(call);
        invocation.reply = Some(sender);
        shared.invocations.borrow_mut().insert(number, invocation);
        let mut guard = EndOnDrop {
            shared: shared.clone(),
            number: Some(number),
        };
        begin(number);
        let answered = async {
            match shared.limits.wall {
                None => Ok(receiver.await),
                Some(wall) => tokio::time::timeout(wall, receiver).await,
            }
        };
        match answered.await {
            Ok(Ok(Ok(answer))) => {
                guard.number = None;
                self.bound_rest(number);
                Ok(answer)
            }
            Ok(Ok(Err(error))) => Err(error),
            Ok(Err(_ended)) => Err(WorkerError::NeverSettled),
            Err(_elapsed) => Err(WorkerError::Timeout),
        }
    }

    /// Why this isolate can no longer be used, if so.
    #[must_use]
    pub fn poisoned(&self) -> Option<Poison> {
        self.engine.shared.poison.get()
    }

    /// Invocations that are not over, those that have their response already included.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.engine.shared.invocations.borrow().len()
    }

    /// Ends all that is under way; gives how many `waitUntil` tasks and bodies that cut.
    pub fn cut(&self) -> u32 {
        let shared = &self.engine.shared;
        let numbers: Vec<u32> = shared.invocations.borrow().keys().copied().collect();
        numbers.into_iter().map(|number| shared.end(number)).sum()
    }

    /// Bytes of the engine's heap in use. Walks the heap: for the operator, not per request.
    #[must_use]
    pub fn heap_bytes(&self) -> u64 {
        self.engine.heap_bytes()
    }

    /// Frees what only cycles keep alive: for an isolate that has nothing to do.
    pub fn collect(&self) {
        self.engine.collect();
    }

    /// What lives on after a response lives on for so long and no longer.
    fn bound_rest(&self, number: u32) {
        let shared = &self.engine.shared;
        let until = Instant::now() + shared.limits.wait_until;
        let lives_on = shared.with(number, |it| it.until = Some(until)).is_some();
        if lives_on && !shared.is_bounding.replace(true) {
            tokio::task::spawn_local(bound(Rc::downgrade(shared)));
        }
    }
}

/// Ends in time what lives on, until nothing does.
async fn bound(isolate: Weak<Shared>) {
    let next = |shared: &Shared| {
        let invocations = shared.invocations.borrow();
        let earliest = invocations
            .iter()
            .filter_map(|(number, it)| Some((it.until?, *number)));
        earliest.min()
    };
    while let Some(shared) = isolate.upgrade() {
        let Some((until, number)) = next(&shared) else {
            shared.is_bounding.set(false);
            return;
        };
        if until <= Instant::now() {
            shared.release_all(number);
            shared.with(number, |it| it.until = None);
            continue;
        }
        drop(shared);
        tokio::time::sleep_until(until.into()).await;
    }
}

impl Drop for Isolate {
    fn drop(&mut self) {
        self.cut();
    }
}

impl Default for Env {
    fn default() -> Self {
        Self {
            number: 0,
            values: "{}".into(),
            has_own_url: false,
        }
    }
}

impl From<Map<String, Value>> for Env {
    fn from(values: Map<String, Value>) -> Self {
        Self {
            values: Value::Object(values).to_string().into(),
            ..Self::default()
        }
    }
}

impl Rest {
    /// What the invocation came to, where nothing of it is left.
    ///
    /// # Errors
    ///
    /// Gives itself back where something is.
    pub fn if_finished(mut self) -> Result<Usage, Self> {
        match self.0.try_recv() {
            Ok(usage) => Ok(usage),
            Err(oneshot::error::TryRecvError::Closed) => Ok(Usage::default()),
            Err(oneshot::error::TryRecvError::Empty) => Err(self),
        }
    }

    /// Waits until nothing of the invocation is left.
    pub async fn finished(self) -> Usage {
        self.0.await.unwrap_or_default()
    }
}

impl Default for Bindings {
    fn default() -> Self {
        Self {
            vars: Map::new(),
            secrets: Vec::new(),
            caches: Vec::new(),
            entrypoint: "default".to_owned(),
        }
    }
}

impl Bindings {
    fn to_json(&self) -> String {
        let fields = [
            ("vars", Value::Object(self.vars.clone())),
            ("secrets", Value::from(self.secrets.clone())),
            ("caches", Value::from(self.caches.clone())),
        ];
        let object: Map<_, _> = fields
            .map(|(name, value)| (name.to_owned(), value))
            .into_iter()
            .collect();
        Value::Object(object).to_string()
    }
}

/// A caller that goes away takes its invocation with it.
struct EndOnDrop {
    shared: Rc<Shared>,
    number: Option<u32>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.shared.end(number);
        }
    }
}

#[cfg(test)]
mod tests;
