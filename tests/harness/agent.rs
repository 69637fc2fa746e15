//! The agent in this process, and workloads that the stand-in kernel redirects to it.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hickory_proto::op::Message;
use outbound_agent::app::App;
use outbound_agent::app::renew::Next;
use outbound_agent::config;
use outbound_agent::drain::Drained;
use outbound_agent::model::tenant::{CgroupId, TenantId, Tenants};
use outbound_agent::observe::access_log::{AccessLog, Lines};
use outbound_agent::observe::metrics::Metrics;
use outbound_agent::observe::record::Records;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};

use crate::kernel::FakeFlows;
use crate::{DEADLINE, eventually};

/// A running agent without a kernel.
pub struct Agent {
    app: App,
    flows: Arc<FakeFlows>,
    tenants: Vec<(String, CgroupId)>,
    lines: Lines,
    metrics: Metrics,
    state: TempDir,
}

impl Agent {
    /// Starts one with `config` behind the settings that every test shares. The tenants'
    /// cgroups are numbered 1, 2, 3 in the order of the configuration.
    pub fn start(config: &str) -> Self {
        Self::start_again(tempfile::tempdir().unwrap(), config)
    }

    /// As [`Self::start`], with what an agent before it has left behind.
    pub fn start_again(state: TempDir, config: &str) -> Self {
        let text = settings(&state, config);
        let config =
            config::parse(&text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"));
        let numbered = || (1..).map(CgroupId).zip(&config.tenants);
        let snapshot: Tenants = numbered()
            .map(|(cgroup, spec)| (cgroup, Arc::clone(&spec.tenant)))
            .collect();
        let tenants = numbered()
            .map(|(cgroup, spec)| (spec.tenant.id.to_string(), cgroup))
            .collect();
        let flows = Arc::new(FakeFlows::default());
        let metrics = Metrics::new("test", None);
        let (log, lines) = AccessLog::memory().unwrap();
        let records = Records::new(metrics.clone(), log);
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot));
        let app = App::start(&config, Arc::clone(&flows) as _, snapshot, records).unwrap();
        Self {
            app,
            flows,
            tenants,
            lines,
            metrics,
            state,
        }
    }

    /// Another configuration while it runs; of tenants those that it has begun with. Gives how much
    /// is not allowed any more and was ended.
    pub fn reload(&self, config: &str) -> usize {
        let text = settings(&self.state, config);
        let config =
            config::parse(&text, Path::new("test.toml")).unwrap_or_else(|error| panic!("{error}"));
        let agent = self.app.agent();
        let next = Next::prepare(agent, &config).unwrap();
        let cgroup = |id: &TenantId| self.cgroup(id.as_str());
        let tenants = config.tenants.iter().map(|spec| &spec.tenant);
        let tenants: Tenants = tenants
            .map(|tenant| (cgroup(&tenant.id), Arc::clone(tenant)))
            .collect();
        let publish = || agent.tenants.store(Arc::new(tenants));
        next.take_over(agent, publish).1
    }

    /// Where tenants' connections come to.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.app.port()))
    }

    /// A connection of `tenant` to `original_dst`, as the kernel would redirect it.
    pub async fn connect(&self, tenant: &str, original_dst: SocketAddr) -> TcpStream {
        let cgroup = Some(self.cgroup(tenant));
        self.connect_as(cgroup, original_dst).await.unwrap()
    }

    fn cgroup(&self, tenant: &str) -> CgroupId {
        let mut tenants = self.tenants.iter();
        let (_, cgroup) = tenants
            .find(|(name, _)| name == tenant)
            .expect("a tenant of the configuration");
        *cgroup
    }

    /// A connection of a cgroup that need not be a tenant's; without one the kernel has no flow.
    /// The agent may reset it before this returns.
    pub async fn connect_as(
        &self,
        cgroup: Option<CgroupId>,
        original_dst: SocketAddr,
    ) -> io::Result<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        if let Some(cgroup) = cgroup {
            self.flows
                .redirect(socket.local_addr().unwrap(), cgroup, original_dst);
        }
        socket.connect(self.address()).await
    }

    /// A datagram socket of `tenant` that is connected to a DNS server, as the kernel would
    /// redirect it.
    pub async fn resolver(&self, tenant: &str, server: SocketAddr) -> UdpSocket {
        self.resolver_as(Some(self.cgroup(tenant)), server).await
    }

    /// As [`Self::resolver`], of a cgroup that need not be a tenant's; without one the kernel
    /// has no flow.
    pub async fn resolver_as(&self, cgroup: Option<CgroupId>, server: SocketAddr) -> UdpSocket {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        if let Some(cgroup) = cgroup {
            self.flows
                .redirect(socket.local_addr().unwrap(), cgroup, server);
        }
        let agent = SocketAddr::from(([127, 1, 7, 53], self.app.dns_port()));
        socket.connect(agent).await.unwrap();
        socket
    }

    /// Asks a DNS server, and gives its answer.
    pub async fn look_up(&self, tenant: &str, message: &Message) -> Message {
        let server = SocketAddr::from(([192, 0, 2, 53], 53));
        let socket = self.resolver(tenant, server).await;
        socket.send(&message.to_vec().unwrap()).await.unwrap();
        let mut bytes = [0; 4096];
        let length = tokio::time::timeout(DEADLINE, socket.recv(&mut bytes))
            .await
            .expect("an answer in time")
            .unwrap();
        Message::from_vec(&bytes[..length]).unwrap()
    }

    /// One request on a connection of its own: gives all that comes back.
    pub async fn ask(&self, tenant: &str, original_dst: SocketAddr, request: &str) -> Reply {
        let mut stream = self.connect(tenant, original_dst).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        Reply::read(&mut stream).await
    }

    /// `GET path` of `host`, where the connection was opened to `original_dst`.
    pub async fn get(
        &self,
        tenant: &str,
        original_dst: SocketAddr,
        host: &str,
        path: &str,
    ) -> Reply {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        self.ask(tenant, original_dst, &request).await
    }

    /// Waits for an access log line that has all of `fields`, and gives it.
    #[track_caller]
    pub fn expect_log(&self, fields: &[(&str, &str)]) -> Value {
        eventually(
            &format!("a log line with {fields:?} among {:#?}", self.log()),
            || {
                self.log().into_iter().find(|line| {
                    fields.iter().all(|(name, expected)| match &line[*name] {
                        Value::String(text) => text == expected,
                        other => **expected == *other.to_string(),
                    })
                })
            },
        )
    }

    /// Every access log line so far.
    pub fn log(&self) -> Vec<Value> {
        self.lines
            .all()
            .iter()
            .map(|line| serde_json::from_str(line).expect("a line of JSON"))
            .collect()
    }

    /// Waits until a sample, named with its labels as in the exposition, has `value`.
    #[track_caller]
    pub fn expect_metric(&self, sample: &str, value: f64) {
        eventually(&format!("{sample} {value}"), || {
            (self.metric(sample) == Some(value)).then_some(())
        });
    }

    fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.metrics.text();
        let line = text.lines().find(|line| {
            line.strip_prefix(sample)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Every metric, as it is exposed.
    pub fn metrics(&self) -> String {
        self.metrics.text()
    }

    /// The certificate that workloads have to trust, as PEM.
    pub fn authority(&self) -> String {
        std::fs::read_to_string(self.trust(None).join("ca.pem")).unwrap()
    }

    /// As [`Self::authority`], of one tenant where each has its own.
    pub fn authority_of(&self, tenant: &str) -> String {
        std::fs::read_to_string(self.trust(Some(tenant)).join("ca.pem")).unwrap()
    }

    /// The directory of what workloads have to trust.
    pub fn trust(&self, tenant: Option<&str>) -> std::path::PathBuf {
        let all = self.state.path().join("trust");
        tenant.map_or_else(|| all.clone(), |tenant| all.join(tenant))
    }

    /// A port that real clients can connect to: whatever comes there is `tenant`'s, meant for
    /// `original_dst`. It ends with the test's runtime.
    pub async fn door(&self, tenant: &str, original_dst: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (flows, cgroup) = (Arc::clone(&self.flows), self.cgroup(tenant));
        let agent = SocketAddr::from(([127, 0, 0, 1], self.app.port()));
        drop(crate::spawn(async move {
            while let Ok((mut client, _from)) = listener.accept().await {
                let socket = TcpSocket::new_v4().unwrap();
                socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
                flows.redirect(socket.local_addr().unwrap(), cgroup, original_dst);
                let mut agent = socket.connect(agent).await.unwrap();
                drop(crate::spawn(async move {
                    // Whoever breaks off first is what some tests want.
                    drop(tokio::io::copy_bidirectional(&mut client, &mut agent).await);
                }));
            }
        }));
        address
    }

    /// Drains within `deadline`.
    pub async fn stop(self, deadline: Duration) -> Drained {
        self.stop_for_now(deadline).await.0
    }

    /// Drains within `deadline`; gives what the agent leaves behind as well.
    pub async fn stop_for_now(self, deadline: Duration) -> (Drained, TempDir) {
        (self.app.stop(deadline).await, self.state)
    }
}

/// The settings that every test shares, and its own.
fn settings(state: &TempDir, config: &str) -> String {
    let state = state.path();
    format!("version = 1\n[agent]\nport = 0\ndns_port = 0\nstate_dir = {state:?}\n{config}")
}

/// A response as a workload sees it.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code; 0 where the connection ended without a response.
    pub status: u16,
    /// The head, as it came.
    pub head: String,
    /// What came behind it.
    pub body: String,
}

impl Reply {
    /// Reads to the end of the connection.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Self {
        let mut bytes = Vec::new();
        // A reset is an answer too: what came before it counts.
        drop(
            tokio::time::timeout(DEADLINE, stream.read_to_end(&mut bytes))
                .await
                .expect("an answer in time"),
        );
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .unwrap_or(0);
        Self {
            status,
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(self.body.trim()).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}
