//! What the agent tells about itself and about traffic.

pub mod labels;
pub mod access_log;
pub mod metrics;
pub mod timestamp;
