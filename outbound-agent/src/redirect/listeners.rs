//! Where the agent listens, as the kernel is told.

use std::path::Path;
use std::sync::Mutex;

use aya::maps::{HashMap, MapData};
use outbound_common::ListenerEntry;
use outbound_common::names::map;

use super::{Error, locked, map_error, open_map, removed};

/// The agent's ports by network namespace, the namespaces known by their cookies. A cookie is
/// never used again, not even by another namespace.
#[derive(Debug)]
pub struct Listeners(Mutex<HashMap<MapData, u64, ListenerEntry>>);

impl Listeners {
    pub(super) fn open(pin_dir: &Path) -> Result<Self, Error> {
        Ok(Self(open_map(pin_dir, map::LISTENERS)?.into()))
    }

    /// Says where the agent listens in a network namespace.
    pub fn listen(&self, netns_cookie: u64, entry: ListenerEntry) -> Result<(), Error> {
        locked(&self.0)
            .insert(netns_cookie, entry, 0)
            .map_err(map_error(map::LISTENERS))
    }

    /// The agent has left a network namespace.
    pub fn unlisten(&self, netns_cookie: u64) -> Result<(), Error> {
        removed(locked(&self.0).remove(&netns_cookie)).map_err(map_error(map::LISTENERS))?;
        Ok(())
    }

    /// Every namespace that the kernel knows of, also from an earlier agent.
    pub fn cookies(&self) -> Result<Vec<u64>, Error> {
        locked(&self.0)
            .keys()
            .collect::<Result<_, _>>()
            .map_err(map_error(map::LISTENERS))
    }
}
