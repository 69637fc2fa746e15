//! A web site in a host's namespace: HTTP/1 and HTTP/2, with TLS on 443 and without on 80, so
//! that a test sees what real clients asked for.
//!
//! A path says what is answered: `/bytes/N` that many octets, of which `Range` may choose; `/sink`
//! how long the body was; `/echo` the body as it comes, and its length in the trailer `x-length`;
//! `/publish/WORD` notes a word; `/poll/N` waits for the word of that number; `/events` streams
//! all words as Server-Sent Events; `/redirect` leads to `/redirected`; `/hello.json` a greeting
//! in JSON; all else one in words.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, channel};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::ORIGIN_V4;
use crate::sandbox::{Netns, eventually};
use crate::spawn;
use crate::tls::Identity;

type Answer = Response<BoxBody<Bytes, Infallible>>;

/// It ends when dropped.
#[derive(Debug)]
pub struct Site {
    notes: Arc<Notes>,
    _runtime: Runtime,
}

/// A request as the site saw it.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Whether it came inside TLS.
    pub is_secure: bool,
    /// The version of HTTP.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// The target as on the wire.
    pub target: Uri,
    /// Every field.
    pub headers: HeaderMap,
    /// The body, once it is there; of what is answered with a greeting alone.
    pub body: Bytes,
}

#[derive(Debug, Default)]
struct Notes {
    visits: Mutex<Vec<Visit>>,
    words: watch::Sender<Vec<String>>,
}

impl Site {
    pub(super) fn start(netns: &Netns, identity: &Identity) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let notes = Arc::<Notes>::default();
        let acceptor = identity.acceptor(&["h2", "http/1.1"]);
        for is_secure in [false, true] {
            let port = if is_secure { 443 } else { 80 };
            let address = SocketAddr::new(ORIGIN_V4.parse().expect("an address"), port);
            let listener = netns.enter(|| std::net::TcpListener::bind(address));
            let listener = listener.expect("the origin's address is free");
            listener.set_nonblocking(true).expect("a socket for tokio");
            let (notes, acceptor) = (Arc::clone(&notes), acceptor.clone());
            runtime.spawn(async move {
                let listener = TcpListener::from_std(listener).expect("a runtime");
                while let Ok((stream, _peer)) = listener.accept().await {
                    let (notes, acceptor) = (Arc::clone(&notes), acceptor.clone());
                    drop(spawn(async move {
                        if !is_secure {
                            return serve(stream, is_secure, notes).await;
                        }
                        // Some clients come to break the handshake off.
                        if let Ok(stream) = acceptor.accept(stream).await {
                            serve(stream, is_secure, notes).await;
                        }
                    }));
                }
            });
        }
        Self {
            notes,
            _runtime: runtime,
        }
    }

    /// Every request so far.
    pub fn visits(&self) -> Vec<Visit> {
        self.notes.visits.lock().unwrap().clone()
    }

    /// Waits for the first request for a path.
    #[track_caller]
    pub fn visit(&self, path: &str) -> Visit {
        eventually(&format!("{path} is asked for"), || {
            let visits = self.visits();
            visits.into_iter().find(|visit| visit.target.path() == path)
        })
    }
}

impl Visit {
    /// Whom it was for.
    pub fn host(&self) -> &str {
        let authority = self.target.authority().map(|authority| authority.as_str());
        authority
            .or_else(|| self.header("host"))
            .unwrap_or_default()
    }

    /// A field's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

async fn serve<S>(stream: S, is_secure: bool, notes: Arc<Notes>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let notes = Arc::clone(&notes);
        async move { Ok::<_, Infallible>(notes.answer(request, is_secure).await) }
    });
    // A client that goes away is no failure of the site.
    drop(
        auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}

impl Notes {
    async fn answer(&self, request: Request<Incoming>, is_secure: bool) -> Answer {
        let path = request.uri().path().to_owned();
        let number = self.note(Visit {
            is_secure,
            version: request.version(),
            method: request.method().clone(),
            target: request.uri().clone(),
            headers: request.headers().clone(),
            body: Bytes::new(),
        });
        let mut parts = path[1..].split('/');
        match (parts.next().unwrap_or_default(), parts.next()) {
            ("bytes", Some(length)) => octets(length.parse().unwrap_or(0), request.headers()),
            ("sink", None) => text(format!("{}\n", sink(request.into_body()).await)),
            ("echo", None) => echo(request.into_body()),
            ("publish", Some(word)) => {
                self.words.send_modify(|words| words.push(word.to_owned()));
                text("published\n".to_owned())
            }
            ("poll", Some(number)) => {
                let number = number.parse().unwrap_or(0);
                text(self.word(number).await)
            }
            ("events", None) => self.events(),
            ("redirect", None) => {
                let mut answer = text(String::new());
                *answer.status_mut() = StatusCode::FOUND;
                let target = HeaderValue::from_static("/redirected");
                answer.headers_mut().insert(header::LOCATION, target);
                answer
            }
            _ => {
                let authority = request.uri().authority().map(ToString::to_string);
                let host = request.headers().get(header::HOST);
                let host = host.and_then(|host| host.to_str().ok().map(ToOwned::to_owned));
                let host = authority.or(host).unwrap_or_default();
                if let Ok(body) = request.into_body().collect().await {
                    self.visits.lock().unwrap()[number].body = body.to_bytes();
                }
                text(match path.strip_suffix(".json") {
                    Some(_greeting) => format!("{{\"hello\":{host:?}}}\n"),
                    None => format!("hello from {host}{path}\n"),
                })
            }
        }
    }

    /// Gives its number.
    fn note(&self, visit: Visit) -> usize {
        let mut visits = self.visits.lock().unwrap();
        visits.push(visit);
        visits.len() - 1
    }

    async fn word(&self, number: usize) -> String {
        word(self.words.subscribe(), number).await
    }

    fn events(&self) -> Answer {
        let (mut sender, body) = channel::Channel::new(1);
        let words = self.words.subscribe();
        drop(spawn(async move {
            for number in 0.. {
                let event = format!("data: {}\n\n", word(words.clone(), number).await);
                if sender.send_data(event.into()).await.is_err() {
                    return;
                }
            }
        }));
        let mut answer = Response::new(body.boxed());
        let kind = HeaderValue::from_static("text/event-stream");
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
        answer
    }
}

async fn word(mut words: watch::Receiver<Vec<String>>, number: usize) -> String {
    let published = words.wait_for(|words| words.len() > number).await;
    published.map_or_else(|_over| String::new(), |words| words[number].clone())
}

fn text(body: String) -> Answer {
    Response::new(Full::from(body).boxed())
}

/// As many as are asked for, or the range of them (RFC 9110 section 14.2; its begin named).
fn octets(length: u64, headers: &HeaderMap) -> Answer {
    let range = headers.get(header::RANGE).and_then(|range| {
        let (from, to) = range
            .to_str()
            .ok()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let from: u64 = from.parse().ok()?;
        let to = if to.is_empty() {
            length.checked_sub(1)?
        } else {
            to.parse().ok()?
        };
        (from <= to && to < length).then_some((from, to))
    });
    let left = range.map_or(length, |(from, to)| to - from + 1);
    let mut answer = Response::new(stream(left));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_LENGTH, left.into());
    if let Some((from, to)) = range {
        let range = HeaderValue::from_str(&format!("bytes {from}-{to}/{length}"));
        headers.insert(header::CONTENT_RANGE, range.expect("digits"));
        *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    answer
}

fn stream(mut left: u64) -> BoxBody<Bytes, Infallible> {
    static CHUNK: [u8; 64 * 1024] = [b'o'; 64 * 1024];
    let (mut sender, body) = channel::Channel::new(1);
    drop(spawn(async move {
        while left > 0 {
            let length = left.min(CHUNK.len() as u64);
            let chunk = &CHUNK[..usize::try_from(length).expect("a chunk's length")];
            if sender.send_data(Bytes::from_static(chunk)).await.is_err() {
                return;
            }
            left -= length;
        }
    }));
    body.boxed()
}

async fn sink(mut body: Incoming) -> u64 {
    let mut received = 0;
    while let Some(Ok(frame)) = body.frame().await {
        received += frame.data_ref().map_or(0, |data| data.len() as u64);
    }
    received
}

fn echo(mut body: Incoming) -> Answer {
    let (mut sender, echoed) = channel::Channel::new(1);
    drop(spawn(async move {
        let mut length = 0;
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                length += data.len() as u64;
                if sender.send_data(data).await.is_err() {
                    return;
                }
            }
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("x-length", length.into());
        // Who does not wait for the end does not miss it.
        drop(sender.send_trailers(trailers).await);
    }));
    let mut answer = Response::new(echoed.boxed());
    let names = HeaderValue::from_static("x-length");
    answer.headers_mut().insert(header::TRAILER, names);
    answer
}
