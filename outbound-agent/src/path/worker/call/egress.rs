//! Where workers that are servers send their requests: back to the agent, so that names, TLS,
//! policy and credentials are what they are for a module's `fetch`.
//!
//! It listens on loopback and does nothing for who does not name an invocation that is under
//! way; the name is a secret between the agent and that worker.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use super::super::{Errands, NotFetched, REQUEST};
use super::sign::hex;
use super::{INVOCATION, URL, forget_agent_fields};
use crate::drain::Tasks;
use crate::path::http::body::Source;

/// The listener.
pub(in super::super) struct Egress {
    address: SocketAddr,
    under_way: UnderWay,
    random: SystemRandom,
}

/// An invocation that is under way, until it is dropped.
pub(super) struct Pass {
    token: Box<str>,
    address: SocketAddr,
    under_way: UnderWay,
}

#[derive(Clone, Default)]
struct UnderWay(Arc<Invocations>);

#[derive(Default)]
struct Invocations {
    by_token: Mutex<HashMap<Box<str>, Arc<dyn Errands>>>,
    /// Told of each that ends.
    ended: Notify,
}

/// What is said to the agent and not to the server beyond it (RFC 9110 section 7.6.1).
const OF_THIS_HOP: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// How long to wait where no connection can be taken.
const RETRY: Duration = Duration::from_millis(50);

/// No name could be made.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
pub(super) struct NoRandomness;

impl Egress {
    /// Listens. Must be called within a runtime.
    pub(in super::super) fn start(tasks: &Tasks) -> io::Result<Self> {
        let listener = StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let under_way = UnderWay::default();
        let served = serve(listener, under_way.clone(), tasks.clone());
        tasks.spawn("worker egress", served);
        Ok(Self {
            address,
            under_way,
            random: SystemRandom::new(),
        })
    }

    pub(in super::super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets an invocation's errands in.
    pub(super) fn admit(&self, errands: Arc<dyn Errands>) -> Result<Pass, NoRandomness> {
        let mut token = [0; 16];
        self.random
            .fill(&mut token)
            .map_err(|_unspecified| NoRandomness)?;
        let token: Box<str> = hex(&token).into();
        self.under_way.lock().insert(token.clone(), errands);
        Ok(Pass {
            token,
            address: self.address,
            under_way: self.under_way.clone(),
        })
    }
}

impl Pass {
    /// Its name.
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Where its requests go.
    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.under_way.lock().remove(&self.token);
        self.under_way.0.ended.notify_waiters();
    }
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<dyn Errands>>> {
        let by_token = self.0.by_token.lock();
        by_token.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the agent drains and nothing is under way that may need it.
    async fn over(&self, tasks: &Tasks) {
        tasks.draining().await;
        loop {
            let mut ended = pin!(self.0.ended.notified());
            ended.as_mut().enable();
            if self.lock().is_empty() {
                return;
            }
            ended.await;
        }
    }

    /// Takes the agent's words out of the header, and runs the errand that they tell of.
    async fn run(&self, mut request: Request<Incoming>) -> Response<Source> {
        let Some(errands) = self.named_by(request.headers()) else {
            let text = "no invocation of this name is under way\n";
            return reply(StatusCode::FORBIDDEN, text.to_owned());
        };
        let url = request.headers().get(URL).map(|url| url.as_bytes());
        let url = url.and_then(|url| Uri::try_from(url).ok());
        let Some(url) = url.filter(|url| url.authority().is_some()) else {
            let text = format!("{URL} has to be an absolute URL\n");
            return reply(StatusCode::BAD_REQUEST, text);
        };
        *request.uri_mut() = url;
        let headers = request.headers_mut();
        let mark = headers.remove(REQUEST);
        forget_agent_fields(headers);
        headers.extend(mark.map(|mark| (REQUEST, mark)));
        for name in OF_THIS_HOP {
            headers.remove(name);
        }
        let fetched = errands.fetch(request.map(Source::from)).await;
        fetched.unwrap_or_else(|error| not_fetched(&error))
    }

    fn named_by(&self, headers: &HeaderMap) -> Option<Arc<dyn Errands>> {
        let token = headers.get(INVOCATION)?.to_str().ok()?;
        self.lock().get(token).map(Arc::clone)
    }
}

async fn serve(listener: TcpListener, under_way: UnderWay, tasks: Tasks) {
    let mut over = pin!(under_way.over(&tasks));
    loop {
        let accepted = tokio::select! {
            biased; // What is over takes nothing more.
            () = over.as_mut() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _peer)) => {
                // A body that follows its head is not to wait; one that does is no worse off.
                let _set = stream.set_nodelay(true);
                let served = converse(stream, under_way.clone(), tasks.clone());
                tasks.spawn("worker egress connection", served);
            }
            // Out of descriptors: that passes.
            Err(_error) => tokio::time::sleep(RETRY).await,
        }
    }
}

async fn converse(stream: TcpStream, under_way: UnderWay, tasks: Tasks) {
    let asked = under_way.clone();
    let service = service_fn(move |request| {
        let under_way = asked.clone();
        async move { Ok::<_, Infallible>(under_way.run(request).await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .preserve_header_case(true)
            .serve_connection(TokioIo::new(stream), service)
    );
    // What goes wrong here the worker sees as well.
    tokio::select! {
        biased; // An answer that is ready goes out before the connection is told to end.
        served = connection.as_mut() => drop(served),
        () = under_way.over(&tasks) => {
            connection.as_mut().graceful_shutdown();
            drop(connection.await);
        }
    }
}

fn not_fetched(error: &NotFetched) -> Response<Source> {
    let mut response = reply(StatusCode::BAD_GATEWAY, format!("{error}\n"));
    if let Some(reason) = error.reason {
        let reason = http::HeaderValue::from_static(reason.label());
        let name = crate::path::http::reply::OUTBOUND_REASON;
        response.headers_mut().insert(name, reason);
    }
    response
}

fn reply(status: StatusCode, text: String) -> Response<Source> {
    let mut response = Response::new(Source::Whole(Bytes::from(text)));
    *response.status_mut() = status;
    response
}
