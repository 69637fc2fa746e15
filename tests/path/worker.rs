//! Requests that pass an outbound worker.

mod isolation;
mod module;
mod server;
mod stream;
