//! The words of the domain: pure values, no I/O, no runtime.

pub mod addr;
pub mod host;
pub mod flow;
pub mod tenant;
pub mod place;
pub mod pattern;
pub mod target;
pub mod policy;
pub mod credential;
pub mod reason;
pub mod rcode;
pub mod secret;
pub mod jwt;
pub mod template;
pub mod limits;
pub mod traffic;
