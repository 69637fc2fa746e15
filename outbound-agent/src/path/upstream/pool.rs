//! Upstream connections that wait for the next request of the same tenant to the same
//! destination.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::http1::SendRequest;

use super::super::http::body::{Outgoing, Sent};
use super::super::policy::Destination;
use crate::model::addr::UpstreamAddr;
use crate::model::tenant::TenantId;

/// Who may reuse a connection: this tenant, for this destination.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Whose it is.
    pub tenant: TenantId,
    /// What it was permitted for.
    pub destination: Destination,
}

/// A connection between two requests.
#[derive(Debug)]
pub struct Idle {
    /// Sends the next request.
    pub sender: SendRequest<Outgoing>,
    /// The upstream.
    pub peer: UpstreamAddr,
    since: Instant,
}

impl Idle {
    /// A connection on which nothing has been sent yet.
    pub fn new(sender: SendRequest<Outgoing>, peer: UpstreamAddr) -> Self {
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
                let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
                shelves.by_key.get_mut(key)?.pop()?
            };
            if kept.since.elapsed() < self.idle && kept.sender.ready().await.is_ok() {
                return Some(kept);
            }
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
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.by_key.retain(|_, shelf| {
            shelf.retain(|kept| kept.since.elapsed() < self.idle && !kept.sender.is_closed());
            !shelf.is_empty()
        });
    }

    /// Closes everything, and keeps nothing from now on.
    pub fn close(&self) {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        shelves.is_closed = true;
        shelves.by_key.clear();
    }
}

impl Lease {
    /// The response is read to its end: the connection may serve again, if the request is
    /// sent to its end too.
    pub fn give_back(mut self) {
        if !self.sent.is_done() || self.connection.sender.is_closed() {
            return;
        }
        self.connection.since = Instant::now();
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if shelves.is_closed {
            return;
        }
        let shelf = shelves.by_key.entry(self.key).or_default();
        if shelf.len() < self.per_destination {
            shelf.push(self.connection);
        }
    }
}
