//! `bind`: nobody takes the agent's ports, least of all while the agent is away.

use aya_ebpf::programs::SockAddrContext;
use outbound_common::Counter;

use crate::call::Call;
use crate::maps::{SOCKETS, listener};
use crate::refuse::{EADDRINUSE, LET_THROUGH, Whose};

#[inline(always)]
pub(crate) fn bind<const IP: u32>(ctx: &SockAddrContext) -> i32 {
    let call = Call::<IP>::read(ctx);
    let port = call.port.get();
    // Port 0 is any port; the agent's are outside the range that those are taken from.
    if port == 0 {
        return LET_THROUGH;
    }
    let Some(listener) = listener(call.netns()) else {
        return LET_THROUGH;
    };
    if port != listener.tcp_port && port != listener.dns_port {
        return LET_THROUGH;
    }
    let whose = SOCKETS.get(call.sk);
    let whose = whose.map_or(Whose::NOBODYS, |flow| (&*flow).into());
    call.attempt(whose).refuse(Counter::AgentPort, EADDRINUSE)
}
