//! Requests that pass an outbound worker.

mod module;
mod server;
