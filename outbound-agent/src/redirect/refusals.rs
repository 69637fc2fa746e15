//! What the kernel side refused, as it happens.

use std::path::Path;

use aya::maps::{Map, MapData, RingBuf};
use outbound_common::Refusal;
use outbound_common::names::map;
use tokio::io::unix::AsyncFd;

use super::{Error, file_error, map_error, pinned};

/// The reading end of the ring buffer.
pub struct Refusals {
    ring: AsyncFd<RingBuf<MapData>>,
}

impl Refusals {
    pub(super) fn open(pin_dir: &Path) -> Result<Self, Error> {
        let data = pinned(pin_dir, map::REFUSALS)?;
        let ring = RingBuf::try_from(Map::RingBuf(data)).map_err(map_error(map::REFUSALS))?;
        let path = pin_dir.join(map::REFUSALS);
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; the ring owns its descriptor and never gives it up"
        )]
        let ring = AsyncFd::new(ring).map_err(file_error("wait on", &path))?;
        Ok(Self { ring })
    }

    /// The next refusal; `None` when the runtime shuts down. Loses none when dropped midway.
    pub async fn next(&mut self) -> Option<Refusal> {
        loop {
            if let Some(refusal) = self.take() {
                return Some(refusal);
            }
            let mut ready = self.ring.readable_mut().await.ok()?;
            // What came since the look above is seen by the next one: the ring is looked at
            // again before anything is waited for.
            ready.clear_ready();
            if let Some(refusal) = self.take() {
                return Some(refusal);
            }
        }
    }

    /// The next refusal that is there already.
    pub fn take(&mut self) -> Option<Refusal> {
        let entry = self.ring.get_mut().next()?;
        Refusal::from_bytes(&entry)
    }
}
