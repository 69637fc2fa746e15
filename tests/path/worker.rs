//! The operator's code between policy and upstream.

mod circle;
mod cut;
mod hosted;
mod isolation;
mod limits;
mod module;
mod credentials;
mod parameters;
mod pressure;
mod python;
mod reload;
mod server;
mod shapes;
mod stream;
mod tunnels;
