//! The stages of the path, in order. A stage takes the type that the stage before it made and
//! never calls a sibling.

pub mod policy;
