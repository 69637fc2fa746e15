//! What a test may say.
