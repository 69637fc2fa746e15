//! `workerd` as a worker that is a server.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use harness::{eventually, host};

use crate::process::{self, Beside};

const CONFIG: &str = r#"using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ (name = "main", worker = .worker), (name = "network", network = (allow = ["private"])) ],
  sockets = [ (name = "http", address = "ADDRESS", http = (), service = "main") ]
);
const worker :Workerd.Worker = (
  modules = [ (name = "worker.js", esModule = embed "worker.js") ],
  compatibilityDate = "2025-01-01",
  bindings = [ (name = "WORKER_KEY", text = "KEY"), (name = "LOG_URL", text = "LOG") ],
  globalOutbound = "network"
);
"#;
/// Passes every request on.
pub(crate) const PASS: &str = "export default { fetch(request) {
    return fetch(new Request(request.headers.get('outbound-egress'), request));
} }";

/// Of the same shape as the documents' module: a log behind the response, a token.
pub(crate) const EXAMPLE: &str = include_str!("../../../outbound-agent/docs/examples/workerd.js");

/// Starts one with this module, the key that it shares with the agent, and where it logs; gives
/// where it listens.
pub(crate) async fn start(module: &str, key: &str, log: &str) -> (Beside, SocketAddr) {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let directory = tempfile::tempdir().unwrap().keep();
    let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
    write(
        "config.capnp",
        &CONFIG
            .replace("ADDRESS", &address.to_string())
            .replace("KEY\"), (", &format!("{key}\"), ("))
            .replace("\"LOG\"", &format!("\"{log}\"")),
    );
    write("worker.js", module);
    let program =
        host::clients().join("node/node_modules/@cloudflare/workerd-linux-64/bin/workerd");
    let server = process::measured(|| {
        let mut command = Command::new(program);
        command
            .args(["serve", "config.capnp"])
            .current_dir(&directory);
        Beside(command.stdout(Stdio::null()).spawn().unwrap())
    });
    eventually("workerd listens", || {
        TcpStream::connect(address).ok().map(drop)
    });
    drop(fs::remove_dir_all(&directory));
    (server, address)
}
