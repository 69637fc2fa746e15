//! Numbers that every CPU changes at once.
//!
//! The BPF target has these instructions but no compare-and-exchange before its third version,
//! which is why the compiler keeps the methods of `AtomicU64` from it and only the intrinsics are
//! left. Linux 5.12 and newer execute both.

/// Adds to a number.
///
/// # Safety
///
/// The number is aligned and lives as long as the program runs.
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn add(number: *mut u64, value: u64) {
    use core::intrinsics::{AtomicOrdering, atomic_xadd};
    // SAFETY: the caller's promise.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(number, value) };
}

/// Takes a number and leaves 0.
///
/// # Safety
///
/// As of [`add`].
#[cfg(target_arch = "bpf")]
#[inline(always)]
pub(crate) unsafe fn take(number: *mut u64) -> u64 {
    use core::intrinsics::{AtomicOrdering, atomic_xchg};
    // SAFETY: the caller's promise.
    unsafe { atomic_xchg::<u64, { AtomicOrdering::Relaxed }>(number, 0) }
}

/// The same for the host, for which the crate is only read.
#[cfg(not(target_arch = "bpf"))]
mod host {
    use core::sync::atomic::{AtomicU64, Ordering};

    pub(crate) unsafe fn add(number: *mut u64, value: u64) {
        // SAFETY: the caller's promise.
        unsafe { AtomicU64::from_ptr(number) }.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) unsafe fn take(number: *mut u64) -> u64 {
        // SAFETY: the caller's promise.
        unsafe { AtomicU64::from_ptr(number) }.swap(0, Ordering::Relaxed)
    }
}
#[cfg(not(target_arch = "bpf"))]
pub(crate) use host::{add, take};
