#![doc = include_str!("../docs/architecture.md")]

pub mod connection;
pub mod exchange;
pub mod query;
pub mod path;
pub mod model;
pub mod redirect;
pub mod tenants;
pub mod observe;
pub mod drain;
pub mod config;
pub mod app;
pub mod cli;
pub mod command;
pub mod sys;
