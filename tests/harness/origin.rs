//! Scripted upstreams on loopback.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::spawn;
use crate::tls::Identity;

/// A request as an origin saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The version of HTTP.
    pub version: Version,
    /// The method.
    pub method: Method,
    /// The target as on the wire.
    pub target: Uri,
    /// Every field.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// A server that a test has scripted; it ends with the test.
#[derive(Debug)]
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<Seen>>>,
    serving: JoinHandle<()>,
}

impl Origin {
    /// Answers every request with `200` and `hello`.
    pub async fn http() -> Self {
        Self::answering(|_seen| Response::new(Full::from("hello"))).await
    }

    /// Answers every request as `answer` says.
    pub async fn answering<A>(answer: A) -> Self
    where
        A: Fn(&Seen) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    {
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = Arc::clone(&seen);
        let mut origin =
            Self::raw(move |stream| serve(stream, answer.clone(), Arc::clone(&kept))).await;
        origin.seen = seen;
        origin
    }

    /// Answers `200` and `hello` inside TLS, in one of these protocols.
    pub async fn https(identity: &Identity, alpn: &[&str]) -> Self {
        Self::https_answering(identity, alpn, |_seen| Response::new(Full::from("hello"))).await
    }

    /// Answers as `answer` says inside TLS, in one of these protocols.
    pub async fn https_answering<A>(identity: &Identity, alpn: &[&str], answer: A) -> Self
    where
        A: Fn(&Seen) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
    {
        let acceptor = identity.acceptor(alpn);
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let kept = Arc::clone(&seen);
        let mut origin = Self::raw(move |stream| {
            let (acceptor, answer, kept) = (acceptor.clone(), answer.clone(), Arc::clone(&kept));
            async move {
                // A handshake that the other side breaks off is what some tests want.
                if let Ok(stream) = acceptor.accept(stream).await {
                    serve(stream, answer, kept).await;
                }
            }
        })
        .await;
        origin.seen = seen;
        origin
    }

    /// Hands every connection to `serve`.
    pub async fn raw<S, F>(serve: S) -> Self
    where
        S: Fn(TcpStream) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let serving = spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                drop(spawn(serve(stream)));
            }
        });
        Self {
            address,
            connections,
            seen: Arc::default(),
            serving,
        }
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Serves one connection in whichever version of HTTP it speaks.
async fn serve<S, A>(stream: S, answer: A, kept: Arc<Mutex<Vec<Seen>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Fn(&Seen) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let (answer, kept) = (answer.clone(), Arc::clone(&kept));
        async move {
            let (head, body) = request.into_parts();
            let body = body
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            let seen = Seen {
                version: head.version,
                method: head.method,
                target: head.uri,
                headers: head.headers,
                body,
            };
            let response = answer(&seen);
            kept.lock().unwrap().push(seen);
            Ok::<_, Infallible>(response)
        }
    });
    // A workload that goes away is no failure of the origin.
    drop(
        auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await,
    );
}
