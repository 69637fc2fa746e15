//! Assignments that several parts of the agent ask and change.

use std::sync::{Arc, Mutex, PoisonError};

use super::Assignments;

/// The assignments, shared.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Assignments>>);

impl Shared {
    /// Shares them.
    pub fn new(assignments: Assignments) -> Self {
        Self(Arc::new(Mutex::new(assignments)))
    }

    /// Asks or changes them. Never held across a wait.
    pub fn with<T>(&self, act: impl FnOnce(&mut Assignments) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
