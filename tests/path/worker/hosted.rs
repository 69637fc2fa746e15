//! A module, and the agent whose namespace it serves.

use std::fs;
use std::path::PathBuf;

use harness::agent::{Agent, Reply};
use harness::host as built;
use harness::origin::Origin;
use outbound_agent::path::worker::host::child;
use tempfile::TempDir;

/// Runs each test with a module in a process of its own, and with one in a thread.
macro_rules! in_both_hostings {
    ($($name:ident),* $(,)?) => {
        mod process {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name("process").await;
            })*
        }
        mod thread {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name("thread").await;
            })*
        }
    };
}
pub(super) use in_both_hostings;

/// A module in a directory of its own, and the agent whose namespace it serves.
pub(super) struct Hosted {
    pub(super) agent: Agent,
    pub(super) origin: Origin,
    pub(super) directory: TempDir,
    /// The configuration that it has begun with.
    pub(super) config: String,
}

impl Hosted {
    /// `module` is the source, `service` what else the configuration says of it.
    pub(super) async fn start(hosting: &str, module: &str, service: &str) -> Self {
        Self::named("egress", hosting, module, service).await
    }

    /// As [`Self::start`], with another name of the service.
    pub(super) async fn named(name: &str, hosting: &str, module: &str, service: &str) -> Self {
        let origin = Origin::http().await;
        child::set_program(PathBuf::from(built::binary()));
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("egress.js");
        fs::write(&main, module).unwrap();
        fs::write(directory.path().join("key"), [b'k'; 32]).unwrap();
        let network = match service.contains("network = ") {
            true => "",
            false => "network = [\"private:127.0.0.0/8\"]",
        };
        let config = format!(
            r#"
            [resolver]
            hosts = {{ "api.example.com" = ["127.0.0.1"], "other.test" = ["127.0.0.1"], "elsewhere.test" = ["127.0.0.1"] }}
            [[dispatch_namespaces]]
            binding = "dispatcher"
            namespace = "production"
            outbound = {{ service = "{name}", parameters = ["customer_name", "url"] }}
            [services.{name}]
            main = "{}"
            hosting = "{hosting}"
            {network}
            {service}
            [policies.p]
            allow = ["api.example.com:*", "other.test:*", "127.0.0.0/8:*", "tcp://127.0.0.1:*"]
            "#,
            main.display(),
        );
        let tenant = |name: &str| {
            format!(
                "[[tenants]]\nname = {name:?}\npolicy = \"p\"\ncgroup = \"/{name}\"\n\
                 namespace = \"production\"\noutbound = {{ customer_name = {name:?} }}\n"
            )
        };
        let config = [config, TENANTS.map(tenant).concat()]
            .concat()
            .replace("DIRECTORY", &directory.path().display().to_string());
        let agent = Agent::start(&config);
        Self {
            agent,
            origin,
            directory,
            config,
        }
    }

    pub(super) async fn get(&self, host: &str, path: &str) -> Reply {
        self.get_as(TENANTS[0], host, path).await
    }

    /// A request of one of [`TENANTS`].
    pub(super) async fn get_as(&self, tenant: &str, host: &str, path: &str) -> Reply {
        let (address, host) = (self.origin.address, self.host(host));
        self.agent.get(tenant, address, &host, path).await
    }

    /// Why a request to this path fails, and with which status.
    pub(super) async fn failure(&self, path: &str) -> (u16, String) {
        let reply = self.get("api.example.com", path).await;
        let reason = reply.json()["reason"].as_str().unwrap_or("").to_owned();
        (reply.status, reason)
    }

    pub(super) fn host(&self, name: &str) -> String {
        format!("{name}:{}", self.origin.address.port())
    }

    /// Asks again until the reply has this status.
    pub(super) async fn get_until(&self, path: &str, status: u16) -> Reply {
        let mut last = None;
        let until = async {
            loop {
                let reply = self.get("api.example.com", path).await;
                if reply.status == status {
                    return reply;
                }
                last = Some(reply);
            }
        };
        let found = tokio::time::timeout(harness::DEADLINE, until).await;
        found.unwrap_or_else(|_elapsed| panic!("waited for {status} in vain; last was {last:?}"))
    }
}

/// All of the namespace.
pub(super) const TENANTS: [&str; 3] = ["acme", "globex", "initech"];
/// Enough for a machine that is busy.
pub(super) const PATIENT: &str = "limits = { cpu = \"5s\" }";
/// Changes nothing.
pub(super) const PASS: &str = "export default { fetch(request) { return fetch(request) } }";
