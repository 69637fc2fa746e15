//! The agent of Outbound.

pub mod model;
pub mod observe;
pub mod drain;
pub mod command;
