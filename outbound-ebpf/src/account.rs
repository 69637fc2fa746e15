//! Each tenant's share: of the room for flows, and of the lines about refusals.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::bindings::{BPF_EXIST, BPF_NOEXIST};
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use outbound_common::account::REPORTS_PER_SECOND;
use outbound_common::{Account, Counter, Flow, FlowKey};

use crate::maps::{ACCOUNTS, FLOWS, SWEPT};
use crate::shared;

const SECOND: u64 = 1_000_000_000;

/// Whether a tenant may have another flow.
#[inline(always)]
pub(crate) fn has_room(slot: u32) -> bool {
    let (Some(account), Some(swept)) = (ACCOUNTS.get(slot), SWEPT.get(slot)) else {
        return false;
    };
    account.has_room(*swept)
}

/// Puts a flow into `FLOWS`. An entry that is there under the same key is of a socket that is
/// gone, or an earlier datagram of this one, and gives way; but while another tenant's datagram
/// is under way from the same address, which takes a shared `::1`, its own must not be taken
/// for that tenant's.
#[inline(always)]
pub(crate) fn remember(key: FlowKey, flow: &Flow, is_datagram: bool) -> Result<(), Counter> {
    // SAFETY: without preallocation an entry is immutable until its RCU grace period ends.
    if let Some(old) = unsafe { FLOWS.get(key) } {
        if old.tenant_cgroup == flow.tenant_cgroup {
            if FLOWS.insert(key, flow, u64::from(BPF_EXIST)).is_ok() {
                return Ok(());
            }
            // Swept in this moment.
        } else if is_datagram {
            return Err(Counter::FlowTaken);
        } else {
            forget(key, old);
        }
    }
    if !has_room(flow.slot) {
        return Err(Counter::TenantFlowsFull);
    }
    if FLOWS.insert(key, flow, u64::from(BPF_NOEXIST)).is_err() {
        return Err(Counter::FlowsFull);
    }
    if let Some(account) = ACCOUNTS.get_ptr_mut(flow.slot) {
        // SAFETY: a field of a map's value, which lives as long as the program runs.
        unsafe { shared::add(addr_of_mut!((*account).opened), 1) }
    }
    Ok(())
}

/// Takes a flow out of `FLOWS`, unless somebody else does so in this moment.
#[inline(always)]
pub(crate) fn forget(key: FlowKey, flow: &Flow) {
    if FLOWS.remove(key).is_ok()
        && let Some(account) = ACCOUNTS.get_ptr_mut(flow.slot)
    {
        // SAFETY: a field of a map's value, which lives as long as the program runs.
        unsafe { shared::add(addr_of_mut!((*account).closed), 1) }
    }
}

/// Whether a refusal may be reported; gives how many were not since the last one that was.
#[inline(always)]
pub(crate) fn may_report(slot: u32) -> Option<u64> {
    let account: *mut Account = ACCOUNTS.get_ptr_mut(slot)?;
    // SAFETY: a helper without arguments.
    let now = unsafe { bpf_ktime_get_ns() } / SECOND;
    // SAFETY: fields of a map's value, here and below. Of two CPUs that begin a second at once
    // each may report one more: no harm.
    unsafe {
        if read_volatile(addr_of!((*account).second)) != now {
            write_volatile(addr_of_mut!((*account).second), now);
            write_volatile(addr_of_mut!((*account).reported), 0);
        }
        if read_volatile(addr_of!((*account).reported)) >= REPORTS_PER_SECOND {
            shared::add(addr_of_mut!((*account).suppressed), 1);
            return None;
        }
        shared::add(addr_of_mut!((*account).reported), 1);
        Some(shared::take(addr_of_mut!((*account).suppressed)))
    }
}

/// Notes refusals that were not reported.
#[inline(always)]
pub(crate) fn suppressed(slot: u32, number: u64) {
    if let Some(account) = ACCOUNTS.get_ptr_mut(slot) {
        // SAFETY: as above.
        unsafe { shared::add(addr_of_mut!((*account).suppressed), number) }
    }
}
