//! The commands of the `outbound` binary, a file each.

pub mod check;
pub mod output;
