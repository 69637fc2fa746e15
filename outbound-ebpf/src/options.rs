//! `setsockopt`: the options that would lead packets around the agent are refused.
//!
//! The belt drops such packets anyway; here the workload is told, instead of waiting in vain.

use core::ptr::{addr_of_mut, read_unaligned, write_volatile};

use aya_ebpf::programs::SockoptContext;
use outbound_common::flow::FLOW_V6ONLY;

use crate::call::read;
use crate::maps::SOCKETS;
use crate::refuse::{LET_THROUGH, refuse_option};

const SOL_IP: i32 = 0;
const SOL_SOCKET: i32 = 1;
const SOL_TCP: i32 = 6;
const SOL_IPV6: i32 = 41;
const IPV6_V6ONLY: i32 = 26;

/// More than this the kernel does not show to a program, and fails the call unless the program
/// declares that it has not looked (`optlen = 0`).
const PAGE: i32 = 4096;

#[inline(always)]
pub(crate) fn setsockopt(ctx: &SockoptContext) -> i32 {
    let context = ctx.sockopt;
    let sk = read!((*context).__bindgen_anon_1.sk);
    let level = read!((*context).level);
    let name = read!((*context).optname);
    let length = read!((*context).optlen);
    // A socket without a stamp sends nothing, whatever its options.
    if let Some(flow) = SOCKETS.get(sk) {
        if leads_around(level, name) {
            return refuse_option(flow, sk);
        }
        if level == SOL_IPV6 && name == IPV6_V6ONLY {
            flow.flags = match integer(ctx) {
                0 => flow.flags & !FLOW_V6ONLY,
                _ => flow.flags | FLOW_V6ONLY,
            };
        }
    }
    if length > PAGE {
        // SAFETY: a field that this hook may write.
        unsafe { write_volatile(addr_of_mut!((*context).optlen), 0) };
    }
    LET_THROUGH
}

#[inline(always)]
const fn leads_around(level: i32, name: i32) -> bool {
    match level {
        // IP_OPTIONS, IP_FREEBIND, IP_TRANSPARENT, IP_UNICAST_IF
        SOL_IP => matches!(name, 4 | 15 | 19 | 50),
        // SO_BINDTODEVICE, SO_MARK, SO_BINDTOIFINDEX
        SOL_SOCKET => matches!(name, 25 | 36 | 62),
        // TCP_REPAIR
        SOL_TCP => matches!(name, 19),
        // IPV6_2292PKTOPTIONS, IPV6_PKTINFO, IPV6_HOPOPTS, IPV6_RTHDRDSTOPTS, IPV6_RTHDR,
        // IPV6_DSTOPTS, IPV6_TRANSPARENT, IPV6_UNICAST_IF, IPV6_FREEBIND
        SOL_IPV6 => matches!(name, 6 | 50 | 54 | 55 | 57 | 59 | 75 | 76 | 78),
        _ => false,
    }
}

/// The option's value; 1 where it has none that can be read, which errs on the side of `::1`.
#[inline(always)]
fn integer(ctx: &SockoptContext) -> i32 {
    let context = ctx.sockopt;
    let start = read!((*context).__bindgen_anon_2.optval) as usize;
    let end = read!((*context).__bindgen_anon_3.optval_end) as usize;
    if start + size_of::<i32>() > end {
        return 1;
    }
    // SAFETY: within the option's bytes, as just checked.
    unsafe { read_unaligned(start as *const i32) }
}
