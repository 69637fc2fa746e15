//! Stage 9b, `tunnel`: bytes that the agent does not read, copied both ways and counted.
//!
//! Takes both ends after the permit was spent. Each direction ends by itself (half-close is
//! passed on); an error in one direction ends both. Ends too when both have been idle too long.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::model::reason::{Ending, Reason};
use crate::model::stop::Waits;
use crate::model::traffic::{Pace, Traffic};
use crate::path::http::body::{Error, Source};

/// Copies until both directions have ended, one fails, it is told to stop, or nothing moved for
/// `idle`.
pub async fn relay<D, U>(
    downstream: D,
    upstream: U,
    traffic: &impl Traffic,
    idle: Duration,
) -> Ending
where
    D: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let (from_workload, to_workload) = tokio::io::split(downstream);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let both = async {
        let sending = pump(from_workload, to_upstream, |bytes| {
            traffic.count_sent(bytes);
            traffic.pace_sent()
        });
        let receiving = pump(from_upstream, to_workload, |bytes| {
            traffic.count_received(bytes);
            traffic.pace_received()
        });
        tokio::try_join!(
            async {
                sending
                    .await
                    .map_err(|broken| broken.reason(Peer::Workload, Peer::Upstream))
            },
            async {
                receiving
                    .await
                    .map_err(|broken| broken.reason(Peer::Upstream, Peer::Workload))
            },
        )
    };
    tokio::select! {
        biased; // What has ended by itself did not time out.
        ended = both => match ended {
            Ok(_) => Ending::COMPLETED,
            Err(reason) => Ending::of(reason),
        },
        reason = poll_fn(|cx| traffic.poll_stopped(Waits::Whole, cx)) => Ending::of(reason),
        () = idle_for(traffic, idle) => Ending::of(Reason::TunnelIdleTimeout),
    }
}

/// What the workload of a tunnel sends, as a body that is fed by whoever has the workload.
pub struct Pieces {
    to: mpsc::Sender<Bytes>,
    ended: Arc<AtomicBool>,
}

/// The body.
struct Sent {
    from: mpsc::Receiver<Bytes>,
    ended: Arc<AtomicBool>,
}

impl Pieces {
    /// A body, and what feeds it.
    pub fn new() -> (impl Body<Data = Bytes, Error = Error> + Send, Self) {
        let (to, from) = mpsc::channel(1);
        let ended = Arc::<AtomicBool>::default();
        let body = Sent {
            from,
            ended: Arc::clone(&ended),
        };
        (body, Self { to, ended })
    }
}

impl Body for Sent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let piece = std::task::ready!(self.from.poll_recv(cx));
        Poll::Ready(match piece {
            Some(piece) => Some(Ok(Frame::data(piece))),
            None if self.ended.load(Ordering::Acquire) => None,
            None => Some(Err(Error::Unfinished)),
        })
    }
}

/// Carries bytes between a workload and a body that answers it, as [`relay`] does between two
/// streams. What the answer leaves unread of the workload's bytes does not hold it up.
pub async fn answer<D>(
    downstream: D,
    (pieces, answer): (Pieces, Source),
    traffic: &impl Traffic,
    idle: Duration,
) -> Ending
where
    D: AsyncRead + AsyncWrite + Unpin,
{
    let (from_workload, to_workload) = tokio::io::split(downstream);
    let feeding = feed(from_workload, pieces, traffic);
    let answering = drink(answer, to_workload, traffic);
    tokio::select! {
        biased; // The answer's end is the tunnel's.
        ended = answering => ended,
        reason = feeding => Ending::of(reason),
        reason = poll_fn(|cx| traffic.poll_stopped(Waits::Whole, cx)) => Ending::of(reason),
        () = idle_for(traffic, idle) => Ending::of(Reason::TunnelIdleTimeout),
    }
}

/// Gives what the workload sends to the body, and does not come back from its proper end.
async fn feed<R>(mut from: R, pieces: Pieces, traffic: &impl Traffic) -> Reason
where
    R: AsyncRead + Unpin,
{
    let Pieces { to, ended } = pieces;
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(PIECE);
        match from.read_buf(&mut buffer).await {
            Ok(0) => break,
            Ok(length) => {
                traffic.count_sent(length);
                match traffic.pace_sent() {
                    Pace::Go => {}
                    Pace::Wait(wait) => tokio::time::sleep(wait).await,
                    Pace::Stop(reason) => return reason,
                }
                // A body that nobody reads any more takes nothing, and that is no fault.
                drop(to.send(buffer.split().freeze()).await);
            }
            Err(_error) => return Reason::DownstreamAborted,
        }
    }
    ended.store(true, Ordering::Release);
    drop(to);
    std::future::pending().await
}

async fn drink<W>(mut answer: Source, mut to: W, traffic: &impl Traffic) -> Ending
where
    W: AsyncWrite + Unpin,
{
    loop {
        let frame = poll_fn(|cx| Pin::new(&mut answer).poll_frame(cx)).await;
        let data = match frame.transpose() {
            Ok(frame) => frame.map(Frame::into_data),
            Err(_cut) => return Ending::of(Reason::WorkerException),
        };
        match data {
            None => {
                drop(to.shutdown().await);
                return Ending::COMPLETED;
            }
            Some(Err(_trailers)) => {}
            Some(Ok(data)) => {
                if to.write_all(&data).await.is_err() {
                    return Ending::of(Reason::DownstreamAborted);
                }
                traffic.count_received(data.len());
                match traffic.pace_received() {
                    Pace::Go => {}
                    Pace::Wait(wait) => tokio::time::sleep(wait).await,
                    Pace::Stop(reason) => return Ending::of(reason),
                }
            }
        }
    }
}

/// Which half of a copy failed, and how.
#[derive(Clone, Copy)]
enum Broken {
    Read(ErrorKind),
    Write(ErrorKind),
    /// Neither: a limit of the tenant.
    Limit(Reason),
}

/// Who is at one end.
#[derive(Clone, Copy)]
enum Peer {
    Workload,
    Upstream,
}

impl Broken {
    /// Of a copy that goes `from` one `to` the other.
    const fn reason(self, from: Peer, to: Peer) -> Reason {
        let (peer, kind) = match self {
            Self::Limit(limit) => return limit,
            Self::Read(kind) => (from, kind),
            Self::Write(kind) => (to, kind),
        };
        match (peer, kind) {
            (Peer::Workload, ErrorKind::TimedOut) => Reason::DownstreamDead,
            (Peer::Workload, _) => Reason::DownstreamAborted,
            (Peer::Upstream, ErrorKind::TimedOut) => Reason::UpstreamDead,
            (Peer::Upstream, _) => Reason::UpstreamReset,
        }
    }
}

async fn pump<R, W>(mut from: R, mut to: W, count: impl Fn(usize) -> Pace) -> Result<(), Broken>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(length) => length,
            // Many end TLS without saying so (RFC 8446 section 6.1). What is inside has an end of
            // its own, such as WebSocket's.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => 0,
            Err(error) => return Err(Broken::Read(error.kind())),
        };
        if length == 0 {
            // A peer that is gone already needs no end of stream.
            drop(to.shutdown().await);
            return Ok(());
        }
        to.write_all(&buffer[..length])
            .await
            .map_err(|error| Broken::Write(error.kind()))?;
        match count(length) {
            Pace::Go => {}
            Pace::Wait(wait) => tokio::time::sleep(wait).await,
            Pace::Stop(reason) => return Err(Broken::Limit(reason)),
        }
    }
}

/// Returns once the counts have stood still for `idle`.
async fn idle_for(traffic: &impl Traffic, idle: Duration) {
    let moved = || traffic.passed();
    loop {
        let before = moved();
        sleep_until(Instant::now() + idle).await;
        if moved() == before {
            return;
        }
    }
}

const BUFFER: usize = 64 * 1024;
/// What is read at once of a workload that a worker answers.
const PIECE: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use tokio::io::duplex;

    use super::*;
    use crate::model::reason::Outcome;

    #[derive(Default)]
    struct Counts {
        sent: AtomicU64,
        received: AtomicU64,
    }

    impl Traffic for Counts {
        fn count_sent(&self, bytes: usize) {
            self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
        }

        fn count_received(&self, bytes: usize) {
            self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        }

        fn passed(&self) -> u64 {
            self.sent.load(Ordering::Relaxed) + self.received.load(Ordering::Relaxed)
        }
    }

    const LONG: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn half_close_is_passed_on_and_bytes_are_counted() {
        let ((mut workload, downstream), (upstream, mut server)) = (duplex(64), duplex(64));
        let traffic = Counts::default();
        let relayed = async { relay(downstream, upstream, &traffic, LONG).await };
        let talk = async {
            workload.write_all(b"ping").await.unwrap();
            workload.shutdown().await.unwrap();
            let mut asked = Vec::new();
            server.read_to_end(&mut asked).await.unwrap();
            server.write_all(b"pong!").await.unwrap();
            drop(server);
            let mut answered = Vec::new();
            workload.read_to_end(&mut answered).await.unwrap();
            (asked, answered)
        };
        let (ending, (asked, answered)) = tokio::join!(relayed, talk);
        assert_eq!(
            (asked.as_slice(), answered.as_slice()),
            (&b"ping"[..], &b"pong!"[..])
        );
        assert_eq!(ending, Ending::COMPLETED);
        assert_eq!(traffic.sent.into_inner(), 4);
        assert_eq!(traffic.received.into_inner(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_tunnel_that_moves_nothing_times_out() {
        let ((_workload, downstream), (upstream, _server)) = (duplex(64), duplex(64));
        let ending = relay(downstream, upstream, &Counts::default(), LONG).await;
        assert_eq!(ending.outcome, Outcome::TimedOut);
    }
}
