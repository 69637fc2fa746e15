//! Requests that pass an outbound worker.

mod server;
