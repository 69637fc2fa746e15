//! A host whose origins answer with what they were asked, and an isolate in it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::task::LocalSet;

use crate::{
    Bindings, Body, Call, Decision, Env, Given, Host, HostError, Isolate, Jwt, Level, Limits,
    Local, Module, Reply, RequestHead, ResponseHead, Rest, Tunnel, WorkerError,
};

/// Processor time that no busy machine uses up.
pub(super) const AMPLE: Limits = Limits {
    cpu: Duration::from_secs(20),
    wall: Some(Duration::from_secs(60)),
    startup: Duration::from_secs(20),
    memory_bytes: 64 << 20,
    wait_until: Duration::from_secs(60),
    subrequests: 1000,
};

/// A body whose end never comes.
const ENDLESS: u64 = u64::MAX;

pub(super) struct World {
    pub(super) isolate: Isolate,
    pub(super) host: Rc<Script>,
    local: LocalSet,
    limits: Limits,
}

/// A response, wherever it is from.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) head: ResponseHead,
    pub(super) body: Body,
    pub(super) rest: Rest,
    /// Whether the module did not wait for it.
    pub(super) is_unseen: bool,
}

/// What the module did, and what it is told.
#[derive(Default)]
pub(super) struct Script {
    pub(super) requests: RefCell<Vec<(RequestHead, Option<Body>)>>,
    pub(super) console: RefCell<Vec<String>>,
    pub(super) cancelled: RefCell<Vec<u64>>,
    pub(super) signed: Cell<u32>,
    bodies: RefCell<HashMap<u64, VecDeque<Result<Bytes, HostError>>>>,
    last: Cell<u64>,
}

impl World {
    pub(super) fn new(source: &str) -> Self {
        Self::with(source, AMPLE, Bindings::default())
    }

    pub(super) fn with(source: &str, limits: Limits, bindings: Bindings) -> Self {
        let files = [("egress.js".to_owned(), source.to_owned())];
        Self::of(files, "egress.js", limits, bindings)
    }

    /// A module of these files below `tests/web`; the first is its entrypoint.
    pub(super) fn of_files(names: &[&str], limits: Limits, bindings: Bindings) -> Self {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/web/");
        let read = |name: &&str| {
            let source = std::fs::read_to_string(format!("{directory}{name}")).unwrap();
            ((*name).to_owned(), source)
        };
        Self::of(names.iter().map(read), names[0], limits, bindings)
    }

    pub(super) fn of(
        files: impl IntoIterator<Item = (String, String)>,
        entrypoint: &str,
        limits: Limits,
        bindings: Bindings,
    ) -> Self {
        let module = Module::load(files, entrypoint, limits).unwrap();
        let host = Rc::new(Script::default());
        let isolate = Isolate::new(&module, &bindings, host.clone()).unwrap();
        Self {
            isolate,
            host,
            local: LocalSet::new(),
            limits,
        }
    }

    pub(super) async fn get(&self, url: &str) -> Result<Answered, WorkerError> {
        self.send(Method::GET, url, HeaderMap::new(), Body::Empty)
            .await
    }

    pub(super) async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: Body,
    ) -> Result<Answered, WorkerError> {
        let url = url.to_owned();
        self.call(
            RequestHead {
                method,
                url,
                headers: (&headers).into(),
            },
            body,
            Map::new(),
        )
        .await
    }

    pub(super) async fn call(
        &self,
        request: RequestHead,
        body: Body,
        env: Map<String, Value>,
    ) -> Result<Answered, WorkerError> {
        let own = request.clone();
        let call = Call {
            number: 7,
            request,
            body,
            env: env.into(),
        };
        let Reply { given, rest } = self.local.run_until(self.isolate.fetch(call)).await?;
        let (head, body, is_unseen) = match given {
            Given::Response(head, body) => (head, body, false),
            Given::Fetch(head, body) => self.fetch(head, body).await?,
            Given::Pass(body) => self.fetch(own, body).await?,
        };
        Ok(Answered {
            head,
            body,
            rest,
            is_unseen,
        })
    }

    /// What is given unseen is had by whoever called.
    async fn fetch(
        &self,
        head: RequestHead,
        body: Body,
    ) -> Result<(ResponseHead, Body, bool), WorkerError> {
        let fetched =
            tokio::time::timeout(self.limits.wall.unwrap(), self.host.fetch(7, head, body));
        let fetched = self.local.run_until(fetched).await;
        let fetched = fetched.map_err(|_elapsed| WorkerError::Timeout)?;
        let (head, body) = fetched.map_err(|error| WorkerError::Exception {
            message: format!("TypeError: {error}"),
            stack: String::new(),
        })?;
        Ok((head, body, true))
    }

    pub(super) async fn connect(&self, body: Body) -> Result<Decision, WorkerError> {
        let tunnel = Tunnel {
            number: 7,
            host: "db.test".to_owned(),
            port: 5432,
            body,
            env: Env::default(),
        };
        let decided = self.local.run_until(self.isolate.connect(tunnel)).await;
        decided.map(|(decision, _rest)| decision)
    }

    /// The text of a successful answer to `GET https://api.test/`.
    pub(super) async fn answer(&self) -> String {
        let reply = self.get("https://api.test/").await.unwrap();
        self.text(reply.body).await
    }

    /// All of a body; `Err` is how it was cut.
    pub(super) async fn read(&self, body: Body) -> Result<Vec<u8>, String> {
        let reading = async {
            let mut all = Vec::new();
            match body {
                Body::Empty => {}
                Body::Bytes(bytes) => all.extend(bytes),
                Body::Handle(number) => {
                    while let Some(chunk) = self.host.read(number).await.map_err(|e| e.message)? {
                        all.extend(chunk);
                    }
                }
                Body::Stream(mut chunks) => {
                    while let Some(chunk) = chunks.next().await {
                        all.extend(chunk.map_err(|error| error.to_string())?);
                    }
                }
            }
            Ok(all)
        };
        self.local.run_until(reading).await
    }

    pub(super) async fn text(&self, body: Body) -> String {
        String::from_utf8(self.read(body).await.unwrap()).unwrap()
    }

    /// Runs what is under way until `done`.
    pub(super) async fn until(&self, done: impl Fn() -> bool) {
        let waiting = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let waiting = tokio::time::timeout(Duration::from_secs(20), waiting);
        self.local.run_until(waiting).await.unwrap();
    }
}

impl Script {
    /// A body of the host, in these chunks.
    pub(super) fn body(&self, chunks: impl IntoIterator<Item = Result<Bytes, HostError>>) -> u64 {
        self.last.set(self.last.get() + 1);
        let chunks = chunks.into_iter().collect();
        self.bodies.borrow_mut().insert(self.last.get(), chunks);
        self.last.get()
    }

    /// What an origin answers; its name chooses.
    fn origin(&self, head: &RequestHead) -> Result<(ResponseHead, Body), HostError> {
        let (scheme_and_host, path) = head.url.split_at(head.url.find('/').map_or(0, |at| {
            head.url[at + 2..]
                .find('/')
                .map_or(head.url.len(), |end| at + 2 + end)
        }));
        let mut headers = HeaderMap::new();
        let mut status = StatusCode::OK;
        let text = format!("answer to {} {}", head.method, head.url);
        let mut body = Body::Handle(self.body([Ok(Bytes::from(text))]));
        match scheme_and_host {
            "https://down.test" => return Err(HostError::new("connection refused")),
            "https://moved.test" => {
                let (code, location) = path[1..].split_once('/').unwrap();
                headers.insert("location", location.parse().unwrap());
                status = code.parse().unwrap();
            }
            "https://chunks.test" => {
                body = Body::Handle(self.body(["a", "b", "c"].map(|c| Ok(Bytes::from(c)))));
            }
            "https://endless.test" => body = Body::Handle(ENDLESS),
            "https://cut.test" => {
                let chunks = [
                    Ok(Bytes::from("part")),
                    Err(HostError::new("reset by peer")),
                ];
                body = Body::Handle(self.body(chunks));
            }
            "https://cookies.test" => {
                for (name, value) in [
                    ("set-cookie", "a=1"),
                    ("set-cookie", "b=2"),
                    ("x-many", "1"),
                    ("x-many", "2"),
                ] {
                    headers.append(name, value.parse().unwrap());
                }
            }
            "https://json.test" => {
                body = Body::Handle(self.body([Ok(Bytes::from(json!({"a": [1, 2]}).to_string()))]));
            }
            _echo => {}
        }
        let response = ResponseHead {
            status,
            status_text: None,
            headers: (&headers).into(),
        };
        Ok((response, body))
    }
}

impl Host for Script {
    fn fetch(
        &self,
        _call: u64,
        head: RequestHead,
        body: Body,
    ) -> Local<Result<(ResponseHead, Body), HostError>> {
        let response = self.origin(&head);
        let hangs = head.url.starts_with("https://hangs.test");
        let slow = head.url.starts_with("https://slow.test");
        self.requests.borrow_mut().push((head, Some(body)));
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            if slow {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            response
        })
    }

    fn read(&self, handle: u64) -> Local<Result<Option<Bytes>, HostError>> {
        let chunk = self
            .bodies
            .borrow_mut()
            .get_mut(&handle)
            .and_then(VecDeque::pop_front);
        let hangs = chunk.is_none() && handle == ENDLESS;
        Box::pin(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            chunk.transpose()
        })
    }

    fn cancel(&self, handle: u64) {
        self.cancelled.borrow_mut().push(handle);
    }

    fn console(&self, _call: u64, _level: Level, text: &str) {
        self.console.borrow_mut().push(text.to_owned());
    }

    fn sign_jwt(
        &self,
        secret: &str,
        claims: Value,
        expires_in: Option<Duration>,
    ) -> Local<Result<Jwt, HostError>> {
        self.signed.set(self.signed.get() + 1);
        let token = format!("{secret}.{claims}.{expires_in:?}");
        Box::pin(async move {
            Ok(Jwt {
                token,
                reusable: Duration::from_secs(60),
            })
        })
    }
}
