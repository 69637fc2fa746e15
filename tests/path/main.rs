//! The path tier.
