//! The agent as a process of its own, with a stand-in for the kernel.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use outbound_agent::app::App;
use outbound_agent::config;
use outbound_agent::model::addr::{Downstream, OriginalDst};
use outbound_agent::model::flow::{ConnectId, Flow, Flows};
use outbound_agent::model::tenant::{CgroupId, Tenants};
use outbound_agent::observe::access_log::{AccessLog, Target};
use outbound_agent::observe::metrics::Metrics;
use outbound_agent::observe::record::Records;

/// Where every connection wanted to go.
const DESTINATION: &str = "127.0.0.1";

/// Says its port, and serves until its input ends.
pub(crate) fn main(path: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    // The first line is a comment that names the origin's port.
    let port = text.lines().next().unwrap().trim_start_matches("# ");
    let original_dst = format!("{DESTINATION}:{port}").parse().unwrap();
    let config = config::parse(&text, Path::new(path)).unwrap();
    let tenants: Tenants = (1..)
        .map(CgroupId)
        .zip(&config.tenants)
        .map(|(cgroup, spec)| (cgroup, Arc::clone(&spec.tenant)))
        .collect();
    let log = AccessLog::open(&Target::File("/dev/null".into()), false).unwrap();
    let records = Records::new(Metrics::new("bench", None), log);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let _entered = runtime.enter();
    let flows = Arc::new(ByAddress {
        original_dst,
        last: AtomicU64::new(0),
    });
    let tenants = Arc::new(ArcSwap::from_pointee(tenants));
    let app = App::start(&config, flows, tenants, records).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "{}", app.port()).unwrap();
    out.flush().unwrap();
    drop(std::io::stdin().read(&mut [0]));
}

/// The workload's address says whose it is: tenant N is at 127.1.0.0 and N.
struct ByAddress {
    original_dst: SocketAddr,
    last: AtomicU64,
}

impl Flows for ByAddress {
    fn flow(&self, _accepted: BorrowedFd<'_>, downstream: Downstream) -> Option<Flow> {
        let IpAddr::V4(address) = downstream.0.ip() else {
            return None;
        };
        let number = u64::from(address.to_bits() & 0xffff);
        Some(Flow {
            connect: ConnectId {
                socket: self.last.fetch_add(1, Ordering::Relaxed),
                at: 0,
            },
            original_dst: OriginalDst(self.original_dst),
            tenant_cgroup: CgroupId(number),
            socket_cgroup: CgroupId(number),
            netns: 1,
            pid: 1,
            uid: 1000,
            executable: "workload".into(),
        })
    }

    fn flow_of_datagram(
        &self,
        _socket: BorrowedFd<'_>,
        _source: Downstream,
        _local: SocketAddr,
    ) -> Option<Flow> {
        None
    }
}
