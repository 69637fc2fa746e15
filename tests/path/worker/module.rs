//! Workers that are modules, each in a process of its own.

use std::fs;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use harness::{eventually, host as built};
use outbound_agent::path::worker::host::child;
use tempfile::TempDir;

/// A module in a directory of its own, and the agent whose namespace it serves.
pub(super) struct Hosted {
    pub(super) agent: Agent,
    pub(super) origin: Origin,
    directory: TempDir,
}

impl Hosted {
    /// `module` is the source, `service` what else the configuration says of it.
    pub(super) async fn start(module: &str, service: &str) -> Self {
        let origin = Origin::http().await;
        Self::before(origin, module, service)
    }

    fn before(origin: Origin, module: &str, service: &str) -> Self {
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
            outbound = {{ service = "egress", parameters = ["customer_name", "url"] }}
            [services.egress]
            main = "{}"
            {network}
            {service}
            [policies.p]
            allow = ["api.example.com:*", "other.test:*", "127.0.0.0/8:*"]
            [[tenants]]
            name = "acme"
            policy = "p"
            cgroup = "/acme"
            namespace = "production"
            outbound = {{ customer_name = "Acme" }}
            "#,
            main.display(),
        )
        .replace("DIRECTORY", &directory.path().display().to_string());
        let agent = Agent::start(&config);
        Self {
            agent,
            origin,
            directory,
        }
    }

    pub(super) async fn get(&self, host: &str, path: &str) -> Reply {
        let (address, host) = (self.origin.address, self.host(host));
        self.agent.get("acme", address, &host, path).await
    }

    pub(super) fn host(&self, name: &str) -> String {
        format!("{name}:{}", self.origin.address.port())
    }

    /// Asks again until the reply has this status.
    async fn get_until(&self, path: &str, status: u16) -> Reply {
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

/// Enough for a machine that is busy.
pub(super) const PATIENT: &str = "limits = { cpu = \"5s\" }";
const PASS: &str = "export default { fetch(request) { return fetch(request) } }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_passes_a_module() {
    let hosted = Hosted::start(PASS, PATIENT).await;
    let request = format!(
        "POST /v1?q=1 HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        hosted.host("api.example.com")
    );
    let address = hosted.origin.address;
    let reply = hosted.agent.ask("acme", address, &request).await;
    assert_eq!((reply.status, &*reply.body), (200, "hello"), "{reply:?}");
    let seen = hosted.origin.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (&*seen[0].target.to_string(), &*seen[0].body),
        ("/v1?q=1", &b"hello"[..])
    );
    let ours = |name: &http::HeaderName| name.as_str().starts_with("outbound-");
    assert!(!seen[0].headers.keys().any(ours), "{:?}", seen[0].headers);
    let line = hosted.agent.expect_log(&[("worker.outcome", "responded")]);
    assert_eq!(line["worker.name"], "egress");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_changes_a_request_by_its_env() {
    let module = "import { name } from './lib/name.js';
        export default { fetch(request, env) {
            const headers = new Headers(request.headers);
            headers.set(name, `${env.customer_name} ${env.FLAVOUR}`);
            return fetch(new Request(request, { headers }));
        } }";
    let service = format!("vars = {{ FLAVOUR = \"plain\" }}\n{PATIENT}");
    let hosted = Hosted::start(module, &service).await;
    let library = hosted.directory.path().join("lib");
    fs::create_dir(&library).unwrap();
    fs::write(library.join("name.js"), "export const name = 'x-who'").unwrap();
    // What did not load at first loads when its files change.
    hosted.get_until("/", 200).await;
    assert_eq!(hosted.origin.seen()[0].headers["x-who"], "Acme plain");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_module_may_answer_itself() {
    let module = "export default { fetch(request, env) {
        return new Response(`${request.method} ${env.url}`, { status: 203 });
    } }";
    let hosted = Hosted::start(module, PATIENT).await;
    let reply = hosted.get("api.example.com", "/a").await;
    let url = format!("GET http://{}/a", hosted.host("api.example.com"));
    assert_eq!((reply.status, &*reply.body), (203, &*url), "{reply:?}");
    assert_eq!(hosted.origin.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_module_of_the_documents_logs_and_signs() {
    let logs = Origin::http().await;
    let module = include_str!("../../../outbound-agent/docs/examples/worker.js");
    let service = format!(
        "vars = {{ LOG_URL = \"http://{}/log\" }}\n\
         secrets = {{ SIGNING_KEY = \"file:DIRECTORY/key\" }}\n{PATIENT}",
        logs.address
    );
    let hosted = Hosted::start(module, &service).await;
    assert_eq!(hosted.get("api.example.com", "/a").await.status, 200);
    assert_eq!(hosted.get("other.test", "/b").await.status, 200);
    let seen = hosted.origin.seen();
    let token = seen[0].headers["authorization"].to_str().unwrap();
    let claims = token.strip_prefix("Bearer ").unwrap().split('.').nth(1);
    let claims = URL_SAFE_NO_PAD.decode(claims.unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["sub"], "Acme");
    assert_eq!(
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(),
        300
    );
    assert!(!seen[1].headers.contains_key("authorization"));
    let told = eventually("both requests are logged", || {
        Some(logs.seen()).filter(|seen| seen.len() == 2)
    });
    let urls = told.iter().map(|seen| {
        let told: serde_json::Value = serde_json::from_slice(&seen.body).unwrap();
        assert_eq!(told["customer_name"], "Acme");
        assert_eq!(seen.headers["outbound-worker"], "egress");
        told["original_url"].as_str().unwrap().to_owned()
    });
    let mut urls: Vec<_> = urls.collect();
    urls.sort();
    let expected = [("api.example.com", "/a"), ("other.test", "/b")]
        .map(|(name, path)| format!("http://{}{path}", hosted.host(name)));
    assert_eq!(urls, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_read_never_enters_the_module() {
    let hosted = Hosted::start(PASS, "limits = { cpu = \"5s\", memory = \"8MiB\" }").await;
    let body = "x".repeat(64 << 20);
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        hosted.host("api.example.com"),
        body.len()
    );
    let address = hosted.origin.address;
    let reply = hosted.agent.ask("acme", address, &request).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(hosted.origin.seen()[0].body.len(), body.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_exception_is_told_to_the_operator_alone() {
    let module = "export default { fetch() { throw new Error('of the operator') } }";
    let hosted = Hosted::start(module, PATIENT).await;
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!(reply.status, 500, "{reply:?}");
    assert_eq!(reply.json()["reason"], "worker_exception");
    assert!(
        !format!("{reply:?}").contains("of the operator"),
        "{reply:?}"
    );
    assert_eq!(hosted.origin.connections(), 0);
}

/// Loops in one way or another where the path says so.
const LOOPS: &str = "export default { fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === '/loop') for (;;);
    // The engine does not look at the time within one of its own functions.
    if (pathname === '/stuck') 'a'.repeat(2 ** 22).indexOf('a'.repeat(2 ** 21) + 'b');
    return new Response('fine');
} }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_loop_is_ended() {
    let hosted = Hosted::start(LOOPS, "limits = { cpu = \"300ms\" }").await;
    let reply = hosted.get("api.example.com", "/loop").await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.json()["reason"], "worker_cpu");
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!((reply.status, &*reply.body), (200, "fine"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_does_not_answer_is_killed_and_replaced() {
    let hosted = Hosted::start(LOOPS, "limits = { cpu = \"300ms\" }").await;
    let reply = hosted.get("api.example.com", "/stuck").await;
    assert_eq!(reply.status, 503, "{reply:?}");
    assert_eq!(reply.json()["reason"], "worker_died");
    assert_eq!(hosted.get_until("/", 200).await.body, "fine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_has_no_rights() {
    let hosted = Hosted::start(PASS, PATIENT).await;
    assert_eq!(hosted.get("api.example.com", "/").await.status, 200);
    // Those of the tests beside this one are among them, some not yet at that point.
    eventually("every worker process is confined", || {
        let workers = workers();
        let is_confined = |status: &String| {
            ["NoNewPrivs:\t1", "Seccomp:\t2", "CapEff:\t0000000000000000"]
                .iter()
                .all(|line| status.lines().any(|known| known == *line))
        };
        (!workers.is_empty() && workers.iter().all(is_confined)).then_some(())
    });
}

/// `/proc/PID/status` of every worker process that this one has started.
fn workers() -> Vec<String> {
    let parent = format!("PPid:\t{}", std::process::id());
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let statuses = processes.filter_map(|process| {
        let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
        let status = fs::read_to_string(process.path().join("status")).ok()?;
        let is_ours = status.lines().any(|line| line == parent);
        (is_ours && command.contains(child::COMMAND)).then_some(status)
    });
    statuses.collect()
}
