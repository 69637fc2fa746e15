//! The agent's side of one running worker: calls under way, bodies by number, errands.

mod body;
mod calling;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::{Request, Response, StatusCode, Uri};
use http_body::Body as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use self::body::{Unfinished, Written, next_octets};
use self::calling::Calling;
use super::super::{Errands, Failure};
use super::message::{Content, Fault, Octets, Piece, RequestHead, ResponseHead, ToAgent, ToWorker};
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    calls: HashMap<u64, Pending>,
    bodies: HashMap<u64, Held>,
    /// Dropped, an errand ends.
    errands: HashMap<u64, oneshot::Sender<()>>,
    streams: HashMap<u64, UnboundedSender<Piece>>,
    loaded: Option<Result<(), String>>,
    /// The ping that was not answered yet, and since when.
    pinged: Option<(u64, Instant)>,
    is_dead: bool,
}

/// A call that is under way, its response may have begun.
struct Pending {
    tenant: TenantId,
    errands: Arc<dyn Errands>,
    /// The number of its body, where it has one.
    body: Option<u64>,
    reply: Option<oneshot::Sender<Result<Response<Source>, Failure>>>,
    /// Dropped when nothing of it is left.
    over: oneshot::Sender<()>,
}

/// A body of a call; away while a piece of it is read.
struct Held {
    call: u64,
    source: Option<Source>,
}

impl Link {
    pub(super) fn new(
        service: Arc<str>,
        secrets: Arc<Secrets>,
        outbox: UnboundedSender<ToWorker>,
        tasks: Tasks,
    ) -> Arc<Self> {
        Arc::new(Self {
            service,
            secrets,
            outbox,
            tasks,
            last: AtomicU64::new(0),
            state: Mutex::default(),
        })
    }

    pub(super) fn say(&self, message: ToWorker) {
        // A worker that is gone is told of by the end of its messages.
        let _sent = self.outbox.send(message);
    }

    /// Sends a call and waits for the head of its response.
    pub(super) async fn call(
        self: &Arc<Self>,
        mut call: super::message::Call,
        source: Source,
        tenant: &TenantId,
        errands: Arc<dyn Errands>,
    ) -> Result<Response<Source>, Failure> {
        let number = self.number();
        let (reply, replied) = oneshot::channel();
        let (over, ended) = oneshot::channel::<()>();
        let content = {
            let mut state = self.state();
            if state.is_dead {
                drop(state);
                return Err(Failure {
                    unused: Some(source),
                    ..died()
                });
            }
            let content = self.hold(&mut state, number, source);
            let pending = Pending {
                tenant: tenant.clone(),
                errands,
                body: match content {
                    Content::Handle(handle) => Some(handle),
                    Content::Empty | Content::Whole(_) | Content::Stream(_) => None,
                },
                reply: Some(reply),
                over,
            };
            state.calls.insert(number, pending);
            content
        };
        call.number = number;
        call.content = content;
        let mut calling = Calling {
            link: Arc::clone(self),
            number,
            is_answered: false,
        };
        self.say(ToWorker::Call(call));
        // What lives on after the response is waited for by a drain.
        self.tasks.spawn("worker", async move { drop(ended.await) });
        let replied = replied.await.unwrap_or_else(|_gone| Err(died()));
        calling.is_answered = true;
        replied
    }

    /// Takes one message of the worker's.
    pub(super) fn take(self: &Arc<Self>, message: ToAgent) {
        match message {
            ToAgent::Loaded(result) => self.state().loaded = Some(result),
            ToAgent::Answer { call, result } => self.answer(call, result),
            ToAgent::Over { call, cut } => {
                if cut > 0 {
                    tracing::warn!(service = &*self.service, cut, "outbound worker's tasks cut");
                }
                self.over(call);
            }
            ToAgent::Fetch {
                errand,
                call,
                head,
                content,
            } => self.run(errand, call, head, content),
            ToAgent::Read { errand, handle } => self.read(errand, handle),
            ToAgent::Cancel { handle } => drop(self.take_body(handle)),
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
            ToAgent::Pong(number) => {
                self.state().pinged.take_if(|(pinged, _)| *pinged == number);
            }
        }
    }

    /// Gives a call its response. Whose body it is is settled here: with the message that follows
    /// all that is left of the call is forgotten.
    fn answer(
        self: &Arc<Self>,
        call: u64,
        result: Result<(ResponseHead, Content), (Fault, String)>,
    ) {
        let pending = self
            .state()
            .calls
            .get_mut(&call)
            .and_then(|call| Some((call.reply.take()?, call.body)));
        let Some((reply, body)) = pending else { return };
        let result = match result {
            Ok((head, content)) => self.response(head, content),
            Err((fault, text)) => Err(Failure {
                unused: body.and_then(|body| self.take_body(body)),
                ..Failure::new(fault.reason(), text)
            }),
        };
        // The tenant may have gone.
        let _sent = reply.send(result);
    }

    /// Fails everything that is under way.
    pub(super) fn die(&self) {
        let mut state = self.state();
        state.is_dead = true;
        let ended = (
            std::mem::take(&mut state.calls),
            std::mem::take(&mut state.bodies),
            std::mem::take(&mut state.errands),
            std::mem::take(&mut state.streams),
        );
        drop(state);
        drop(ended);
    }

    /// How the module that was sent last loads, once that is known.
    pub(super) fn take_loaded(&self) -> Option<Result<(), String>> {
        self.state().loaded.take()
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

    /// Keeps a body for the worker, by number.
    fn hold(&self, state: &mut State, call: u64, source: Source) -> Content {
        if source.is_end_stream() {
            return Content::Empty;
        }
        let number = self.number();
        let source = Some(source);
        state.bodies.insert(number, Held { call, source });
        Content::Handle(number)
    }

    fn take_body(&self, handle: u64) -> Option<Source> {
        self.state().bodies.remove(&handle)?.source
    }

    /// Forgets a call and all that it had.
    fn over(&self, call: u64) {
        let mut state = self.state();
        let ended = state.calls.remove(&call);
        let bodies = state.bodies.extract_if(|_, held| held.call == call);
        let bodies: Vec<_> = bodies.collect();
        drop(state);
        drop(bodies);
        if let Some(ended) = ended {
            let _sent = ended.over.send(());
        }
    }

    /// The body that the worker names.
    fn source(self: &Arc<Self>, content: Content) -> Source {
        match content {
            Content::Empty => Source::empty(),
            Content::Whole(Octets(octets)) => Source::Whole(octets),
            Content::Handle(handle) => self
                .take_body(handle)
                .unwrap_or_else(|| Source::Made(Box::pin(Unfinished))),
            Content::Stream(stream) => {
                let (pieces, reader) = unbounded_channel();
                self.state().streams.insert(stream, pieces);
                Source::Made(Box::pin(Written::new(Arc::clone(self), stream, reader)))
            }
        }
    }

    fn response(
        self: &Arc<Self>,
        head: ResponseHead,
        content: Content,
    ) -> Result<Response<Source>, Failure> {
        let wrong = || Failure::new(Reason::WorkerException, "the response's head is none");
        let mut response = Response::new(self.source(content));
        let status = StatusCode::from_u16(head.status);
        *response.status_mut() = status.map_err(|_invalid| wrong())?;
        *response.headers_mut() = head.headers.into_map().ok_or_else(wrong)?;
        Ok(response)
    }

    /// Runs an errand until it is done or nobody waits for it.
    fn run(self: &Arc<Self>, errand: u64, call: u64, head: RequestHead, content: Content) {
        let (cancel, cancelled) = oneshot::channel();
        let errands = {
            let mut state = self.state();
            let errands = state.calls.get(&call).map(|call| Arc::clone(&call.errands));
            state.errands.insert(errand, cancel);
            errands
        };
        let request = request(head, self.source(content));
        let link = Arc::clone(self);
        self.tasks.spawn("worker errand", async move {
            let fetched = async {
                let errands = errands.ok_or("its invocation is over")?;
                let request = request.ok_or("the request's head is none")?;
                let fetched = errands.fetch(request).await;
                fetched.map_err(|error| error.message)
            };
            let fetched = tokio::select! {
                biased; // What nobody waits for is given up.
                _ = cancelled => return,
                fetched = fetched => fetched,
            };
            let result = fetched.map(|response| {
                let (head, body) = response.into_parts();
                let head = ResponseHead {
                    status: head.status.as_u16(),
                    headers: (&head.headers).into(),
                };
                let mut state = link.state();
                let content = link.hold(&mut state, call, body);
                (head, content)
            });
            link.state().errands.remove(&errand);
            link.say(ToWorker::Fetched { errand, result });
        });
    }

    /// Reads one piece of a body.
    fn read(self: &Arc<Self>, errand: u64, handle: u64) {
        let taken = self
            .state()
            .bodies
            .get_mut(&handle)
            .and_then(|held| held.source.take());
        let Some(mut source) = taken else {
            let result = Err("the body is gone".to_owned());
            return self.say(ToWorker::Chunk { errand, result });
        };
        let link = Arc::clone(self);
        self.tasks.spawn("worker body", async move {
            let result = next_octets(&mut source).await;
            let is_over = !matches!(result, Ok(Some(_)));
            {
                let mut state = link.state();
                match state.bodies.get_mut(&handle) {
                    Some(held) if !is_over => held.source = Some(source),
                    Some(_) => drop(state.bodies.remove(&handle)),
                    // Cancelled meanwhile.
                    None => {}
                }
            }
            let result = result.map(|octets| octets.map(Octets));
            let result = result.map_err(|error| error.to_string());
            link.say(ToWorker::Chunk { errand, result });
        });
    }

    /// `console`, for the operator.
    fn print(&self, call: u64, level: u8, text: &str) {
        let tenant = self
            .state()
            .calls
            .get(&call)
            .map(|call| call.tenant.to_string());
        let (service, tenant) = (&*self.service, tenant.unwrap_or_default());
        match level {
            0 => tracing::debug!(service, tenant, text, "console"),
            1 => tracing::info!(service, tenant, text, "console"),
            2 => tracing::warn!(service, tenant, text, "console"),
            _ => tracing::error!(service, tenant, text, "console"),
        }
    }
}

fn died() -> Failure {
    Failure::new(Reason::WorkerDied, "the worker's process is gone")
}

fn request(head: RequestHead, source: Source) -> Option<Request<Source>> {
    let mut request = Request::new(source);
    *request.method_mut() = head.method.parse().ok()?;
    *request.uri_mut() = Uri::try_from(head.url).ok()?;
    *request.headers_mut() = head.headers.into_map()?;
    Some(request)
}
