//! Stage 9, `upstream`: the request leaves, to where its permit says and nowhere else.
//!
//! Takes a [`Permit`] with the request, gives the [`Answer`]. The permit's destination is what
//! is resolved, checked and dialled; the request's own target is never read again.
//! Connections are reused per tenant and destination, never across tenants.

mod again;
mod ahead;
pub mod dial;
mod errand;
pub mod pool;
mod reach;
mod renew;
pub mod resolve;
mod target;
pub mod tls;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::rr::RecordType;
use http::header::UPGRADE;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use self::again::again;
use self::ahead::Ahead;
use self::pool::{Idle, Key, Lease, Pool, Sender};
pub use self::reach::Aim;
use self::resolve::{Found, Resolve};
use self::tls::{Handshake, Trust, Verifier};
use super::http::body::{Outgoing, Sent};
use super::http::guard::Broken;
use super::http::{CONNECTION_WINDOW, STREAM_WINDOW};
use super::policy::{Denial, Destination, NamePermit, Permit};
use crate::drain::Tasks;
use crate::model::addr::UpstreamAddr;
use crate::model::flow::ConnectId;
use crate::model::host::Host;
use crate::model::reason::Reason;
use crate::model::target::Scheme;
use crate::model::tenant::TenantId;

/// How long to wait for an upstream.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the addresses of a name.
    pub resolve: Duration,
    /// For one connect.
    pub connect: Duration,
    /// For a sign of life of the peer's host.
    pub dead_peer: Duration,
    /// From the end of the request to the head of the response.
    pub response_header: Duration,
    /// For the whole of what the agent asks for itself.
    pub errand: Duration,
    /// Size of a response's head.
    pub header_bytes: usize,
    /// Number of its fields.
    pub headers: usize,
    /// A connection that is kept for reuse.
    pub pool_idle: Duration,
    /// How many are kept for one tenant and destination.
    pub pool_connections: usize,
}

/// The way out.
pub struct Upstream {
    resolver: ArcSwap<Box<dyn Resolve>>,
    verifier: ArcSwap<Verifier>,
    /// How often the verifier was replaced.
    era: AtomicU64,
    limits: Limits,
    agent_ports: Arc<ArcSwap<Vec<u16>>>,
    pool: Pool,
    ahead: Ahead,
    tasks: Tasks,
}

/// A response, its source, and the connection that it comes over.
pub struct Answer {
    /// The response; its body is still to come.
    pub response: Response<Incoming>,
    /// Who sent it.
    pub peer: UpstreamAddr,
    /// Give it back when the body has ended well; dropping it closes the connection.
    pub lease: Lease,
}

/// Why nothing came back.
#[derive(Debug)]
pub struct Failure {
    /// Why; with its rule, where a rule refused the address.
    pub denial: Denial,
    /// The address that was tried last.
    pub peer: Option<UpstreamAddr>,
}

impl Failure {
    fn new(reason: Reason, peer: Option<UpstreamAddr>) -> Self {
        Self {
            denial: reason.into(),
            peer,
        }
    }
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self { denial, peer: None }
    }
}

impl Upstream {
    /// `agent_ports` on loopback are never dialled.
    pub fn new(
        resolver: Box<dyn Resolve>,
        verifier: Verifier,
        limits: Limits,
        agent_ports: Arc<ArcSwap<Vec<u16>>>,
        tasks: Tasks,
    ) -> Self {
        Self {
            resolver: ArcSwap::from_pointee(resolver),
            verifier: ArcSwap::from_pointee(verifier),
            era: AtomicU64::new(0),
            limits,
            agent_ports,
            pool: Pool::new(limits.pool_idle, limits.pool_connections),
            ahead: Ahead::default(),
            tasks,
        }
    }

    /// Sends `request` under `permit`. `aim` says where the workload wanted to go: that decides
    /// as the policy says, and of several addresses it is tried first. A request is sent a second
    /// time only where a kept connection turned out to be closed: before any of it was written,
    /// or before it was answered, if it may be read twice.
    pub async fn send(
        &self,
        tenant: &TenantId,
        permit: &mut Permit,
        aim: Aim<'_>,
        trust: Trust,
        mut request: Request<Outgoing>,
        sent: Sent,
    ) -> Result<Answer, Failure> {
        let effects = permit.effects();
        let limit = effects.and_then(|effects| effects.timeout);
        let limit = limit.unwrap_or(self.limits.response_header);
        let address = self.agreed(permit, aim).await?;
        let key = Key {
            tenant: tenant.clone(),
            destination: permit.destination().clone(),
            address,
            trust,
            era: self.era.load(Ordering::Acquire),
            upgradable: request.headers().contains_key(UPGRADE),
        };
        while !self.ahead.has(aim.flow.connect)
            && let Some(mut kept) = self.pool.take(&key).await
        {
            permit.check_address(kept.peer.ip())?;
            let again = again(&request);
            match self
                .exchange(&mut kept, &key.destination, request, sent.clone(), limit)
                .await
            {
                Ok(response) => return Ok(self.answer(response, key, kept, sent)),
                Err(Unanswered {
                    unsent: Some(unsent),
                    ..
                }) => request = *unsent,
                Err(Unanswered { reason, .. }) => match again {
                    Some(again) if reason == Reason::UpstreamReset => request = again,
                    Some(_) | None => return Err(Failure::new(reason, Some(kept.peer))),
                },
            }
        }
        let (stream, peer) = self.reach(permit, aim.flow, address).await?;
        // A TLS handshake's state is large, and most requests need none.
        let mut fresh = Box::pin(self.handshake(&key, stream, peer)).await?;
        self.pool.share(&key, &fresh);
        match self
            .exchange(&mut fresh, &key.destination, request, sent.clone(), limit)
            .await
        {
            Ok(response) => Ok(self.answer(response, key, fresh, sent)),
            Err(Unanswered { reason, .. }) => Err(Failure::new(reason, Some(peer))),
        }
    }

    /// Keeps a connection for that connect and nobody else. `place` bounds how many a tenant has.
    pub fn keep(
        &self,
        connect: ConnectId,
        stream: TcpStream,
        peer: UpstreamAddr,
        place: OwnedSemaphorePermit,
    ) {
        self.ahead.keep(connect, stream, peer, place);
    }

    /// Closes what was made ahead and nobody came for.
    pub fn forget_ahead(&self, older_than: Duration) {
        self.ahead.forget(older_than);
    }

    /// The agent's own look-up of a host.
    pub async fn addresses(&self, host: &Host) -> Vec<IpAddr> {
        match host {
            Host::Address(address) => vec![*address],
            Host::Name(name) => {
                let resolver = self.resolver.load_full();
                timeout(self.limits.resolve, resolver.addresses(name))
                    .await
                    .unwrap_or_default()
            }
        }
    }

    /// The agent's own look-up of the records of what a permit names.
    pub async fn records(&self, permit: &NamePermit, kind: RecordType) -> Result<Found, Reason> {
        let resolver = self.resolver.load_full();
        timeout(self.limits.resolve, resolver.records(permit.host(), kind))
            .await
            .unwrap_or(Err(Reason::UpstreamTimeout))
    }

    /// Closes connections that were kept too long.
    pub fn forget_idle(&self) {
        self.pool.forget_idle();
    }

    /// Keeps no connection for reuse from now on.
    pub fn close_idle(&self) {
        self.pool.close();
    }

    /// Makes a connection ready for requests: TLS where the destination is `https`, then HTTP
    /// in the version that both sides speak.
    async fn handshake(
        &self,
        key: &Key,
        stream: TcpStream,
        peer: UpstreamAddr,
    ) -> Result<Idle, Failure> {
        let failed = |reason| Failure::new(reason, Some(peer));
        let with = Handshake {
            tenant: Some(&key.tenant),
            trust: &key.trust,
            host: &key.destination.host,
            upgradable: key.upgradable,
        };
        let sender = match key.destination.scheme {
            Scheme::Http | Scheme::Tcp => self.speak_http1(stream).await,
            Scheme::Https => {
                let verifier = self.verifier.load_full();
                match verifier.connect(with, stream).await.map_err(failed)? {
                    (stream, true) => self.speak_http2(stream).await,
                    (stream, false) => self.speak_http1(stream).await,
                }
            }
        };
        sender
            .map(|sender| Idle::new(sender, peer))
            .map_err(|_error| failed(Reason::UpstreamReset))
    }

    async fn speak_http1<S>(&self, stream: S) -> Result<Sender, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::Builder::new()
            .preserve_header_case(true)
            .max_headers(self.limits.headers)
            .max_header_size(self.limits.header_bytes)
            .handshake(TokioIo::new(stream))
            .await?;
        // What goes wrong there is seen by whoever waits for the response.
        self.tasks.spawn(
            "upstream",
            async move { drop(connection.with_upgrades().await) },
        );
        Ok(Sender::Http1(sender))
    }

    async fn speak_http2<S>(&self, stream: S) -> Result<Sender, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(self.limits.dead_peer / 2)
            .keep_alive_timeout(self.limits.dead_peer / 2)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(stream))
            .await?;
        self.tasks
            .spawn("upstream", async move { drop(connection.await) });
        Ok(Sender::Http2(sender))
    }

    async fn exchange(
        &self,
        connection: &mut Idle,
        destination: &Destination,
        mut request: Request<Outgoing>,
        mut sent: Sent,
        limit: Duration,
    ) -> Result<Response<Incoming>, Unanswered> {
        target::fit(&mut request, destination, &connection.sender);
        if let Sender::Http2(_) = connection.sender {
            // hyper passes over its interim responses.
            request.body_mut().expect(None);
        }
        let sending = async {
            match &mut connection.sender {
                Sender::Http1(sender) => sender.try_send_request(request).await,
                Sender::Http2(sender) => sender.try_send_request(request).await,
            }
        };
        let late = async {
            sent.wait().await;
            tokio::time::sleep(limit).await;
        };
        tokio::select! {
            biased; // A response that is there is not late.
            answered = sending => match answered {
                Ok(response) => target::own(response).ok_or(Unanswered {
                    reason: Reason::UpstreamMalformed,
                    unsent: None,
                }),
                Err(mut error) => Err(Unanswered {
                    reason: reason(error.error()),
                    unsent: error.take_message().map(Box::new),
                }),
            },
            () = late => Err(Unanswered { reason: Reason::UpstreamTimeout, unsent: None }),
        }
    }

    fn answer(
        &self,
        response: Response<Incoming>,
        key: Key,
        connection: Idle,
        sent: Sent,
    ) -> Answer {
        let peer = connection.peer;
        Answer {
            response,
            peer,
            lease: self.pool.lease(key, connection, sent),
        }
    }
}

/// A request that was not answered; `unsent` where it may be sent again.
struct Unanswered {
    reason: Reason,
    unsent: Option<Box<Request<Outgoing>>>,
}

fn reason(error: &hyper::Error) -> Reason {
    if error.is_parse() {
        Reason::UpstreamMalformed
    } else if error.is_user() {
        // The workload's body broke off.
        Broken::within(error).unwrap_or(Reason::DownstreamAborted)
    } else {
        Reason::UpstreamReset
    }
}
