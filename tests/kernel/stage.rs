//! What every test of this tier stands on: a sandbox, the kernel side, and in the agent's place
//! listeners that show which flow came with each connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;

use harness::sandbox::{PATIENCE, Sandbox, Workload};
use nix::libc;
use outbound_agent::model::addr::Downstream;
use outbound_agent::model::flow::{Flow, Flows as _};
use outbound_agent::model::tenant::CgroupId;
use outbound_agent::redirect::{self, KernelFlows, Redirect};
use outbound_agent::sys;
use outbound_common::{Counter, ListenerEntry};
use socket2::{Domain, Protocol, Socket, Type};

/// Outside the range of ephemeral ports, as the agent's are.
pub(crate) const TCP_PORT: u16 = 15_001;
pub(crate) const DNS_PORT: u16 = 15_053;

pub(crate) struct Stage {
    pub(crate) redirect: Redirect,
    pub(crate) flows: Arc<KernelFlows>,
    accepted: Receiver<Accepted>,
    pub(crate) sandbox: Sandbox,
}

/// A connection that the agent accepted.
pub(crate) struct Accepted {
    pub(crate) flow: Option<Flow>,
    pub(crate) downstream: SocketAddr,
    pub(crate) stream: TcpStream,
}

/// A cgroup that is watched and assigned.
pub(crate) struct Tenant {
    pub(crate) cgroup: PathBuf,
    pub(crate) id: CgroupId,
}

impl Stage {
    /// With nothing but `lo`; `None` where the tier is skipped.
    pub(crate) fn new() -> Option<Self> {
        Sandbox::new().map(Self::on)
    }

    /// With a way out, and a witness there.
    pub(crate) fn with_uplink() -> Option<Self> {
        Sandbox::with_uplink().map(Self::on)
    }

    fn on(sandbox: Sandbox) -> Self {
        let mut redirect = Redirect::open(&sandbox.settings()).expect("the kernel side loads");
        redirect.guard_agent().expect("the agent's side attaches");
        let flows = Arc::new(redirect.flows().expect("flows"));
        let (sender, accepted) = mpsc::sync_channel(256);
        for listener in sandbox.netns().enter(listeners) {
            let (sender, flows) = (sender.clone(), flows.clone());
            thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    let downstream = stream.peer_addr();
                    let downstream = downstream.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
                    let flow = flows.flow(stream.as_fd(), Downstream(downstream));
                    let connection = Accepted {
                        flow,
                        downstream,
                        stream,
                    };
                    if sender.send(connection).is_err() {
                        break;
                    }
                }
            });
        }
        let stage = Self {
            redirect,
            flows,
            accepted,
            sandbox,
        };
        stage.listen(0);
        stage
    }

    /// Publishes where the listeners are.
    pub(crate) fn listen(&self, flags: u32) {
        let entry = ListenerEntry {
            tcp_port: TCP_PORT,
            dns_port: DNS_PORT,
            flags,
        };
        let cookie = self.sandbox.netns().cookie();
        self.redirect
            .listen(cookie, entry)
            .expect("a listener entry");
    }

    /// A cgroup with the programs on it, whose tenant has this slot.
    pub(crate) fn tenant(&mut self, name: &str, slot: u32) -> Tenant {
        self.tenant_with(name, slot, 0)
    }

    pub(crate) fn tenant_with(&mut self, name: &str, slot: u32, flags: u32) -> Tenant {
        let cgroup = self.sandbox.cgroup(name);
        self.redirect.watch(&cgroup).expect("the programs attach");
        let id = CgroupId(sys::cgroup_id(&cgroup).expect("its id"));
        self.redirect
            .assign(id, slot, flags)
            .expect("a tenant entry");
        Tenant { cgroup, id }
    }

    /// A process in a cgroup.
    pub(crate) fn workload(&self, cgroup: &Path) -> Workload {
        self.sandbox.workload(cgroup)
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Accepted {
        self.accepted
            .recv_timeout(PATIENCE)
            .expect("a connection reaches the agent")
    }

    /// The next connection's flow.
    #[track_caller]
    pub(crate) fn flow(&self) -> Flow {
        self.accept().flow.expect("the connection has a flow")
    }

    /// That no connection has reached the agent.
    #[track_caller]
    pub(crate) fn expect_none_accepted(&self) {
        match self.accepted.try_recv() {
            Ok(accepted) => panic!("a connection came: {:?}", accepted.flow),
            Err(mpsc::TryRecvError::Empty | mpsc::TryRecvError::Disconnected) => {}
        }
    }

    /// A counter's value.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        let counters = self.redirect.counters().expect("counters");
        let found = counters.iter().find(|(found, _value)| *found == counter);
        found.map_or(0, |(_counter, value)| *value)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let pin_dir = self.sandbox.settings().pin_dir;
        let detached = redirect::detach(&pin_dir);
        if !thread::panicking() {
            detached.expect("everything comes off");
        }
        // Wakes the acceptors, so that they end with the channel.
        self.sandbox.netns().enter(|| {
            for address in [
                IpAddr::from(Ipv4Addr::LOCALHOST),
                Ipv6Addr::LOCALHOST.into(),
            ] {
                drop(TcpStream::connect((address, TCP_PORT)));
            }
        });
        while !matches!(
            self.accepted.try_recv(),
            Err(mpsc::TryRecvError::Empty | mpsc::TryRecvError::Disconnected)
        ) {}
    }
}

/// As the agent's: any IPv4 address and `::1`, on `lo` alone.
fn listeners() -> Vec<TcpListener> {
    [
        (Domain::IPV4, IpAddr::from(Ipv4Addr::UNSPECIFIED)),
        (Domain::IPV6, Ipv6Addr::LOCALHOST.into()),
    ]
    .into_iter()
    .filter_map(|(domain, address)| {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).ok()?;
        socket.set_reuse_address(true).ok()?;
        socket.bind_device(Some(b"lo")).ok()?;
        socket
            .bind(&SocketAddr::new(address, TCP_PORT).into())
            .ok()?;
        socket.listen(4096).ok()?;
        Some(socket.into())
    })
    .collect()
}
