//! Refusing: counted, reported, and with an errno that says what a network would say.

use core::ptr;

use aya_ebpf::bindings::bpf_sock;
use aya_ebpf::helpers::generated::{bpf_get_current_cgroup_id, bpf_set_retval};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid};
use outbound_common::account::NOBODY;
use outbound_common::{Addr16, Counter, Flow, PortBe, Refusal, TenantEntry};

use crate::account;
use crate::maps::{REFUSALS, count};

pub(crate) const LET_THROUGH: i32 = 1;
pub(crate) const REFUSED: i32 = 0;

pub(crate) const EPERM: i32 = 1;
pub(crate) const EPROTONOSUPPORT: i32 = 93;
pub(crate) const EAFNOSUPPORT: i32 = 97;
pub(crate) const EADDRINUSE: i32 = 98;
pub(crate) const EADDRNOTAVAIL: i32 = 99;
pub(crate) const ENETUNREACH: i32 = 101;
pub(crate) const ECONNREFUSED: i32 = 111;

/// Set by the loader: `bpf_set_retval` exists (Linux 5.18). The verifier drops the branch where
/// it does not, and the caller sees EPERM whatever was meant.
#[unsafe(no_mangle)]
static HAVE_RETVAL: u8 = 1;

/// Set by the loader: `bpf_get_current_comm` may be called from every hook that has a caller.
#[unsafe(no_mangle)]
static HAVE_COMM: u8 = 1;

/// Whose a refused call is.
#[derive(Clone, Copy)]
pub(crate) struct Whose {
    pub(crate) cgroup: u64,
    pub(crate) slot: u32,
}

impl Whose {
    /// No tenant's.
    pub(crate) const NOBODYS: Self = Self {
        cgroup: 0,
        slot: NOBODY,
    };
}

impl From<&TenantEntry> for Whose {
    #[inline(always)]
    fn from(tenant: &TenantEntry) -> Self {
        Self {
            cgroup: tenant.cgroup,
            slot: tenant.slot,
        }
    }
}

impl From<&Flow> for Whose {
    #[inline(always)]
    fn from(flow: &Flow) -> Self {
        Self {
            cgroup: flow.tenant_cgroup,
            slot: flow.slot,
        }
    }
}

/// What a refused call wanted.
pub(crate) struct Attempt {
    pub(crate) whose: Whose,
    pub(crate) destination: Addr16,
    pub(crate) port: PortBe,
    pub(crate) protocol: u32,
    pub(crate) family: u32,
}

impl Attempt {
    /// A call that names no address.
    #[inline(always)]
    pub(crate) fn without_address(whose: Whose, family: u32, protocol: u32) -> Self {
        Self {
            whose,
            destination: Addr16::UNSPECIFIED,
            port: PortBe(0),
            protocol,
            family,
        }
    }

    /// Refuses a system call.
    #[inline(always)]
    pub(crate) fn refuse(&self, counter: Counter, errno: i32) -> i32 {
        // SAFETY: a helper without arguments.
        let cgroup = unsafe { bpf_get_current_cgroup_id() };
        let pid = (bpf_get_current_pid_tgid() >> 32) as u32;
        self.report(
            counter,
            cgroup,
            pid,
            bpf_get_current_uid_gid() as u32,
            comm(),
        );
        set_errno(errno);
        REFUSED
    }

    /// Refuses a system call that well-behaved workloads make all the time: counted, not reported.
    #[inline(always)]
    pub(crate) fn refuse_quietly(counter: Counter, errno: i32) -> i32 {
        count(counter);
        set_errno(errno);
        REFUSED
    }

    /// Refuses a packet: there is no caller to name, nor one to give an errno.
    #[inline(always)]
    pub(crate) fn drop_packet(&self, counter: Counter, flow: &Flow) -> i32 {
        self.report(counter, flow.socket_cgroup, flow.pid, flow.uid, flow.comm);
        REFUSED
    }

    /// Refuses a packet of a socket that nothing is known of.
    #[inline(always)]
    pub(crate) fn drop_unknown(counter: Counter) -> i32 {
        Self::without_address(Whose::NOBODYS, 0, 0).report(counter, 0, 0, 0, [0; 16]);
        REFUSED
    }

    #[inline(always)]
    fn report(&self, counter: Counter, cgroup: u64, pid: u32, uid: u32, comm: [u8; 16]) {
        count(counter);
        let Some(suppressed) = account::may_report(self.whose.slot) else {
            count(Counter::RefusalSuppressed);
            return;
        };
        let Some(mut entry) = REFUSALS.reserve::<Refusal>(0) else {
            count(Counter::RefusalLost);
            account::suppressed(self.whose.slot, suppressed + 1);
            return;
        };
        entry.write(Refusal {
            tenant_cgroup: self.whose.cgroup,
            process_cgroup: cgroup,
            destination: self.destination,
            destination_port: self.port,
            reserved: 0,
            counter: counter as u32,
            protocol: self.protocol,
            pid,
            uid,
            family: self.family,
            suppressed,
            comm,
        });
        entry.submit(0);
    }
}

/// Refuses a socket option. Before 6.1 this hook may ask neither for the caller's cgroup nor for
/// its pid; the socket's cgroup stands for the first, and where there is no comm there is no pid.
#[inline(always)]
pub(crate) fn refuse_option(flow: &Flow, sk: *mut bpf_sock) -> i32 {
    // SAFETY: the context's socket.
    let (family, protocol) = unsafe { ((*sk).family, (*sk).protocol) };
    let attempt = Attempt::without_address(flow.into(), family, protocol);
    let pid = if is_set(&HAVE_COMM) {
        (bpf_get_current_pid_tgid() >> 32) as u32
    } else {
        0
    };
    let uid = bpf_get_current_uid_gid() as u32;
    attempt.report(Counter::SocketOption, flow.socket_cgroup, pid, uid, comm());
    REFUSED
}

/// Name of the calling thread.
#[inline(always)]
pub(crate) fn comm() -> [u8; 16] {
    if is_set(&HAVE_COMM) {
        bpf_get_current_comm().unwrap_or_default()
    } else {
        [0; 16]
    }
}

/// What the system call returns. Negative constants only: a positive value was let through as a
/// success by kernels before 2026.
#[inline(always)]
pub(crate) fn set_errno(errno: i32) {
    if is_set(&HAVE_RETVAL) {
        // SAFETY: a helper that takes a number.
        unsafe { bpf_set_retval(-errno) };
    }
}

#[inline(always)]
fn is_set(global: &u8) -> bool {
    // SAFETY: a read-only global. Volatile, as the loader changes what the compiler sees.
    unsafe { ptr::read_volatile(global) != 0 }
}
