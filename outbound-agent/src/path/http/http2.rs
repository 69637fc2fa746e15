//! HTTP/2: many requests at once on one connection, each in a task of its own.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::timeout;

use super::body::{self, Body};
use super::guard::Refused;
use super::resets::Resets;
use super::{Asking, Limits};
use crate::drain::Tasks;
use crate::model::reason::{Ending, Reason};
use crate::model::stop::Stop;

/// Serves HTTP/2 on `io` until the workload, the drain or `stop` ends it, or nothing is asked for
/// as long as a request may take to be. `refused` is told of what is no request (RFC 9113 section 8.1.1)
/// and is reset before anybody sees it.
pub async fn serve<S, R, H, F>(
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
    let (asked, under_way) = (AtomicBool::new(false), UnderWay::default());
    let service = service_fn(|mut request| {
        asked.store(true, Ordering::Relaxed);
        let place = under_way.begin();
        receive(&mut request, limits);
        let handled = handle(request);
        async move {
            let response = handled.await;
            Ok::<_, Infallible>(response.map(|body| Answer {
                body,
                _place: place,
            }))
        }
    });
    let io = TokioIo::new(Resets::new(io, refused));
    let connection = builder(limits, tasks).serve_connection(io, service);
    let mut connection = pin!(connection);
    let quiet = || under_way.quiet(limits.request_header);
    let mut is_quiet = false;
    let served = tokio::select! {
        biased; // An answer that is ready goes out before the connection is told to end.
        served = connection.as_mut() => served,
        () = super::told_to_end(tasks, stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = quiet() => {
            is_quiet = true;
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased; // As above.
                served = connection => served,
                // Whoever does not take leave is not waited for either.
                () = quiet() => Ok(()),
            }
        }
    };
    match served {
        Ok(()) if is_quiet && !asked.load(Ordering::Relaxed) => {
            Ending::of(Reason::RequestHeaderTimeout)
        }
        Ok(()) => Ending::COMPLETED,
        Err(error) if error.is_timeout() => Ending::of(Reason::DownstreamDead),
        Err(error) => Ending::of(super::reason(&error)),
    }
}

fn builder(limits: Limits, tasks: &Tasks) -> http2::Builder<Tasks> {
    let header_bytes = u32::try_from(limits.header_bytes).unwrap_or(u32::MAX);
    let mut builder = http2::Builder::new(tasks.clone());
    builder
        .timer(TokioTimer::new())
        // h2 answers what is larger itself, and tells nobody; so it gets room, and what is not
        // absurd is judged here.
        .max_header_list_size(header_bytes.saturating_mul(4))
        .max_concurrent_streams(u32::try_from(limits.http2_streams).unwrap_or(u32::MAX))
        .keep_alive_interval(limits.dead_peer / 2)
        .keep_alive_timeout(limits.dead_peer / 2)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .auto_date_header(false)
        .enable_connect_protocol();
    builder
}

/// Makes of a request what one of HTTP/1 would be: a cookie in one piece (RFC 9113 section
/// 8.2.3), and refused where its header is larger than the limits allow.
fn receive<B>(request: &mut Request<B>, limits: Limits) {
    let headers = request.headers_mut();
    let size = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    if headers.len() > limits.headers
        || headers.iter().map(size).sum::<usize>() > limits.header_bytes
    {
        let refused = Refused {
            reason: Reason::HeaderTooLarge,
            has_line: true,
        };
        request.extensions_mut().insert(refused);
        return;
    }
    join_cookies(headers);
}

fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = headers
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() < 2 {
        return;
    }
    if let Ok(mut whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        whole.set_sensitive(headers.get(COOKIE).is_some_and(HeaderValue::is_sensitive));
        headers.insert(COOKIE, whole);
    }
}

/// The requests of a connection that are not answered to their end.
#[derive(Debug, Default)]
struct UnderWay(Arc<watch::Sender<usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
struct Place(Arc<watch::Sender<usize>>);

impl UnderWay {
    fn begin(&self) -> Place {
        self.0.send_modify(|requests| *requests += 1);
        Place(Arc::clone(&self.0))
    }

    /// Returns once there has been none for so long.
    async fn quiet(&self, long: Duration) {
        let mut requests = self.0.subscribe();
        loop {
            let is_busy = *requests.borrow_and_update() > 0;
            let changed = requests.changed();
            if is_busy {
                // Its sender is here.
                drop(changed.await);
            } else if timeout(long, changed).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.send_modify(|requests| *requests -= 1);
    }
}

/// A response's body, with which its request's place ends.
struct Answer {
    body: Body,
    _place: Place,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = body::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, body::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What a peer may send on one HTTP/2 stream before it is read.
pub const STREAM_WINDOW: u32 = 1024 * 1024;
/// As [`STREAM_WINDOW`], of all streams of a connection. h2 ends a connection on which more small
/// frames wait than half of this would hold, counted with their price in memory: about 130 of them
/// where the window is the protocol's own, and streams of small messages break.
pub const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_one_field_and_stays_where_it_was() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("a", "1"),
            ("cookie", "b=2"),
            ("c", "3"),
            ("cookie", "d=4; e=5"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        join_cookies(&mut headers);
        let fields: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        assert_eq!(
            fields,
            [("a", "1"), ("cookie", "b=2; d=4; e=5"), ("c", "3")]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_quiet_once_nothing_was_under_way_for_so_long() {
        let under_way = UnderWay::default();
        let long = Duration::from_secs(10);
        let mut quiet = pin!(under_way.quiet(long));
        let place = under_way.begin();
        let half = || {
            timeout(
                long / 2 + Duration::from_millis(1),
                std::future::pending::<()>(),
            )
        };
        for _ in 0..5 {
            assert!(timeout(long / 2, quiet.as_mut()).await.is_err());
        }
        drop(place);
        assert!(timeout(long / 2, quiet.as_mut()).await.is_err());
        drop(under_way.begin());
        assert!(timeout(long / 2, quiet.as_mut()).await.is_err());
        drop(half().await);
        assert!(timeout(Duration::ZERO, quiet.as_mut()).await.is_ok());
    }
}
