//! What every test of this tier stands on: a sandbox, the kernel side, and in the agent's place
//! listeners that show which flow came with each connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use harness::sandbox::{PATIENCE, Sandbox, Workload};
use outbound_agent::model::addr::Downstream;
use outbound_agent::model::flow::{Flow, Flows as _};
use outbound_agent::model::tenant::CgroupId;
use outbound_agent::redirect::{KernelFlows, Redirect};
use outbound_agent::sys;
use outbound_common::{Counter, ListenerEntry};
use socket2::{Domain, Protocol, Socket, Type};

/// Outside the range of ephemeral ports, as the agent's are.
pub(crate) const TCP_PORT: u16 = 15_001;
pub(crate) const DNS_PORT: u16 = 15_053;

pub(crate) struct Stage {
    redirect: Option<Redirect>,
    pub(crate) flows: Arc<KernelFlows>,
    listeners: Vec<Socket>,
    sender: SyncSender<Accepted>,
    accepted: Receiver<Accepted>,
    pub(crate) sandbox: Sandbox,
}

/// A connection that the agent accepted.
pub(crate) struct Accepted {
    pub(crate) flow: Option<Flow>,
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
        let redirect = open(&sandbox);
        // Small: connections wait in the backlog rather than as open descriptors.
        let (sender, accepted) = mpsc::sync_channel(64);
        let mut stage = Self {
            flows: Arc::new(redirect.flows().expect("flows")),
            redirect: Some(redirect),
            listeners: Vec::new(),
            sender,
            accepted,
            sandbox,
        };
        stage.start_listening();
        stage.listen(0);
        stage
    }

    /// The kernel side.
    pub(crate) fn redirect(&self) -> &Redirect {
        self.redirect.as_ref().expect("open but in `reload`")
    }

    /// The kernel side, to attach to it.
    pub(crate) fn redirect_mut(&mut self) -> &mut Redirect {
        self.redirect.as_mut().expect("open but in `reload`")
    }

    /// Another agent takes over what is pinned, while the listeners stay.
    pub(crate) fn reload(&mut self) {
        self.redirect = None;
        self.redirect = Some(open(&self.sandbox));
    }

    /// Nobody listens any more, as if the agent had been killed.
    pub(crate) fn stop_listening(&mut self) {
        for listener in self.listeners.drain(..) {
            let _ended = listener.shutdown(Shutdown::Both);
        }
    }

    /// Listens as the agent does: on any IPv4 address of `lo`, and on `::1`.
    pub(crate) fn start_listening(&mut self) {
        let any = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        for (domain, address) in [
            (Domain::IPV4, any),
            (Domain::IPV6, Ipv6Addr::LOCALHOST.into()),
        ] {
            let address = SocketAddr::new(address, TCP_PORT);
            let listener = self.sandbox.netns().enter(|| listener(domain, address));
            let accepting = TcpListener::from(listener.try_clone().expect("a descriptor"));
            let (sender, flows) = (self.sender.clone(), self.flows.clone());
            thread::spawn(move || accept(&accepting, &flows, &sender));
            self.listeners.push(listener);
        }
    }

    /// Publishes where the listeners are.
    pub(crate) fn listen(&self, flags: u32) {
        let entry = ListenerEntry {
            tcp_port: TCP_PORT,
            dns_port: DNS_PORT,
            flags,
        };
        let cookie = self.sandbox.netns().cookie();
        let published = self.redirect().listen(cookie, entry);
        published.expect("a listener entry");
    }

    /// A cgroup with the programs on it, whose tenant has this slot.
    pub(crate) fn tenant(&mut self, name: &str, slot: u32) -> Tenant {
        self.tenant_with(name, slot, 0)
    }

    pub(crate) fn tenant_with(&mut self, name: &str, slot: u32, flags: u32) -> Tenant {
        let cgroup = self.sandbox.cgroup(name);
        let watched = self.redirect_mut().watch(&cgroup);
        watched.expect("the programs attach");
        let id = CgroupId(sys::cgroup_id(&cgroup).expect("its id"));
        let assigned = self.redirect().assign(id, &cgroup, slot, flags);
        assigned.expect("a tenant entry");
        Tenant { cgroup, id }
    }

    /// A process in a cgroup.
    pub(crate) fn workload(&self, cgroup: &Path) -> Workload {
        self.sandbox.workload(cgroup)
    }

    /// The next connection.
    #[track_caller]
    pub(crate) fn accept(&self) -> Accepted {
        let accepted = self.accepted.recv_timeout(PATIENCE);
        accepted.expect("a connection reaches the agent")
    }

    /// A connection that has come already.
    pub(crate) fn try_accept(&self) -> Option<Accepted> {
        self.accepted.try_recv().ok()
    }

    /// The next connection's flow.
    #[track_caller]
    pub(crate) fn flow(&self) -> Flow {
        self.accept().flow.expect("the connection has a flow")
    }

    /// That no connection has reached the agent.
    #[track_caller]
    pub(crate) fn expect_none_accepted(&self) {
        let came = self.accepted.try_recv().ok().map(|accepted| accepted.flow);
        assert_eq!(came, None, "a connection came");
    }

    /// How many flows are between a workload's socket and the agent's.
    pub(crate) fn pending(&self) -> usize {
        self.redirect().pending()
    }

    /// A counter's value.
    pub(crate) fn count(&self, counter: Counter) -> u64 {
        let counters = self.redirect().counters().expect("counters");
        let found = counters.iter().find(|(found, _value)| *found == counter);
        found.map_or(0, |(_counter, value)| *value)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop_listening();
    }
}

fn open(sandbox: &Sandbox) -> Redirect {
    let mut redirect = Redirect::open(&sandbox.settings()).expect("the kernel side loads");
    redirect.guard_agent().expect("the agent's side attaches");
    redirect
}

fn listener(domain: Domain, address: SocketAddr) -> Socket {
    let bound = || {
        let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if address.is_ipv4() {
            socket.bind_device(Some(b"lo"))?;
        }
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        std::io::Result::Ok(socket)
    };
    bound().expect("the agent's listener")
}

/// Ends when the listener is shut down or nobody asks for connections any more.
fn accept(listener: &TcpListener, flows: &KernelFlows, sender: &SyncSender<Accepted>) {
    for stream in listener.incoming().map_while(Result::ok) {
        // A peer that has reset the connection already has no address.
        let nobody = (Ipv4Addr::UNSPECIFIED, 0).into();
        let downstream = Downstream(stream.peer_addr().unwrap_or(nobody));
        let flow = flows.flow(stream.as_fd(), downstream);
        if sender.send(Accepted { flow, stream }).is_err() {
            break;
        }
    }
}
