//! Every map: purpose, size, writer, reader, and what overflow means.
//!
//! Hash maps are not preallocated: an element that is replaced or removed stays as it was for
//! the programs that still read it, so that none ever reads another tenant's.

use core::ffi::c_void;
use core::marker::PhantomData;
use core::ptr;

use aya_ebpf::bindings::{
    BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_map_type, bpf_sock,
};
use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::macros::{btf_map, map};
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use outbound_common::account::{self, ACCOUNTS as NUMBER_OF_ACCOUNTS};
use outbound_common::{Account, Counter, Flow, FlowKey, ListenerEntry, TenantEntry};

/// Layout version of what is pinned. Written and read by the agent alone.
#[map]
static LAYOUT: Array<u32> = Array::pinned(1, 0);

/// Tenant by cgroup id. Written by the agent. Full: the agent refuses the assignment.
#[map]
pub(crate) static TENANTS: HashMap<u64, TenantEntry> = HashMap::pinned(65_536, BPF_F_NO_PREALLOC);

/// How deep below the root tenants' cgroups lie, a bit each, so that whoever is no tenant costs
/// no more look-ups than there are such levels. Written by the agent, before a tenant is.
#[map]
static LEVELS: Array<u32> = Array::pinned(1, 0);

/// The agent's ports by network namespace cookie. Written by the agent. Full: the agent refuses
/// the namespace.
#[map]
pub(crate) static LISTENERS: HashMap<u64, ListenerEntry> =
    HashMap::pinned(65_536, BPF_F_NO_PREALLOC);

/// Stamp and destination of every workload socket; children of a listening socket get a copy.
/// No memory: the socket is not made.
#[btf_map]
pub(crate) static SOCKETS: SocketStorage<Flow, { (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize }> =
    SocketStorage::new();

/// Flows between the SYN and the end of the handshake, and the datagrams of the last while.
/// Full: the connection finds no flow and the agent refuses it. Not LRU: one tenant must not
/// push another's entries out, nor has it more than its share of the room.
#[map]
pub(crate) static FLOWS: HashMap<FlowKey, Flow> =
    HashMap::pinned(account::FLOWS, BPF_F_NO_PREALLOC);

/// Flow of every socket that the agent accepted. Read by the agent, by descriptor.
#[btf_map]
pub(crate) static ACCEPTED: SocketStorage<Flow, { BPF_F_NO_PREALLOC as usize }> =
    SocketStorage::new();

/// One number per [`Counter`] and CPU.
#[map]
pub(crate) static COUNTERS: PerCpuArray<u64> = PerCpuArray::pinned(Counter::ALL.len() as u32, 0);

/// What is kept of each tenant, by slot; the last is nobody's.
#[map]
pub(crate) static ACCOUNTS: Array<Account> = Array::pinned(NUMBER_OF_ACCOUNTS, 0);

/// How many flows of each slot the agent has removed. Written by the agent alone: what it writes
/// is a whole value, under which additions of the programs would be lost.
#[map]
pub(crate) static SWEPT: Array<u64> = Array::pinned(NUMBER_OF_ACCOUNTS, 0);

/// Refusals on their way to the access log. Full: the refusal holds, `refusal_lost` counts it.
#[map]
pub(crate) static REFUSALS: RingBuf = RingBuf::pinned(256 * 1024, 0);

/// Adds one.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(cell) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this CPU's cell; the lookup gave it.
        unsafe { *cell += 1 }
    }
}

/// Looks an entry up.
#[inline(always)]
pub(crate) fn tenant(cgroup: u64) -> Option<&'static TenantEntry> {
    // SAFETY: without preallocation an entry is immutable until its RCU grace period ends.
    unsafe { TENANTS.get(cgroup) }
}

/// See [`LEVELS`].
#[inline(always)]
pub(crate) fn levels() -> u32 {
    LEVELS
        .get(0)
        .copied()
        .unwrap_or(outbound_common::tenant::LEVELS)
}

/// Looks an entry up.
#[inline(always)]
pub(crate) fn listener(netns: u64) -> Option<&'static ListenerEntry> {
    // SAFETY: as in `tenant`.
    unsafe { LISTENERS.get(netns) }
}

/// `BPF_MAP_TYPE_SK_STORAGE`. aya-ebpf's own takes neither flags nor any other context than
/// `bpf_sock_addr`. The fields are what the loader reads in BTF; nothing is ever stored in them.
#[repr(C)]
pub(crate) struct SocketStorage<T, const FLAGS: usize> {
    r#type: *const [i32; bpf_map_type::BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; FLAGS],
    _value: PhantomData<T>,
}

// SAFETY: never dereferenced; the loader replaces it by a map.
unsafe impl<T, const FLAGS: usize> Sync for SocketStorage<T, FLAGS> {}

impl<T, const FLAGS: usize> SocketStorage<T, FLAGS> {
    const fn new() -> Self {
        Self {
            r#type: ptr::null(),
            key: ptr::null(),
            value: ptr::null(),
            max_entries: ptr::null(),
            map_flags: ptr::null(),
            _value: PhantomData,
        }
    }

    const fn as_ptr(&self) -> *mut c_void {
        ptr::from_ref(self).cast_mut().cast()
    }

    /// The value of a socket, if it has one.
    #[inline(always)]
    pub(crate) fn get(&self, sk: *mut bpf_sock) -> Option<&'static mut T> {
        if sk.is_null() {
            return None;
        }
        // SAFETY: a socket of the context; the map is of this value type.
        let value = unsafe { bpf_sk_storage_get(self.as_ptr(), sk.cast(), ptr::null_mut(), 0) };
        // SAFETY: null or the socket's storage, which lives as long as the program runs.
        unsafe { value.cast::<T>().as_mut() }
    }

    /// Gives a socket a value; false where the kernel has no memory for it.
    #[inline(always)]
    pub(crate) fn set(&self, sk: *mut bpf_sock, value: &mut T) -> bool {
        let create = u64::from(BPF_SK_STORAGE_GET_F_CREATE);
        // SAFETY: a socket of the context; `value` is of the map's value type and is copied.
        let stored = unsafe {
            bpf_sk_storage_get(
                self.as_ptr(),
                sk.cast(),
                ptr::from_mut(value).cast(),
                create,
            )
        };
        !stored.is_null()
    }
}
