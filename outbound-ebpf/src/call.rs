//! What the socket address hooks are told, read once.

use core::ptr::{addr_of, addr_of_mut, read_volatile, write_volatile};

use aya_ebpf::bindings::{bpf_sock, bpf_sock_addr};
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_netns_cookie, bpf_get_socket_cookie,
};
use aya_ebpf::programs::SockAddrContext;
use outbound_common::tenant::DEEPEST;
use outbound_common::{Addr16, PortBe, TenantEntry};

use crate::maps::{levels, tenant};
use crate::refuse::{Attempt, Whose};

pub(crate) const AF_INET: u32 = 2;
pub(crate) const AF_INET6: u32 = 10;
pub(crate) const TCP: u32 = 6;
pub(crate) const UDP: u32 = 17;

/// Reads a field of a context.
///
/// Volatile, as otherwise LLVM merges or moves loads into forms that the verifier refuses:
///   dereference of modified ctx ptr R1 off=8 disallowed
///   invalid bpf_context access off=4 size=8
macro_rules! read {
    ($place:expr) => {{
        // SAFETY: a field of the context that the kernel handed over.
        unsafe { core::ptr::read_volatile(core::ptr::addr_of!($place)) }
    }};
}
pub(crate) use read;

/// Family of a hook. A constant to the compiler: the verifier refuses a program in which a hook of
/// one family so much as contains an access to the other's fields.
///   invalid bpf_context access off=8 size=4
pub(crate) const V4: u32 = AF_INET;
pub(crate) const V6: u32 = AF_INET6;

/// One call of connect, sendmsg, bind, recvmsg or getpeername.
pub(crate) struct Call<const IP: u32> {
    context: *mut bpf_sock_addr,
    pub(crate) sk: *mut bpf_sock,
    pub(crate) protocol: u32,
    pub(crate) address: Addr16,
    pub(crate) port: PortBe,
}

impl<const IP: u32> Call<IP> {
    #[inline(always)]
    pub(crate) fn read(ctx: &SockAddrContext) -> Self {
        let context = ctx.sock_addr;
        Self {
            context,
            sk: read!((*context).__bindgen_anon_1.sk),
            protocol: read!((*context).protocol),
            address: if IP == V4 {
                Addr16::from_v4_word(read!((*context).user_ip4))
            } else {
                Addr16([
                    read!((*context).user_ip6[0]),
                    read!((*context).user_ip6[1]),
                    read!((*context).user_ip6[2]),
                    read!((*context).user_ip6[3]),
                ])
            },
            port: PortBe(read!((*context).user_port) as u16),
        }
    }

    /// Changes the address of the call.
    #[inline(always)]
    pub(crate) fn rewrite(&self, address: Addr16, port: PortBe) {
        let context = self.context;
        let words = address.0;
        // SAFETY: fields of the context that these hooks may write, one word at a time.
        unsafe {
            if IP == V4 {
                write_volatile(addr_of_mut!((*context).user_ip4), words[3]);
            } else {
                write_volatile(addr_of_mut!((*context).user_ip6[0]), words[0]);
                write_volatile(addr_of_mut!((*context).user_ip6[1]), words[1]);
                write_volatile(addr_of_mut!((*context).user_ip6[2]), words[2]);
                write_volatile(addr_of_mut!((*context).user_ip6[3]), words[3]);
            }
            write_volatile(addr_of_mut!((*context).user_port), u32::from(port.0));
        }
    }

    /// Cookie of the network namespace that the socket lives in.
    #[inline(always)]
    pub(crate) fn netns(&self) -> u64 {
        // SAFETY: the context.
        unsafe { bpf_get_netns_cookie(self.context.cast()) }
    }

    /// The socket's cookie.
    #[inline(always)]
    pub(crate) fn cookie(&self) -> u64 {
        // SAFETY: the context.
        unsafe { bpf_get_socket_cookie(self.context.cast()) }
    }

    /// Whether the socket is bound to a device.
    #[inline(always)]
    pub(crate) fn is_device_bound(&self) -> bool {
        // SAFETY: checked for null by whoever looked up the socket's storage.
        unsafe { read_volatile(addr_of!((*self.sk).bound_dev_if)) != 0 }
    }

    /// Whether the socket is bound to an IPv6 address.
    #[inline(always)]
    pub(crate) fn is_source_bound(&self) -> bool {
        let sk = self.sk;
        (read!((*sk).src_ip6[0])
            | read!((*sk).src_ip6[1])
            | read!((*sk).src_ip6[2])
            | read!((*sk).src_ip6[3]))
            != 0
    }

    /// For the report, should the call be refused.
    #[inline(always)]
    pub(crate) fn attempt(&self, whose: Whose) -> Attempt {
        Attempt {
            whose,
            destination: self.address,
            port: self.port,
            protocol: self.protocol,
            family: IP,
        }
    }
}

/// The tenant of the calling process: the innermost assigned cgroup above it.
#[inline(always)]
pub(crate) fn tenant_of_caller() -> Option<&'static TenantEntry> {
    let mut innermost = None;
    let mut levels = levels() >> 1;
    let mut level = 1;
    while levels != 0 && level <= DEEPEST as i32 {
        if levels & 1 != 0 {
            // SAFETY: a helper that takes a number.
            let cgroup = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
            if cgroup == 0 {
                break;
            }
            if let Some(entry) = tenant(cgroup) {
                innermost = Some(entry);
            }
        }
        levels >>= 1;
        level += 1;
    }
    innermost
}
