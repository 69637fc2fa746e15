//! The agent of Outbound.

pub mod model;
pub mod redirect;
pub mod sys;
