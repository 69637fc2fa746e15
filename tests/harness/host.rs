//! `Host`: a machine for the system tier. It has a network namespace, cgroups, a directory and a
//! configuration of its own; the built binary runs on it as a process, and so do tenants.

mod command;
mod daemon;
mod server;
mod site;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use outbound_agent::redirect;
use serde_json::Value;
use tempfile::TempDir;

use crate::sandbox::{Sandbox, Sniffer, eventually, python};
use crate::tls::Identity;

pub use command::{Ended, Invocation, Running};
pub use daemon::Daemon;
pub use server::{Request, Server};
pub use site::{Site, Visit};

/// The address of the origins, of a documentation range (RFC 5737).
pub const ORIGIN_V4: &str = "203.0.113.10";
/// As [`ORIGIN_V4`] (RFC 3849).
pub const ORIGIN_V6: &str = "2001:db8::10";

/// Conventionally nobody's.
const NOBODY: u32 = 65_534;

const METRICS: &str = "127.0.0.1:9464";

/// A machine that nobody else uses. What it runs ends with it.
#[derive(Debug)]
pub struct Host {
    sandbox: Sandbox,
    directory: TempDir,
}

impl Host {
    /// A machine with an agent configured, and no tenant; `None`, said aloud, where the test may
    /// not make one.
    pub fn new() -> Option<Self> {
        Sandbox::new().map(Self::on)
    }

    /// As [`Self::new`], with a way out and a far side that answers for every address.
    pub fn with_uplink() -> Option<Self> {
        Sandbox::with_uplink().map(Self::on)
    }

    fn on(sandbox: Sandbox) -> Self {
        sandbox
            .netns()
            .ip(&format!("address add {ORIGIN_V4}/32 dev lo"));
        sandbox
            .netns()
            .ip(&format!("address add {ORIGIN_V6}/128 dev lo nodad"));
        let directory = tempfile::tempdir().expect("a directory");
        // Another user's process may be told to look here.
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let host = Self { sandbox, directory };
        let path = |name| host.path(name).display().to_string();
        let main = format!(
            "version = 1\n[agent]\nadmin_socket = {:?}\nmetrics = {METRICS:?}\nstate_dir = {:?}\n\
             pin_dir = {:?}\n",
            path("admin.sock"),
            path("state"),
            host.pin_dir(),
        );
        host.write("outbound.toml", &main);
        fs::create_dir(host.path("conf.d")).expect("a directory");
        let log = path("access.jsonl");
        host.configure("access_log", &format!("[access_log]\npath = {log:?}\n"));
        host
    }

    /// Writes a drop-in of the configuration, in place of an earlier one of that name.
    pub fn configure(&self, name: &str, text: &str) {
        self.write(&format!("conf.d/{name}.toml"), text);
    }

    /// Has the agent find the origins' address for these names.
    pub fn resolve(&self, names: &[&str]) {
        let lines = names
            .iter()
            .map(|name| format!("{name:?} = [{ORIGIN_V4:?}]\n"));
        let lines: String = lines.collect();
        self.configure("resolver", &format!("[resolver.hosts]\n{lines}"));
    }

    /// Adds a tenant to the configuration.
    pub fn tenant(&self, name: &str, policy: &str) {
        self.tenant_with(name, policy, "");
    }

    /// As [`Self::tenant`], with more keys.
    pub fn tenant_with(&self, name: &str, policy: &str, more: &str) {
        let cgroup = format!("/{}/tenants/{name}", self.sandbox.name());
        let text = format!(
            "[[tenants]]\nname = {name:?}\npolicy = {policy:?}\ncgroup = {cgroup:?}\n{more}\n"
        );
        self.configure(&format!("tenant-{name}"), &text);
    }

    /// The directory of a tenant's cgroup.
    pub fn tenant_cgroup(&self, name: &str) -> PathBuf {
        self.sandbox.cgroup("tenants").join(name)
    }

    /// A cgroup that is nobody's.
    pub fn cgroup(&self, name: &str) -> PathBuf {
        self.sandbox.cgroup(name)
    }

    /// Its path from the cgroup root.
    pub fn cgroup_name(&self, name: &str) -> String {
        format!("/{}/{name}", self.sandbox.name())
    }

    /// A file in the host's directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Writes a file into the host's directory.
    pub fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).expect("a file in the host's directory");
    }

    /// Where the programs are pinned.
    pub fn pin_dir(&self) -> PathBuf {
        self.sandbox.settings().pin_dir
    }

    /// A server in the namespace.
    pub fn server(&self, address: &str) -> Server {
        Server::start(self.sandbox.netns(), address)
    }

    /// As [`Self::server`], beyond the uplink.
    pub fn far_server(&self, address: &str) -> Server {
        Server::start(self.sandbox.outside(), address)
    }

    /// A listener beyond the uplink.
    pub fn far_listener(&self, address: &str) -> TcpListener {
        let listener = self.sandbox.outside().enter(|| TcpListener::bind(address));
        listener.expect("a free address")
    }

    /// From now on everything beyond the uplink is gone, without a word.
    pub fn cut_off(&self) {
        self.sandbox.outside().ip("link set up1 down");
    }

    /// The names' certificate, which the agent trusts from its next start, and its key: in
    /// `origin.pem` and `origin.key`.
    pub fn identity(&self, names: &[&str]) -> Identity {
        let identity = Identity::new(names);
        fs::copy(identity.path(), self.path("origin.pem")).expect("a file in the host's directory");
        self.write("origin.key", identity.key());
        let roots = self.path("origin.pem").display().to_string();
        self.configure("tls", &format!("[tls]\nroots = [{roots:?}]\n"));
        identity
    }

    /// The web site of these names, on ports 80 and 443.
    pub fn site(&self, names: &[&str]) -> Site {
        Site::start(self.sandbox.netns(), &self.identity(names))
    }

    /// A witness on the far side of the uplink.
    pub fn sniff(&self) -> Sniffer {
        self.sandbox.sniff()
    }

    /// Runs `ip` in the namespace.
    pub fn ip(&self, arguments: &str) {
        self.sandbox.netns().ip(arguments);
    }

    /// A program that is nobody's workload.
    pub fn program(&self, program: &str, arguments: &[&str]) -> Invocation {
        let cgroup = self.sandbox.cgroup("operator");
        Invocation::new(&cgroup, self.sandbox.netns(), program, arguments)
    }

    /// The binary under test, with this host's configuration.
    pub fn outbound(&self, arguments: &[&str]) -> Invocation {
        let config = self.path("outbound.toml").display().to_string();
        let arguments = [&["--config", &config], arguments].concat();
        self.program(&binary(), &arguments)
    }

    /// As [`Self::outbound`], as an unprivileged user.
    pub fn outbound_as_user(&self, arguments: &[&str]) -> Invocation {
        // Who runs the tests may have built in a directory of their own.
        let copy = self.path("outbound");
        if !copy.exists() {
            fs::copy(binary(), &copy).expect("a copy of the binary");
        }
        let invocation = self.outbound(arguments).as_user(NOBODY);
        invocation.running(&copy.display().to_string())
    }

    /// The agent, as a process that a test may expect to fail.
    pub fn start_agent(&self) -> Invocation {
        self.outbound(&["agent"])
            .in_cgroup(&self.sandbox.cgroup("agent"))
    }

    /// The agent, once it is ready.
    #[track_caller]
    pub fn agent(&self) -> Daemon {
        self.agent_of(self.start_agent())
    }

    /// As [`Self::agent`], started in a way of the test's own.
    #[track_caller]
    pub fn agent_of(&self, invocation: Invocation) -> Daemon {
        let process = invocation.start();
        eventually("the agent is ready", || {
            assert!(
                process.is_alive(),
                "the agent ended: {}",
                process.complaints()
            );
            (self.try_get("/readyz")?.0 == 200).then_some(())
        });
        Daemon::new(process)
    }

    /// `outbound run`: a tenant's workload.
    pub fn run(&self, tenant: &str, command: &[&str]) -> Invocation {
        self.outbound(&[&["run", "--tenant", tenant, "--"], command].concat())
    }

    /// A tenant's Python.
    pub fn python(&self, tenant: &str, statements: &str) -> Invocation {
        self.run(tenant, &[python(), "-S", "-u", "-c", statements])
    }

    /// `GET` on the metrics address: status and body.
    #[track_caller]
    pub fn get(&self, path: &str) -> (u16, String) {
        self.try_get(path).expect("the agent answers")
    }

    /// As [`Self::get`]; `None` where nobody answers.
    pub fn try_get(&self, path: &str) -> Option<(u16, String)> {
        let connect = || TcpStream::connect(METRICS);
        exchange(self.sandbox.netns().enter(connect).ok()?, path)
    }

    /// `GET` on the admin socket: status and body.
    #[track_caller]
    pub fn admin(&self, path: &str) -> (u16, String) {
        let stream = UnixStream::connect(self.path("admin.sock")).expect("the admin socket");
        exchange(stream, path).expect("the agent answers")
    }

    /// Anything else on the admin socket, with a body of JSON: status and body.
    #[track_caller]
    pub fn ask_admin(&self, method: &str, path: &str, question: &Value) -> (u16, Value) {
        let stream = UnixStream::connect(self.path("admin.sock")).expect("the admin socket");
        let (status, text) = ask(stream, method, path, &question.to_string()).expect("an answer");
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    /// Connects from the namespace, as nobody's workload.
    pub fn connect(&self, address: &str) -> std::io::Result<TcpStream> {
        self.sandbox.netns().enter(|| TcpStream::connect(address))
    }

    /// As [`Self::connect`], with a deadline.
    pub fn connect_within(&self, to: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
        let connect = || TcpStream::connect_timeout(&to, patience);
        self.sandbox.netns().enter(connect)
    }

    /// Every line of the access log so far.
    pub fn log(&self) -> Vec<Value> {
        lines_of(&self.path("access.jsonl"))
    }

    /// Waits for a line of the access log that has all of `fields`, and gives it.
    #[track_caller]
    pub fn expect_log(&self, fields: &[(&str, &str)]) -> Value {
        let matches = |line: &Value| {
            fields.iter().all(|(name, expected)| match &line[*name] {
                Value::String(text) => text == expected,
                other => **expected == *other.to_string(),
            })
        };
        eventually(
            &format!("a log line with {fields:?} among {:#?}", self.log()),
            || self.log().into_iter().find(matches),
        )
    }

    /// A sample, named with its labels as in the exposition.
    pub fn metric(&self, sample: &str) -> Option<f64> {
        let text = self.get("/metrics").1;
        let line = text.lines().find(|line| {
            line.strip_prefix(sample)
                .is_some_and(|rest| rest.starts_with(' '))
        })?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until a sample has `value`.
    #[track_caller]
    pub fn expect_metric(&self, sample: &str, value: f64) {
        eventually(&format!("{sample} {value}"), || {
            (self.metric(sample) == Some(value)).then_some(())
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let detached = redirect::detach(&self.pin_dir());
        if !std::thread::panicking() {
            detached.expect("everything comes off");
        }
    }
}

/// The lines of a file of JSON lines, whole ones only.
pub fn lines_of(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .collect()
}

/// Where `cargo xtask setup` puts the clients that are no packages of Debian.
pub fn clients() -> PathBuf {
    let test = std::env::current_exe().expect("the test has a path");
    let target = test.ancestors().nth(3);
    let clients = target.expect("target/PROFILE/deps").join("clients");
    assert!(
        clients.exists(),
        "{} is not there; `cargo xtask setup` makes it",
        clients.display()
    );
    clients
}

/// Path of the binary: what `OUTBOUND_BIN` says, or what was built beside the test.
pub fn binary() -> String {
    let named = std::env::var("OUTBOUND_BIN").map(PathBuf::from);
    let binary = named.unwrap_or_else(|_unset| {
        let test = std::env::current_exe().expect("the test has a path");
        let profile = test.parent().and_then(Path::parent);
        profile.expect("target/PROFILE/deps").join("outbound")
    });
    assert!(
        binary.exists(),
        "{} is not built; `cargo build` makes it",
        binary.display()
    );
    binary.display().to_string()
}

fn exchange(stream: impl Read + Write, path: &str) -> Option<(u16, String)> {
    ask(stream, "GET", path, "")
}

fn ask(
    mut stream: impl Read + Write,
    method: &str,
    path: &str,
    body: &str,
) -> Option<(u16, String)> {
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: agent\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    // At once: what comes behind an answer that did not wait for it would reset the connection.
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
