//! Subcommands: one module each, clients of the admin socket.

pub mod client;
pub mod status;
