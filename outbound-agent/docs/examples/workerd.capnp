# workerd serve workerd.capnp; the address by --socket-addr http=HOST:PORT, if another.
using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [
    (name = "egress", worker = .egress),
    # All that it sends goes to the agent, which is on loopback.
    (name = "internet", network = (allow = ["local"], deny = [])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:8787", http = (), service = "egress")],
);

const egress :Workerd.Worker = (
  modules = [(name = "workerd.js", esModule = embed "workerd.js")],
  compatibilityDate = "2026-01-01",
  bindings = [
    (name = "WORKER_KEY", fromEnvironment = "WORKER_KEY"),
    (name = "LOG_URL", fromEnvironment = "LOG_URL"),
  ],
);
