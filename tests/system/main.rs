//! The system tier.

/// `outbound doctor`.
mod doctor;
