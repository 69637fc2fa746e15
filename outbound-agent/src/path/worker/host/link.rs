//! The agent's side of one running worker: calls under way, bodies by number, errands.

mod answered;
mod body;
mod calling;
mod errand;
mod held;
mod introduced;
mod kept;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Uri};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

pub(super) use self::answered::Answered;
use self::calling::Calling;
use self::held::Held;
pub(in crate::path::worker) use self::introduced::Caller;
use self::introduced::Introduced;
use super::super::{Errands, Failure, Used};
use super::message::{
    Call, Content, Handlers, Piece, RequestHead, ToAgent, ToWorker, Tunnel, Usage,
};
use super::secrets::Secrets;
use crate::drain::Tasks;
use crate::model::reason::Reason;
use crate::model::tenant::TenantId;
use crate::path::http::body::Source;

/// One running worker, until it is dead.
pub(super) struct Link {
    service: Arc<str>,
    secrets: Arc<Secrets>,
    outbox: UnboundedSender<ToWorker>,
    tasks: Tasks,
    last: AtomicU64,
    loaded: UnboundedSender<Result<Handlers, String>>,
    isolates: AtomicU64,
    introduced: Mutex<Introduced>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: HashMap<u64, Pending>,
    bodies: HashMap<u64, Held>,
    heads: HashMap<u64, HeaderMap>,
    /// Dropped, an errand ends.
    errands: HashMap<u64, oneshot::Sender<()>>,
    streams: HashMap<u64, UnboundedSender<Piece>>,
    /// The ping that was not answered yet, and since when.
    pinged: Option<(u64, Instant)>,
    is_dead: bool,
}

/// A call that is under way, its response may have begun.
struct Pending {
    tenant: TenantId,
    errands: Arc<dyn Errands>,
    began: Instant,
    /// Its request as it came, where it has one: method, URL, and the number of its head.
    asked: Option<(Method, Uri, u64)>,
    /// The number of its body, where it has one.
    body: Option<u64>,
    /// The numbers of its bodies and heads.
    held: Vec<u64>,
    reply: Option<oneshot::Sender<Result<Answered, Failure>>>,
    /// Dropped when nothing of it is left.
    over: Option<oneshot::Sender<()>>,
}

impl Link {
    /// A link, and what tells how modules load.
    pub(super) fn new(
        service: Arc<str>,
        secrets: Arc<Secrets>,
        outbox: UnboundedSender<ToWorker>,
        tasks: Tasks,
    ) -> (Arc<Self>, UnboundedReceiver<Result<Handlers, String>>) {
        let (loaded, loads) = unbounded_channel();
        let link = Arc::new(Self {
            service,
            secrets,
            outbox,
            tasks,
            last: AtomicU64::new(0),
            loaded,
            isolates: AtomicU64::new(0),
            introduced: Mutex::default(),
            state: Mutex::default(),
        });
        (link, loads)
    }

    pub(super) fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn say(&self, message: ToWorker) {
        // A worker that is gone is told of by the end of its messages.
        let _sent = self.outbox.send(message);
    }

    /// Sends a request and waits for the head of its response.
    pub(super) async fn call(
        self: &Arc<Self>,
        request: Request<Source>,
        from: &Caller<'_>,
        errands: Arc<dyn Errands>,
    ) -> Result<Answered, Failure> {
        let (head, source) = request.into_parts();
        self.ask(
            from,
            errands,
            source,
            |link, (state, pending), number, from, content| {
                let (kept, fields) = link.keep((state, pending), head.headers);
                let message = ToWorker::Call(Call {
                    number,
                    from,
                    head: RequestHead {
                        method: head.method.as_str().to_owned(),
                        url: head.uri.to_string(),
                        fields,
                    },
                    content,
                });
                pending.asked = Some((head.method, head.uri, kept));
                message
            },
        )
        .await
    }

    /// Asks about a tunnel.
    pub(super) async fn tunnel(
        self: &Arc<Self>,
        (host, port): (String, u16),
        source: Source,
        from: &Caller<'_>,
        errands: Arc<dyn Errands>,
    ) -> Result<Answered, Failure> {
        self.ask(
            from,
            errands,
            source,
            |_link, _pending, number, from, content| {
                ToWorker::Tunnel(Tunnel {
                    number,
                    from,
                    host,
                    port,
                    content,
                })
            },
        )
        .await
    }

    async fn ask(
        self: &Arc<Self>,
        from: &Caller<'_>,
        errands: Arc<dyn Errands>,
        source: Source,
        message: impl FnOnce(&Self, (&mut State, &mut Pending), u64, u64, Content) -> ToWorker,
    ) -> Result<Answered, Failure> {
        let number = self.number();
        let (reply, replied) = oneshot::channel();
        let mut pending = Pending {
            tenant: from.tenant.id.clone(),
            errands,
            began: Instant::now(),
            asked: None,
            body: None,
            held: Vec::new(),
            reply: Some(reply),
            over: None,
        };
        let introduction = self.introduce(from);
        {
            let mut state = self.state();
            if state.is_dead {
                drop(state);
                return Err(Failure {
                    unused: Some(source),
                    ..died()
                });
            }
            let content = self.hold(&mut state, (number, &mut pending.held), source);
            if let Content::Handle(handle) = content {
                pending.body = Some(handle);
            }
            let both = (&mut *state, &mut pending);
            self.say(message(self, both, number, introduction.number, content));
            state.calls.insert(number, pending);
        }
        let mut calling = Calling {
            link: Arc::clone(self),
            number,
            is_answered: false,
        };
        let replied = replied.await.unwrap_or_else(|_gone| Err(died()));
        calling.is_answered = true;
        replied
    }

    /// Takes one message of the worker's.
    pub(super) fn take(self: &Arc<Self>, message: ToAgent) {
        match message {
            ToAgent::Loaded(result) => drop(self.loaded.send(result)),
            ToAgent::Answer { call, result, over } => {
                self.answer(call, result, over.is_none());
                if let Some(usage) = over {
                    self.over(call, usage);
                }
            }
            ToAgent::Over { call, usage } => self.over(call, usage),
            ToAgent::Fetch {
                errand,
                call,
                head,
                content,
            } => self.run(errand, call, head, content),
            ToAgent::Read { errand, handle } => self.read(errand, handle),
            ToAgent::Cancel { handle } => self.cancel(handle),
            ToAgent::Sign {
                errand,
                secret,
                claims,
                expires_in_ms,
            } => {
                let result = self.secrets.sign(&secret, &claims, expires_in_ms);
                self.say(ToWorker::Signed { errand, result });
            }
            ToAgent::Forget { errand } => drop(self.state().errands.remove(&errand)),
            ToAgent::Console { call, level, text } => self.print(call, level, &text),
            ToAgent::Piece { stream, piece } => {
                if let Some(reader) = self.state().streams.get(&stream) {
                    // A reader that is gone has said so.
                    let _sent = reader.send(piece);
                }
            }
            ToAgent::Isolates(count) => self.isolates.store(count, Ordering::Relaxed),
            ToAgent::Pong(number) => {
                self.state().pinged.take_if(|(pinged, _)| *pinged == number);
            }
        }
    }

    /// Fails everything that is under way.
    pub(super) fn die(&self) {
        let mut state = self.state();
        state.is_dead = true;
        let ended = (
            std::mem::take(&mut state.calls),
            std::mem::take(&mut state.heads),
            std::mem::take(&mut state.bodies),
            std::mem::take(&mut state.errands),
            std::mem::take(&mut state.streams),
        );
        drop(state);
        drop(ended);
    }

    /// Isolates that there are, and calls that live on after their answer.
    pub(super) fn counts(&self) -> (u64, usize) {
        let state = self.state();
        let answered = state.calls.values().filter(|call| call.reply.is_none());
        (self.isolates.load(Ordering::Relaxed), answered.count())
    }

    /// Whether nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.state().calls.is_empty()
    }

    /// Asks whether the worker is there; gives since when it has not answered.
    pub(super) fn ping(&self) -> Option<Instant> {
        let mut state = self.state();
        if let Some((_, since)) = state.pinged {
            return Some(since);
        }
        let number = self.number();
        state.pinged = Some((number, Instant::now()));
        drop(state);
        self.say(ToWorker::Ping(number));
        None
    }

    fn number(&self) -> u64 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets a call and all that it had.
    fn over(&self, call: u64, usage: Usage) {
        if usage.cut > 0 {
            let (service, cut) = (&*self.service, usage.cut);
            tracing::warn!(service, cut, "outbound worker's tasks cut");
        }
        let mut state = self.state();
        let Some(ended) = state.calls.remove(&call) else {
            return;
        };
        let mut bodies = Vec::new();
        for number in &ended.held {
            if state.heads.remove(number).is_none() {
                bodies.extend(state.bodies.remove(number));
            }
        }
        drop(state);
        for body in bodies {
            self.give_up(body);
        }
        ended.errands.over(Used {
            cpu: Duration::from_micros(usage.cpu_us),
            wall: ended.began.elapsed(),
            cut: usage.cut,
        });
        if let Some(over) = ended.over {
            let _sent = over.send(());
        }
    }
}

fn no_head() -> Failure {
    Failure::new(Reason::WorkerException, "the head that was given is none")
}

fn died() -> Failure {
    Failure::new(Reason::WorkerDied, "the worker's process is gone")
}
