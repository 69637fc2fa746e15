//! From a TCP connection to one that takes requests: TLS where the destination is `https`, then
//! HTTP in the version that both sides speak.

use http::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::http::body::Outgoing;
use super::super::http::http2::{CONNECTION_WINDOW, STREAM_WINDOW};
use super::super::http::websocket::Extended;
use super::super::policy::Permit;
use super::announced::Announced;
use super::pool::{Idle, Key, Sender};
use super::tls::{Handshake, NoTls};
use super::{Failure, Upstream};
use crate::model::addr::UpstreamAddr;
use crate::model::flow::Flow;
use crate::model::reason::Reason;
use crate::model::target::Scheme;

impl Upstream {
    /// A connection that is kept for this. One that was not made to be upgraded serves as well,
    /// where it is HTTP/1.1 after all, or the upstream takes WebSocket on it; then `key` is its.
    pub(super) async fn kept(&self, key: &mut Key, is_websocket: bool) -> Option<Idle> {
        if let Some(kept) = self.pool.take(key).await {
            return Some(kept);
        }
        match key.upgradable {
            true => Box::pin(self.kept_otherwise(key, is_websocket)).await,
            false => None,
        }
    }

    async fn kept_otherwise(&self, key: &mut Key, is_websocket: bool) -> Option<Idle> {
        let any = key.any();
        let mut kept = self.pool.take(&any).await?;
        let serves = match &mut kept.sender {
            Sender::Http1(_) => true,
            Sender::Http2(_, announced) => is_websocket && self.takes_connect(announced).await,
        };
        serves.then(|| {
            *key = any;
            kept
        })
    }

    /// A new connection. Where it has to be HTTP/1.1 and the upstream speaks none, it is HTTP/2,
    /// and `key` one that says so.
    pub(super) async fn fresh(
        &self,
        key: &mut Key,
        permit: &mut Permit,
        flow: &Flow,
    ) -> Result<Idle, Failure> {
        let (stream, peer) = self.reach(permit, flow, key.address).await?;
        let failed = |no: NoTls| Failure::new(no.reason, Some(peer));
        match self.handshake(key, stream, peer).await {
            Err(NoTls { speaks_other, .. }) if key.upgradable && speaks_other => {
                key.upgradable = false;
                let (stream, peer) = self.reach(permit, flow, key.address).await?;
                self.handshake(key, stream, peer).await.map_err(failed)
            }
            made => made.map_err(failed),
        }
    }

    /// Makes an extended `CONNECT` of a request for WebSocket, where the connection takes it.
    pub(super) async fn extend(
        &self,
        request: &mut Request<Outgoing>,
        connection: &mut Idle,
    ) -> Option<Extended> {
        let Sender::Http2(_, announced) = &mut connection.sender else {
            return None;
        };
        let takes = self.takes_connect(announced).await;
        takes.then(|| Extended::of(request))
    }

    async fn takes_connect(&self, announced: &mut Announced) -> bool {
        let limit = self.verifier.load().handshake();
        let announced = timeout(limit, announced.takes_connect()).await;
        announced.unwrap_or(false)
    }

    async fn handshake(
        &self,
        key: &Key,
        stream: TcpStream,
        peer: UpstreamAddr,
    ) -> Result<Idle, NoTls> {
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
                match verifier.connect(with, stream).await? {
                    (stream, true) => self.speak_http2(stream).await,
                    (stream, false) => self.speak_http1(stream).await,
                }
            }
        };
        sender
            .map(|sender| Idle::new(sender, peer))
            .map_err(|_error| Reason::UpstreamReset.into())
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
        let (looked, announcing, was_read, announced) = Announced::look(stream);
        let (sender, connection) = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .max_header_list_size(u32::try_from(self.limits.header_bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(self.limits.dead_peer / 2)
            .keep_alive_timeout(self.limits.dead_peer / 2)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(TokioIo::new(looked))
            .await?;
        self.tasks.spawn("upstream", async move {
            let driven = announcing.drive(connection, was_read, |connection| {
                connection.is_extended_connect_protocol_enabled()
            });
            drop(driven.await);
        });
        Ok(Sender::Http2(sender, announced))
    }
}
