//! The agent of Outbound.

pub mod path;
pub mod model;

pub mod config;

pub mod command;
pub mod cli;
