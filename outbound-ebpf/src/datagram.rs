//! `sendmsg`: datagrams that name their destination. DNS goes to the agent, the rest nowhere.

use aya_ebpf::programs::SockAddrContext;
use outbound_common::Counter;

use crate::call::{Call, UDP};
use crate::connect::{is_dns, judge, redirect_dns};
use crate::refuse::{ECONNREFUSED, EPERM};

#[inline(always)]
pub(crate) fn sendmsg<const IP: u32>(ctx: &SockAddrContext) -> i32 {
    let call = Call::<IP>::read(ctx);
    let (flow, tenant, listener) = match judge(&call) {
        Ok(known) => known,
        Err(verdict) => return verdict,
    };
    if call.protocol != UDP {
        let attempt = call.attempt(tenant.into());
        return attempt.refuse(Counter::SocketKind, EPERM);
    }
    if !is_dns(&call, listener) {
        let attempt = call.attempt(tenant.into());
        return attempt.refuse(Counter::Datagram, ECONNREFUSED);
    }
    redirect_dns(&call, flow, tenant, listener)
}
