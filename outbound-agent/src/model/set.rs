//! `HostSet`: hosts under one name, compiled once and shared by every list that names it.

use std::sync::Arc;

use super::index::Index;
use super::place::Place;

/// Hosts under one name: those of a file, of the configuration, or built in.
#[derive(Clone, Debug)]
pub struct HostSet {
    /// Its name, without `@`.
    pub name: Arc<str>,
    /// Where it is written, when it is; of a file, which line is in the index.
    pub place: Option<Place>,
    /// Each pattern with its line; 0 where it has none.
    pub hosts: Index<u32>,
}

impl HostSet {
    /// Where an entry is written.
    pub fn place_of(&self, line: u32) -> Option<Place> {
        let place = self.place.clone()?;
        Some(Place {
            line: if line == 0 { place.line } else { line },
            column: 1,
            ..place
        })
    }
}
