//! Upstream connections that wait for the next request of the same tenant to the same
//! destination.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};

use super::super::http::body::{Outgoing, Sent};
use super::super::policy::Destination;
use super::tls::Trust;
use crate::model::addr::UpstreamAddr;
use crate::model::tenant::TenantId;

/// Who may reuse a connection: this tenant, for this destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it was permitted for.
    pub destination: Destination,
    /// The one address that it may lead to, where the workload's counts.
    pub address: Option<IpAddr>,
    /// Whose word counts there, and who the agent says it is.
    pub trust: Trust,
    /// Since when it counts: connections of another time are not used again.
    pub era: u64,
    /// Whether it can be upgraded, which HTTP/2 cannot (RFC 9113 section 8.6).
    pub upgradable: bool,
}

/// Sends requests over one connection.
#[derive(Debug)]
pub enum Sender {
    /// One at a time.
    Http1(http1::SendRequest<Outgoing>),
    /// Many at once.
    Http2(http2::SendRequest<Outgoing>),
}

impl Sender {
    async fn ready(&mut self) -> Result<(), hyper::Error> {
        match self {
            Self::Http1(sender) => sender.ready().await,
            Self::Http2(sender) => sender.ready().await,
        }
    }

    fn is_closed(&self) -> bool {
        match self {
            Self::Http1(sender) => sender.is_closed(),
            Self::Http2(sender) => sender.is_closed(),
        }
    }
}

/// A connection between two requests.
#[derive(Debug)]
pub struct Idle {
    /// Sends the next request.
    pub sender: Sender,
    /// The upstream.
    pub peer: UpstreamAddr,
    since: Instant,
}

impl Idle {
    /// A connection on which nothing has been sent yet.
    pub fn new(sender: Sender, peer: UpstreamAddr) -> Self {
        Self {
            sender,
            peer,
            since: Instant::now(),
        }
    }
}

/// A connection that carries a response. Dropped, it is closed.
#[derive(Debug)]
pub struct Lease {
    shelves: Arc<Mutex<Shelves>>,
    key: Key,
    connection: Idle,
    sent: Sent,
    per_destination: usize,
}

/// Connections by whom they are for.
#[derive(Debug)]
pub struct Pool {
    shelves: Arc<Mutex<Shelves>>,
    idle: Duration,
    per_destination: usize,
}

/// What is kept, and whether anything still is.
#[derive(Debug, Default)]
struct Shelves {
    by_key: HashMap<Key, Vec<Idle>>,
    is_closed: bool,
}

impl Pool {
    /// Keeps a connection for at most `idle`, and `per_destination` of them for one key.
    pub fn new(idle: Duration, per_destination: usize) -> Self {
        Self {
            shelves: Arc::default(),
            idle,
            per_destination,
        }
    }

    /// The connection that was used last, if one is still alive.
    pub async fn take(&self, key: &Key) -> Option<Idle> {
        loop {
            let mut kept = {
                let mut shelves = locked(&self.shelves);
                shelves.by_key.get_mut(key)?.pop()?
            };
            if kept.since.elapsed() < self.idle && kept.sender.ready().await.is_ok() {
                self.share(key, &kept);
                return Some(kept);
            }
        }
    }

    /// Leaves a connection that carries many requests at once for the next one.
    pub fn share(&self, key: &Key, connection: &Idle) {
        if let Sender::Http2(sender) = &connection.sender {
            let again = Idle::new(Sender::Http2(sender.clone()), connection.peer);
            keep(
                &mut locked(&self.shelves),
                key.clone(),
                again,
                self.per_destination,
            );
        }
    }

    /// Lends a connection out until the response is read; `sent` says whether the request is.
    pub fn lease(&self, key: Key, connection: Idle, sent: Sent) -> Lease {
        Lease {
            shelves: Arc::clone(&self.shelves),
            key,
            connection,
            sent,
            per_destination: self.per_destination,
        }
    }

    /// Closes what was kept for longer than it may.
    pub fn forget_idle(&self) {
        let mut shelves = locked(&self.shelves);
        shelves.by_key.retain(|_, shelf| {
            shelf.retain(|kept| kept.since.elapsed() < self.idle && !kept.sender.is_closed());
            !shelf.is_empty()
        });
    }

    /// Closes what is no longer to be kept.
    pub fn retain(&self, stays: impl Fn(&Key) -> bool) {
        locked(&self.shelves)
            .by_key
            .retain(|key, _shelf| stays(key));
    }

    /// Closes everything, and keeps nothing from now on.
    pub fn close(&self) {
        let mut shelves = locked(&self.shelves);
        shelves.is_closed = true;
        shelves.by_key.clear();
    }
}

impl Lease {
    /// The response is read to its end: the connection may serve again, if the request is
    /// sent to its end too.
    pub fn give_back(mut self) {
        if matches!(self.connection.sender, Sender::Http2(_)) || !self.sent.is_done() {
            return;
        }
        self.connection.since = Instant::now();
        keep(
            &mut locked(&self.shelves),
            self.key,
            self.connection,
            self.per_destination,
        );
    }
}

fn keep(shelves: &mut Shelves, key: Key, connection: Idle, per_destination: usize) {
    if shelves.is_closed || connection.sender.is_closed() {
        return;
    }
    let shelf = shelves.by_key.entry(key).or_default();
    if shelf.len() < per_destination {
        shelf.push(connection);
    }
}

fn locked(shelves: &Mutex<Shelves>) -> MutexGuard<'_, Shelves> {
    shelves.lock().unwrap_or_else(PoisonError::into_inner)
}
