//! `[policies.NAME.limits]`: what one tenant may take.

use std::time::Duration;

use crate::config::kind::compound::Optional;
use crate::config::kind::unit::{Size, Time};
use crate::config::kind::{Count, Many};
use crate::config::section::settings;
use crate::model::limits::Limits;

settings! {
    /// What each tenant of the policy may take of what all share, for itself: tenants count
    /// apart. Without a key there is no such limit. `[tenants.limits]` has the same keys for one
    /// tenant. Days and months are those of UTC; what was taken of them is kept in `state_dir`
    /// over a restart (after a crash the last seconds are missing).
    ///
    /// What is over a limit is refused: a request with 429 and `retry-after`, a header with 431, a
    /// body with 413 (that of a response with 502), what lasts too long with 504; whatever is under way already, and a
    /// connection that carries no requests, is ended. Bytes beyond a rate wait, and are refused
    /// nothing.
    pub(in crate::config) struct TenantLimits {
        /// Connections at once. Without it: a quarter of `connections` in `[limits]`, so that no
        /// tenant takes what others need.
        connections: Option<usize> as Optional<Count> = None;
        /// Requests at once, on all of its connections.
        requests: Option<usize> as Optional<Count> = None;
        /// Requests and tunnels begun in a second.
        requests_per_second: Option<usize> as Optional<Count> = None;
        /// How many of them at once after a pause. Without it: twice as many as in a second.
        requests_burst: Option<usize> as Optional<Count> = None;
        /// Bytes to upstreams in a second.
        sent_per_second: Option<usize> as Optional<Size> = None;
        /// Bytes from upstreams in a second.
        received_per_second: Option<usize> as Optional<Size> = None;
        /// Requests and tunnels begun in a day.
        requests_per_day: Option<u64> as Optional<Many> = None;
        /// Requests and tunnels begun in a month.
        requests_per_month: Option<u64> as Optional<Many> = None;
        /// Bytes in a day, both ways together.
        bytes_per_day: Option<usize> as Optional<Size> = None;
        /// Bytes in a month, both ways together.
        bytes_per_month: Option<usize> as Optional<Size> = None;
        /// The header of a request: all names and values together.
        request_header: Option<usize> as Optional<Size> = None;
        /// The body of a request.
        request_body: Option<usize> as Optional<Size> = None;
        /// The body of a response.
        response_body: Option<usize> as Optional<Size> = None;
        /// From the head of a request to the end of its response.
        request_duration: Option<Duration> as Optional<Time> = None;
        /// From when a connection is taken to its end.
        connection_duration: Option<Duration> as Optional<Time> = None;
    }
}

impl TenantLimits {
    /// As the agent runs on them.
    pub(in crate::config) fn compile(&self) -> Limits {
        let wide = |limit: Option<usize>| limit.map(|limit| limit as u64);
        Limits {
            connections: self.connections,
            requests: self.requests,
            requests_per_second: self.requests_per_second,
            requests_burst: self.requests_burst,
            sent_per_second: self.sent_per_second,
            received_per_second: self.received_per_second,
            requests_per_day: self.requests_per_day,
            requests_per_month: self.requests_per_month,
            bytes_per_day: wide(self.bytes_per_day),
            bytes_per_month: wide(self.bytes_per_month),
            request_header: self.request_header,
            request_body: self.request_body,
            response_body: self.response_body,
            request_duration: self.request_duration,
            connection_duration: self.connection_duration,
        }
    }
}
