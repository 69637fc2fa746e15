//! Stage 5, `http`: one connection's requests, one after the other.
//!
//! Takes the workload's bytes, gives each request to the story of the exchange and writes back
//! what that returns. Bodies stream; nothing is read ahead of what the other side takes.

pub mod guard;
mod resets;
pub mod interim;
pub mod body;
pub mod filter;
pub mod headers;
pub mod normalize;
pub mod reply;
pub mod upgrade;
pub mod websocket;

use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use self::body::Body;
use self::guard::Guard;
use self::resets::Resets;
use crate::drain::Tasks;
use crate::model::reason::{Ending, Reason};
use crate::model::stop::{Stop, Waits};

/// A request whose body is still to come.
pub type Asking = Request<Incoming>;
/// An upstream's response whose body is still to come.
pub type Answering = Response<Incoming>;

/// What a connection may ask of the agent.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the whole head of a request, from when the connection could take it.
    pub request_header: Duration,
    /// Between two pieces of a body.
    pub body_idle: Duration,
    /// For an upstream's `100 (Continue)`.
    pub expect_continue: Duration,
    /// Size of a request's head.
    pub header_bytes: usize,
    /// Number of header fields.
    pub headers: usize,
    /// Requests at once on one HTTP/2 connection.
    pub http2_streams: usize,
    /// For the answer to a ping while requests are under way, from when it is due.
    pub dead_peer: Duration,
}

/// Serves HTTP/1.x on `io` until the workload, the drain or `stop` ends it. A connection on which
/// at least one request was answered and that then goes quiet has completed.
pub async fn serve<S, H, F>(
    io: S,
    limits: Limits,
    (tasks, stop): (&Tasks, &Stop),
    handle: H,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Asking) -> F,
    F: Future<Output = Response<Body>>,
{
    let (io, watch) = Guard::new(
        io,
        guard::Limits {
            header_bytes: limits.header_bytes,
            headers: limits.headers,
        },
    );
    let asked = AtomicU64::new(0);
    let service = service_fn(|mut request| {
        watch.mark(asked.fetch_add(1, Ordering::Relaxed), &mut request);
        let is_connect = request.method() == Method::CONNECT;
        let handled = handle(request);
        let watch = watch.clone();
        async move {
            let response = handled.await;
            let status = response.status();
            let is_open = is_connect && status.is_success();
            watch.answered(is_open || status == StatusCode::SWITCHING_PROTOCOLS);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_header)
        .max_headers(limits.headers)
        .max_header_size(limits.header_bytes)
        .preserve_header_case(true)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(io), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let served = tokio::select! {
        biased; // An answer that is ready goes out before the connection is told to end.
        served = connection.as_mut() => served,
        () = told_to_end(tasks, stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if served.is_ok() && watch.ended_midway() {
        return Ending::of(Reason::DownstreamAborted);
    }
    ending(served, asked.load(Ordering::Relaxed) > 0)
}

/// Serves HTTP/2 on `io`, each request in a task of its own. `refused` is told of what is no
/// request (RFC 9113 section 8.1.1) and is reset before anybody sees it.
pub async fn serve_http2<S, R, H, F>(
    io: S,
    limits: Limits,
    (tasks, stop): (&Tasks, &Stop),
    refused: R,
    handle: H,
) -> Ending
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    R: Fn(Reason) + Unpin,
    H: Fn(Asking) -> F,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        asked.store(true, Ordering::Relaxed);
        let handled = handle(request);
        async { Ok::<_, Infallible>(handled.await) }
    });
    let connection = http2::Builder::new(tasks.clone())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(u32::try_from(limits.http2_streams).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.dead_peer / 2)
        .keep_alive_timeout(limits.dead_peer / 2)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .auto_date_header(false)
        .enable_connect_protocol()
        .serve_connection(TokioIo::new(Resets::new(io, refused)), service);
    let mut connection = pin!(connection);
    let served = tokio::select! {
        biased; // As above.
        served = connection.as_mut() => served,
        () = told_to_end(tasks, stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    ending(served, asked.load(Ordering::Relaxed))
}

/// Returns once nothing new is to be taken.
async fn told_to_end(tasks: &Tasks, stop: &Stop) {
    tokio::select! {
        () = tasks.draining() => {}
        _reason = stop.wait(Waits::Whole) => {}
    }
}

fn ending(served: Result<(), hyper::Error>, has_asked: bool) -> Ending {
    match served {
        Ok(()) => Ending::COMPLETED,
        Err(error) if error.is_timeout() && has_asked => Ending::COMPLETED,
        Err(error) => Ending::of(reason(&error)),
    }
}

fn reason(error: &hyper::Error) -> Reason {
    if error.is_timeout() {
        Reason::DownstreamTimeout
    } else if error.is_parse() {
        Reason::Malformed
    } else {
        Reason::DownstreamAborted
    }
}

/// What a peer may send on one HTTP/2 stream before it is read.
pub const STREAM_WINDOW: u32 = 1024 * 1024;
/// As [`STREAM_WINDOW`], of all streams of a connection. h2 ends a connection on which more small
/// frames wait than half of this would hold, counted with their price in memory: about 130 of them
/// where the window is the protocol's own, and streams of small messages break.
pub const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
