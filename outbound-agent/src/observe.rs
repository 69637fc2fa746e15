//! What the agent tells about itself and about traffic.
//!
//! Traffic is told by records alone: a stage returns an ending, the story closes the record,
//! and the record writes the access log and the metrics. Nothing here keeps a body, a query
//! string or a header value, apart from the trace id of a `traceparent`.

pub mod record;
pub mod labels;
pub mod access_log;
pub mod metrics;
pub mod diagnostics;
pub mod readiness;
pub mod admin;
pub mod timestamp;
