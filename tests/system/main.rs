//! The system tier.
