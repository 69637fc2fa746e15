//! The stand-in for the kernel: for the path tier's speed, never as a proof.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::Mutex;

use outbound_agent::model::addr::{Downstream, OriginalDst};
use outbound_agent::model::flow::{ConnectId, Flow, Flows};
use outbound_agent::model::tenant::CgroupId;

/// Flows by the workload's address, as a test has put them in.
#[derive(Debug, Default)]
pub struct FakeFlows(Mutex<HashMap<SocketAddr, Flow>>);

impl FakeFlows {
    /// The connection from `downstream` is `cgroup`'s, and was opened to `original_dst`.
    pub fn redirect(&self, downstream: SocketAddr, cgroup: CgroupId, original_dst: SocketAddr) {
        let flow = Flow {
            connect: ConnectId {
                socket: u64::from(downstream.port()),
                at: 0,
            },
            original_dst: OriginalDst(original_dst),
            tenant_cgroup: cgroup,
            socket_cgroup: cgroup,
            netns: 1,
            pid: std::process::id(),
            uid: 1000,
            executable: "workload".into(),
        };
        self.0.lock().unwrap().insert(downstream, flow);
    }
}

impl Flows for FakeFlows {
    fn flow(&self, _accepted: BorrowedFd<'_>, downstream: Downstream) -> Option<Flow> {
        self.0.lock().unwrap().remove(&downstream.0)
    }

    fn flow_of_datagram(
        &self,
        _socket: BorrowedFd<'_>,
        source: Downstream,
        _local: SocketAddr,
    ) -> Option<Flow> {
        self.0.lock().unwrap().get(&source.0).cloned()
    }
}
