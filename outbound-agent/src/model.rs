//! The words of the domain: pure values, no I/O, no runtime.

pub mod addr;
pub mod host;
pub mod flow;
pub mod tenant;
pub mod place;
pub mod pattern;
pub mod stop;
pub mod target;
pub mod index;
pub mod set;
pub mod targets;
pub mod expression;
pub mod rule;
pub mod policy;
pub mod worker;
pub mod certificates;
pub mod credential;
pub mod reason;
pub mod rcode;
pub mod secret;
pub mod jwt;
pub mod bucket;
pub mod template;
pub mod limits;
pub mod traffic;
