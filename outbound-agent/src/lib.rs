//! The agent of Outbound.

pub mod model;
