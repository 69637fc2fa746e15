//! Flows, read from the storage of the accepted socket.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::Path;

use aya::maps::{HashMap, Map, MapData, SkStorage};
use outbound_common::addr::socket_addr;
use outbound_common::names::map;
use outbound_common::tenant::{AGENT_V6, is_agent_v4};
use outbound_common::{Addr16, FlowKey};
use socket2::SockRef;

use super::{Error, map_error, open_map, pinned};
use crate::model::addr::{Downstream, OriginalDst};
use crate::model::flow::{ConnectId, Flow, Flows};
use crate::model::tenant::CgroupId;
use crate::sys;

const IPPROTO_TCP: u32 = 6;
const IPPROTO_UDP: u32 = 17;

/// The kernel as the source of flows.
pub struct KernelFlows {
    accepted: SkStorage<MapData, outbound_common::Flow>,
    pending: HashMap<MapData, FlowKey, outbound_common::Flow>,
}

impl KernelFlows {
    pub(super) fn open(pin_dir: &Path) -> Result<Self, Error> {
        let data = pinned(pin_dir, map::ACCEPTED)?;
        Ok(Self {
            accepted: SkStorage::try_from(Map::SkStorage(data))
                .map_err(map_error(map::ACCEPTED))?,
            pending: open_map(pin_dir, map::FLOWS)?,
        })
    }

    /// The flow of a datagram that the agent received on `port`, in the namespace of that cookie,
    /// sent to the loopback address `local`.
    pub fn datagram(
        &self,
        netns: u64,
        source: Downstream,
        local: IpAddr,
        port: u16,
    ) -> Option<Flow> {
        self.pending(netns, source, SocketAddr::new(local, port), IPPROTO_UDP)
    }

    /// The flow of a connect whose first packet has not reached the agent's listener yet.
    pub fn connecting(&self, netns: u64, source: Downstream, agent: SocketAddr) -> Option<Flow> {
        self.pending(netns, source, agent, IPPROTO_TCP)
    }

    fn pending(
        &self,
        netns: u64,
        source: Downstream,
        agent: SocketAddr,
        protocol: u32,
    ) -> Option<Flow> {
        let key = FlowKey {
            netns,
            source: Addr16::from(source.ip()),
            agent: Addr16::from(agent.ip()),
            source_port: source.port(),
            agent_port: agent.port(),
            protocol,
        };
        let flow = self.pending.get(&key, 0).ok()?;
        is_own_network(&flow, agent.ip()).then(|| in_our_words(&flow))
    }
}

impl Flows for KernelFlows {
    /// The kernel bound the flow to this very socket; that it came by the namespace and the
    /// loopback network that the flow says is checked all the same.
    fn flow(&self, accepted: BorrowedFd<'_>, _downstream: Downstream) -> Option<Flow> {
        let flow = self.accepted.get(&accepted, 0).ok()?;
        let local = SockRef::from(&accepted).local_addr().ok()?.as_socket()?;
        let is_own = sys::netns_cookie(accepted).ok()? == flow.netns
            && is_own_network(&flow, canonical(local));
        is_own.then(|| in_our_words(&flow))
    }

    fn flow_of_datagram(
        &self,
        socket: BorrowedFd<'_>,
        source: Downstream,
        local: SocketAddr,
    ) -> Option<Flow> {
        let netns = sys::netns_cookie(socket).ok()?;
        self.datagram(netns, source, canonical(local), local.port())
    }
}

fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// Whether an address of the agent is one that the flow's tenant is sent to.
fn is_own_network(flow: &outbound_common::Flow, local: IpAddr) -> bool {
    let local = Addr16::from(local);
    if local.is_v4() {
        is_agent_v4(flow.slot, local.v4_word())
    } else {
        local == AGENT_V6
    }
}

fn in_our_words(flow: &outbound_common::Flow) -> Flow {
    let name = flow.comm.split(|&octet| octet == 0).next();
    Flow {
        connect: ConnectId {
            socket: flow.cookie,
            at: flow.connected_ns,
        },
        original_dst: OriginalDst(socket_addr(flow.destination, flow.destination_port)),
        tenant_cgroup: CgroupId(flow.tenant_cgroup),
        socket_cgroup: CgroupId(flow.socket_cgroup),
        netns: flow.netns,
        pid: flow.pid,
        uid: flow.uid,
        executable: String::from_utf8_lossy(name.unwrap_or_default()).into(),
    }
}
