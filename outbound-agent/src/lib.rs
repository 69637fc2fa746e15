#![doc = include_str!("../docs/architecture.md")]

pub mod connection;
pub mod exchange;
pub mod hold;
pub mod query;
mod token;
pub mod path;
pub mod model;
pub mod redirect;
pub mod tenants;
pub mod namespaces;
pub mod observe;
pub mod drain;
pub mod config;
pub mod server;
pub mod app;
pub mod cli;
pub mod command;
pub mod sys;
