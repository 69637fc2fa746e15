//! The agent of Outbound.

pub mod model;
pub mod drain;
