//! A module run once, without an agent: for its author, who sees all that it did.

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use outbound_javascript::{
    Bindings, Body, Call, Fields, Given, Host, HostError, Isolate, Jwt, Level, Limits, Local,
    Module, RequestHead, ResponseHead, WorkerError,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::Serialize;
use serde_json::Value;
use tokio::task::LocalSet;

use super::files::Watched;
use super::secrets::Secrets;
use crate::model::secret::Secret;
use crate::model::worker::Values;

/// What is tried.
#[derive(Debug)]
pub struct Trial {
    /// The module's file.
    pub main: PathBuf,
    /// The export that answers; the default one where it is `None`.
    pub entrypoint: Option<String>,
    /// The method of the tenant's request.
    pub method: Method,
    /// Its absolute URL.
    pub url: String,
    /// Its fields.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// What is on `env` besides secrets and caches.
    pub env: Values,
    /// Names of secrets. They sign with a key that is made up.
    pub secrets: Vec<String>,
    /// Names of caches.
    pub caches: Vec<String>,
    /// What fetches are answered.
    pub answers: Vec<Canned>,
    /// Whether a fetch that has no answer fails, instead of being answered with nothing.
    pub refuses_others: bool,
}

/// What fetches of URLs that begin so are answered.
#[derive(Clone, Debug)]
pub struct Canned {
    /// The beginning.
    pub url: String,
    /// The status.
    pub status: StatusCode,
    /// The body.
    pub body: Bytes,
}

/// All that the module did.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// Lines of `console`, in order.
    pub console: Vec<Line>,
    /// Requests that it made, in order.
    pub fetches: Vec<Fetched>,
    /// Its response, if it gave one.
    pub response: Option<Responded>,
    /// Why it gave none.
    pub error: Option<String>,
    /// Tasks of `waitUntil` and bodies that were cut before their end.
    pub cut: u32,
    /// Time on a processor, in milliseconds.
    pub cpu_ms: f64,
    /// From the request until nothing of it was left, in milliseconds.
    pub wall_ms: f64,
    /// The engine's heap afterwards.
    pub heap_bytes: u64,
}

/// A line of `console`.
#[derive(Debug, Serialize)]
pub struct Line {
    /// `debug`, `info`, `warn` or `error`.
    pub level: &'static str,
    /// What it says.
    pub text: String,
}

/// A request that the module made.
#[derive(Debug, Serialize)]
pub struct Fetched {
    /// Its method.
    pub method: String,
    /// Its URL.
    pub url: String,
    /// Its fields, as the module set them.
    pub headers: Vec<(String, String)>,
    /// Its body, where the module wrote one; what is no text is shown as such.
    pub body: Option<String>,
    /// What it was answered; nothing where it was refused.
    pub status: Option<u16>,
}

/// The module's response.
#[derive(Debug, Serialize)]
pub struct Responded {
    /// Its status.
    pub status: u16,
    /// Its fields.
    pub headers: Vec<(String, String)>,
    /// Its body; what is no text is shown as such.
    pub body: String,
}

/// Runs the module.
///
/// # Errors
///
/// Where its files cannot be read. What is amiss in them is part of the report.
pub async fn run(trial: Trial) -> std::io::Result<Report> {
    let (files, main) = Watched::new(trial.main.clone()).read()?;
    let stub = Rc::new(Stub::new(&trial)?);
    let local = LocalSet::new();
    let began = Instant::now();
    let ended = local
        .run_until(answer(trial, files, &main, Rc::clone(&stub)))
        .await;
    let mut report = stub.report.take();
    match ended {
        Ok(ended) => {
            report.response = Some(ended.response);
            report.error = ended.error;
            report.cut = ended.used.cut;
            report.cpu_ms = 1e3 * ended.used.cpu.as_secs_f64();
            report.heap_bytes = ended.heap_bytes;
        }
        Err(error) => report.error = Some(in_words(&error)),
    }
    report.wall_ms = 1e3 * began.elapsed().as_secs_f64();
    Ok(report)
}

/// What came of an invocation that gave a response.
struct Ended {
    response: Responded,
    /// Why its body was cut, if it was.
    error: Option<String>,
    used: outbound_javascript::Usage,
    heap_bytes: u64,
}

async fn answer(
    trial: Trial,
    files: Vec<(String, String)>,
    main: &str,
    stub: Rc<Stub>,
) -> Result<Ended, WorkerError> {
    let module = Module::load(files, main, Limits::default())?;
    let mut bindings = Bindings {
        secrets: trial.secrets,
        caches: trial.caches,
        ..Bindings::default()
    };
    if let Some(entrypoint) = trial.entrypoint {
        bindings.entrypoint = entrypoint;
    }
    let isolate = Isolate::new(&module, &bindings, stub.clone())?;
    let own = RequestHead {
        method: trial.method,
        url: trial.url,
        headers: (&trial.headers).into(),
    };
    let body = match trial.body.is_empty() {
        true => Body::Empty,
        false => Body::Bytes(trial.body),
    };
    let reply = isolate
        .fetch(Call {
            number: 1,
            request: own.clone(),
            body,
            env: trial.env.into(),
        })
        .await?;
    let (head, body) = match reply.given {
        Given::Response(head, body) => (head, body),
        Given::Fetch(head, body) => fetch(&stub, head, body).await?,
        Given::Pass(body) => fetch(&stub, own, body).await?,
    };
    let (body, error) = read(body).await;
    let used = reply.rest.finished().await;
    Ok(Ended {
        response: Responded {
            status: head.status.as_u16(),
            headers: shown(&head.headers),
            body,
        },
        error,
        used,
        heap_bytes: isolate.heap_bytes(),
    })
}

/// What the module gives without having seen it.
async fn fetch(
    stub: &Stub,
    head: RequestHead,
    body: Body,
) -> Result<(ResponseHead, Body), WorkerError> {
    let fetched = stub.fetch(1, head, body).await;
    fetched.map_err(|error| WorkerError::Exception {
        message: format!("TypeError: {error}"),
        stack: String::new(),
    })
}

/// A body as text, and why there is no more of it.
async fn read(body: Body) -> (String, Option<String>) {
    match body {
        Body::Empty | Body::Handle(_) => (String::new(), None),
        Body::Bytes(bytes) => (text(&bytes), None),
        Body::Stream(mut chunks) => {
            let mut all = Vec::new();
            loop {
                match chunks.next().await {
                    None => return (text(&all), None),
                    Some(Ok(chunk)) => all.extend_from_slice(&chunk),
                    Some(Err(error)) => return (text(&all), Some(error.to_string())),
                }
            }
        }
    }
}

fn text(bytes: &[u8]) -> String {
    std::str::from_utf8(bytes).map_or_else(
        |_binary| format!("[{} bytes that are no text]", bytes.len()),
        str::to_owned,
    )
}

fn shown(fields: &Fields) -> Vec<(String, String)> {
    let headers = fields.to_map().unwrap_or_default();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    };
    headers.iter().map(field).collect()
}

/// An error and where it happened.
fn in_words(error: &WorkerError) -> String {
    match error {
        WorkerError::Exception { stack, .. } if !stack.is_empty() => format!("{error}\n{stack}"),
        _ => error.to_string(),
    }
}

/// The world of a module that is tried: it writes down what is asked of it.
struct Stub {
    report: RefCell<Report>,
    answers: Vec<Canned>,
    refuses_others: bool,
    secrets: Secrets,
}

impl Stub {
    fn new(trial: &Trial) -> std::io::Result<Self> {
        let mut key = [0; 32];
        let filled = SystemRandom::new().fill(&mut key);
        filled.map_err(|_unspecified| std::io::Error::other("no randomness to be had"))?;
        let key = key.map(|octet| char::from(b'a' + octet % 26));
        let secret = |name: &String| {
            let key: String = key.iter().collect();
            (name.as_str().into(), Secret::new(key.into_bytes()))
        };
        let secrets: Vec<(Box<str>, Secret)> = trial.secrets.iter().map(secret).collect();
        Ok(Self {
            report: RefCell::default(),
            answers: trial.answers.clone(),
            refuses_others: trial.refuses_others,
            secrets: Secrets::new(&secrets),
        })
    }
}

impl Host for Stub {
    fn fetch(
        &self,
        _call: u64,
        head: RequestHead,
        body: Body,
    ) -> Local<Result<(ResponseHead, Body), HostError>> {
        let answer = self
            .answers
            .iter()
            .find(|canned| head.url.starts_with(&canned.url));
        let answer = match answer {
            Some(canned) => Some((canned.status, canned.body.clone())),
            None if self.refuses_others => None,
            None => Some((StatusCode::OK, Bytes::new())),
        };
        let body = match body {
            Body::Empty | Body::Handle(_) => None,
            Body::Bytes(bytes) => Some(text(&bytes)),
            Body::Stream(_) => Some("[a stream]".to_owned()),
        };
        let url = head.url.clone();
        self.report.borrow_mut().fetches.push(Fetched {
            method: head.method.to_string(),
            url: head.url,
            headers: shown(&head.headers),
            body,
            status: answer.as_ref().map(|(status, _)| status.as_u16()),
        });
        Box::pin(async move {
            let (status, body) =
                answer.ok_or_else(|| HostError::new(format!("{url}: refused by the test")))?;
            let head = ResponseHead {
                status,
                status_text: None,
                headers: Fields::default(),
            };
            Ok((head, Body::Bytes(body)))
        })
    }

    fn read(&self, _handle: u64) -> Local<Result<Option<Bytes>, HostError>> {
        Box::pin(async { Ok(None) })
    }

    fn cancel(&self, _handle: u64) {}

    fn console(&self, _call: u64, level: Level, text: &str) {
        let level = match level {
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let text = text.to_owned();
        self.report.borrow_mut().console.push(Line { level, text });
    }

    fn sign_jwt(
        &self,
        secret: &str,
        claims: Value,
        expires_in: Option<Duration>,
    ) -> Local<Result<Jwt, HostError>> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let signed = self
            .secrets
            .sign(secret, &claims.to_string(), expires_in.map(millis));
        Box::pin(async move {
            let (token, reusable) = signed.map_err(HostError::new)?;
            let reusable = Duration::from_millis(reusable);
            Ok(Jwt { token, reusable })
        })
    }
}
