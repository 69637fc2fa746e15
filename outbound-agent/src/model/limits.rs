//! `Limits`: what one tenant may take of what all share.

use std::time::Duration;

/// How much one tenant may take; where it is `None`, as much as there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub connections: Option<usize>,
    /// Requests at once, on all of its connections.
    pub requests: Option<usize>,
    /// Requests and tunnels begun in a second.
    pub requests_per_second: Option<usize>,
    /// How many of them at once after a pause; without it twice as many as in a second.
    pub requests_burst: Option<usize>,
    /// Bytes to upstreams in a second. What is more waits.
    pub sent_per_second: Option<usize>,
    /// Bytes from upstreams in a second. What is more waits.
    pub received_per_second: Option<usize>,
    /// Requests and tunnels begun in a day (UTC).
    pub requests_per_day: Option<u64>,
    /// Requests and tunnels begun in a month (UTC).
    pub requests_per_month: Option<u64>,
    /// Bytes in a day (UTC), both ways together.
    pub bytes_per_day: Option<u64>,
    /// Bytes in a month (UTC), both ways together.
    pub bytes_per_month: Option<u64>,
    /// The header of a request, all names and values together.
    pub request_header: Option<usize>,
    /// The body of a request.
    pub request_body: Option<usize>,
    /// The body of a response.
    pub response_body: Option<usize>,
    /// From the head of a request to the end of its response.
    pub request_duration: Option<Duration>,
    /// From when a connection is taken to its end.
    pub connection_duration: Option<Duration>,
}

impl Limits {
    /// Each limit of its own, and where there is none that of `base`.
    #[must_use]
    pub fn or(self, base: Self) -> Self {
        Self {
            connections: self.connections.or(base.connections),
            requests: self.requests.or(base.requests),
            requests_per_second: self.requests_per_second.or(base.requests_per_second),
            requests_burst: self.requests_burst.or(base.requests_burst),
            sent_per_second: self.sent_per_second.or(base.sent_per_second),
            received_per_second: self.received_per_second.or(base.received_per_second),
            requests_per_day: self.requests_per_day.or(base.requests_per_day),
            requests_per_month: self.requests_per_month.or(base.requests_per_month),
            bytes_per_day: self.bytes_per_day.or(base.bytes_per_day),
            bytes_per_month: self.bytes_per_month.or(base.bytes_per_month),
            request_header: self.request_header.or(base.request_header),
            request_body: self.request_body.or(base.request_body),
            response_body: self.response_body.or(base.response_body),
            request_duration: self.request_duration.or(base.request_duration),
            connection_duration: self.connection_duration.or(base.connection_duration),
        }
    }
}
