//! The agent of Outbound.

pub mod connection;
pub mod exchange;
pub mod path;
pub mod model;
pub mod observe;
pub mod drain;
pub mod config;
pub mod app;
