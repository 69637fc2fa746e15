//! Flows between a workload's socket and the agent's, and the removal of those that nobody
//! came for.

use std::path::Path;
use std::time::Duration;

use aya::maps::{Array, HashMap, Map, MapData};
use outbound_common::names::map;
use outbound_common::{Flow, FlowKey};

use super::{Error, host, map_error, open_map, pinned, removed};

/// `FLOWS`, and the agent's part of each tenant's account.
pub(super) struct Pending {
    flows: HashMap<MapData, FlowKey, Flow>,
    swept: Array<MapData, u64>,
}

impl Pending {
    pub(super) fn open(pin_dir: &Path) -> Result<Self, Error> {
        let swept = Map::Array(pinned(pin_dir, map::SWEPT)?);
        Ok(Self {
            flows: open_map(pin_dir, map::FLOWS)?,
            swept: Array::try_from(swept).map_err(map_error(map::SWEPT))?,
        })
    }

    pub(super) fn count(&self) -> usize {
        self.flows.keys().filter_map(Result::ok).count()
    }

    /// Removes what is as old as this. Gives their number.
    pub(super) fn sweep(&mut self, older_than: Duration) -> Result<usize, Error> {
        let now = host::monotonic_now();
        let age = |flow: &Flow| now.saturating_sub(Duration::from_nanos(flow.connected_ns));
        let old: Vec<(FlowKey, u32)> = self
            .flows
            .iter()
            .filter_map(Result::ok)
            .filter(|(_key, flow)| age(flow) >= older_than)
            .map(|(key, flow)| (key, flow.slot))
            .collect();
        let mut count = 0;
        for (key, slot) in old {
            if removed(self.flows.remove(&key)).map_err(map_error(map::FLOWS))? {
                let before = self.swept.get(&slot, 0).map_err(map_error(map::SWEPT))?;
                let after = self.swept.set(slot, before.wrapping_add(1), 0);
                after.map_err(map_error(map::SWEPT))?;
                count += 1;
            }
        }
        Ok(count)
    }
}
