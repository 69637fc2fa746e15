//! What the kernel side keeps of each tenant, so that none uses up what is everybody's.

use crate::tenant::SLOTS;

/// One tenant's, found by its slot. The fields are added to by every CPU and never set back;
/// what they say together is exact once nobody adds.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// Flows that the kernel side has put into `FLOWS`.
    pub opened: u64,
    /// Flows that the kernel side has taken out of it. What the agent took out is in `SWEPT`.
    pub closed: u64,
    /// The second, by `bpf_ktime_get_ns`, in which refusals were last reported.
    pub second: u64,
    /// How many were reported in it.
    pub reported: u64,
    /// How many were not reported since the last that was.
    pub suppressed: u64,
}

/// The account of refusals that are nobody's.
pub const NOBODY: u32 = SLOTS;

/// How many accounts there are.
pub const ACCOUNTS: u32 = SLOTS + 1;

/// How many flows `FLOWS` has room for.
pub const FLOWS: u32 = 131_072;

/// How many of them may be one tenant's at a time: connects between their SYN and the end of
/// their handshake, and the datagrams of the last while.
pub const FLOWS_PER_TENANT: u32 = FLOWS / 16;

/// How many refusals of one tenant are reported in a second. All are counted.
pub const REPORTS_PER_SECOND: u64 = 20;

impl Account {
    /// Whether a tenant may have another flow; `swept` as in `SWEPT`.
    #[inline(always)]
    pub const fn has_room(&self, swept: u64) -> bool {
        let taken = self.closed.wrapping_add(swept);
        let pending = self.opened.wrapping_sub(taken) as i64;
        pending < FLOWS_PER_TENANT as i64
    }
}

const _: () = assert!(size_of::<Account>() == 40 && align_of::<Account>() == 8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_for_what_is_neither_closed_nor_swept() {
        let limit = u64::from(FLOWS_PER_TENANT);
        let account = |opened, closed| Account {
            opened,
            closed,
            second: 0,
            reported: 0,
            suppressed: 0,
        };
        assert!(account(limit - 1, 0).has_room(0));
        assert!(!account(limit, 0).has_room(0));
        assert!(account(limit, 1).has_room(0));
        assert!(account(limit + 5, 1).has_room(5));
        assert!(!account(5, u64::MAX - 4).has_room(10_u64.wrapping_sub(limit)));
        // Seen by a CPU before the one that opened it has added it.
        assert!(account(0, 1).has_room(0));
    }
}
