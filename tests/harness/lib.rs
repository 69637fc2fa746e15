//! What a test may say.

pub mod sandbox;
