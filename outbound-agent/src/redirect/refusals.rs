//! What the kernel side refused, as it happens.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use aya::maps::{Map, MapData, RingBuf};
use outbound_common::Refusal;
use outbound_common::names::map;
use tokio::io::unix::AsyncFd;

use super::{Error, file_error, map_error, pinned};
use crate::sys;

/// The reading end of the ring buffer.
pub struct Refusals {
    ring: RingBuf<MapData>,
    readable: AsyncFd<OwnedFd>,
}

impl Refusals {
    pub(super) fn open(pin_dir: &Path) -> Result<Self, Error> {
        let data = pinned(pin_dir, map::REFUSALS)?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(map_error(map::REFUSALS))?;
        let path = pin_dir.join(map::REFUSALS);
        let readable = ring
            .as_fd()
            .try_clone_to_owned()
            .and_then(sys::readiness)
            .map_err(file_error("wait on", &path))?;
        Ok(Self { ring, readable })
    }

    /// The next refusal; `None` when the runtime shuts down. Loses none when dropped midway.
    pub async fn next(&mut self) -> Option<Refusal> {
        loop {
            if let Some(refusal) = self.take() {
                return Some(refusal);
            }
            let mut ready = self.readable.readable().await.ok()?;
            // Before anything is waited for, the ring is looked at again.
            ready.clear_ready();
        }
    }

    /// The next refusal that is there already.
    pub fn take(&mut self) -> Option<Refusal> {
        let entry = self.ring.next()?;
        Refusal::from_bytes(&entry)
    }
}
