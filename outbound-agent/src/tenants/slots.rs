//! The loopback networks that keep tenants' ports apart: a number each.

use std::collections::{HashSet, VecDeque};

use outbound_common::tenant::SLOTS;

/// Numbers that are free. What is given back is given out last, so that connections of its last
/// holder have ended.
#[derive(Debug)]
pub(super) struct Slots {
    returned: VecDeque<u32>,
    next: u32,
}

impl Slots {
    /// All but those that are taken.
    pub(super) fn without(taken: &HashSet<u32>) -> Self {
        let next = taken.iter().max().map_or(0, |highest| highest + 1);
        let returned = (0..next).filter(|slot| !taken.contains(slot)).collect();
        Self { returned, next }
    }

    /// One that is free, if any is.
    pub(super) fn take(&mut self) -> Option<u32> {
        if self.next < SLOTS {
            self.next += 1;
            return Some(self.next - 1);
        }
        self.returned.pop_front()
    }

    pub(super) fn give_back(&mut self, slot: u32) {
        self.returned.push_back(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_only_after_every_other() {
        let mut slots = Slots::without(&HashSet::from([0, 2]));
        let first = slots.take().unwrap();
        assert_eq!(first, 3);
        slots.give_back(first);
        let all: Vec<u32> = std::iter::from_fn(|| slots.take()).collect();
        assert_eq!(all.len() as u32, SLOTS - 2);
        assert!(all.ends_with(&[1, 3]));
        assert_eq!(slots.take(), None);
    }
}
