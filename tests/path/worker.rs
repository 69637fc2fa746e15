//! The operator's code between policy and upstream.

mod hosted;
mod limits;
mod module;
mod reload;
mod server;
mod tunnels;
