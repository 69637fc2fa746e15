//! Who the agent says it is towards an upstream, and whose word it takes for the upstream's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use harness::tls::{self, Clients, Identity};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Names that clients' certificates are for.
const NAMES: [&str; 3] = ["cn-of-acme", "cn-of-globex", "cn-of-later"];

/// An origin that answers each request with the name in the client's certificate, keeps its
/// connections open, and numbers them.
async fn origin(identity: &Identity, clients: &Clients) -> Origin {
    let acceptor = identity.asking(clients);
    let number = Arc::new(AtomicUsize::new(0));
    Origin::raw(move |stream| {
        let (acceptor, number) = (acceptor.clone(), number.fetch_add(1, Ordering::SeqCst));
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let shown = stream.get_ref().1.peer_certificates();
            let shown = shown.map_or(Vec::new(), |chain| chain[0].to_vec());
            let holds = |name: &&&str| {
                shown
                    .windows(name.len())
                    .any(|part| part == name.as_bytes())
            };
            let name = NAMES.iter().find(holds).unwrap_or(&"nobody");
            let body = format!("{name} on {number}");
            let mut seen = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                seen.extend(&buffer[..length]);
                if seen.ends_with(b"\r\n\r\n") {
                    seen.clear();
                    let length = body.len();
                    let reply =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
                    drop(stream.write_all(reply.as_bytes()).await);
                }
            }
        }
    })
    .await
}

struct Scene {
    directory: TempDir,
    clients: Clients,
    origin: Origin,
    identity: Identity,
}

impl Scene {
    async fn new() -> Self {
        let (identity, clients) = (Identity::new(&["api.test"]), Clients::new());
        let origin = origin(&identity, &clients).await;
        let directory = tempfile::tempdir().unwrap();
        let scene = Self {
            directory,
            clients,
            origin,
            identity,
        };
        scene.issue("acme", "cn-of-acme");
        scene.issue("globex", "cn-of-globex");
        scene
    }

    /// Puts a certificate and its key into files of a name.
    fn issue(&self, file: &str, name: &str) {
        let (certificate, key) = self.clients.issue(name);
        self.write(&format!("{file}.key"), &key);
        self.write(&format!("{file}.pem"), &certificate);
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.directory.path().join(name), text).unwrap();
    }

    /// Three tenants: `acme` and `globex` have a certificate each, `acme`'s only for `/in/**`;
    /// `umbrella` has none.
    fn agent(&self) -> Agent {
        Agent::start(&self.config())
    }

    fn config(&self) -> String {
        let base = r#"
            [tls]
            roots = ["ROOTS"]
            [resolver]
            hosts = { "api.test" = ["127.0.0.1"] }
            [policies.acme]
            allow = ["api.test:*", "127.0.0.0/8:*"]
            tls = "terminate"
            credentials = ["acme"]
            [policies.globex]
            allow = ["api.test:*", "127.0.0.0/8:*"]
            tls = "terminate"
            credentials = ["globex"]
            [policies.umbrella]
            allow = ["api.test:*", "127.0.0.0/8:*"]
            tls = "terminate"
            [credentials.acme]
            type = "mtls"
            hosts = ["api.test:*"]
            paths = ["/in/**"]
            certificate = "file:DIR/acme.pem"
            key = "file:DIR/acme.key"
            [credentials.globex]
            type = "mtls"
            hosts = ["api.test:*"]
            certificate = "file:DIR/globex.pem"
            key = "file:DIR/globex.key"
        "#;
        let tenants = ["acme", "globex", "umbrella"].map(|name| {
            format!("[[tenants]]\nname = {name:?}\npolicy = {name:?}\ncgroup = \"/{name}\"\n")
        });
        let base = base.replace("ROOTS", self.identity.path().to_str().unwrap());
        base.replace("DIR", self.directory.path().to_str().unwrap()) + &tenants.concat()
    }

    async fn get(&self, agent: &Agent, tenant: &str, path: &str) -> Reply {
        get(agent, &self.origin, tenant, path).await
    }
}

async fn get(agent: &Agent, origin: &Origin, tenant: &str, path: &str) -> Reply {
    let stream = agent.connect(tenant, origin.address).await;
    let mut stream = tls::connect(stream, "api.test", &agent.authority(), &[])
        .await
        .unwrap();
    let port = origin.address.port();
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: api.test:{port}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    Reply::read(&mut stream).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_is_shown_for_whom_it_is_and_no_connection_serves_another() {
    let scene = Scene::new().await;
    let agent = scene.agent();
    // The origin numbers its connections: who comes back finds its own.
    for (tenant, path, expected) in [
        ("acme", "/in/a", "cn-of-acme on 0"),
        ("globex", "/", "cn-of-globex on 1"),
        ("umbrella", "/", "nobody on 2"),
        ("acme", "/out", "nobody on 3"),
        ("acme", "/in/b", "cn-of-acme on 0"),
        ("umbrella", "/in/b", "nobody on 2"),
        ("globex", "/in/b", "cn-of-globex on 1"),
        ("acme", "/out", "nobody on 3"),
    ] {
        let reply = scene.get(&agent, tenant, path).await;
        assert_eq!((reply.status, reply.body.as_str()), (200, expected));
    }
    agent.expect_log(&[
        ("tenant", "acme"),
        ("url.path", "/in/a"),
        ("credential", "acme"),
        ("outcome", "completed"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_certificate_is_shown_from_then_on_and_a_broken_one_fails_the_request() {
    let scene = Scene::new().await;
    let agent = scene.agent();
    let reply = scene.get(&agent, "globex", "/").await;
    assert_eq!(reply.body, "cn-of-globex on 0");
    scene.issue("globex", "cn-of-later");
    let deadline = std::time::Instant::now() + harness::DEADLINE;
    loop {
        let reply = scene.get(&agent, "globex", "/").await;
        // Between certificate and key they are a pair no more: nothing goes out then.
        assert!(reply.status == 200 || reply.json()["reason"] == "credential_unavailable");
        if reply.body.starts_with("cn-of-later") {
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{reply:?}");
    }
    let (_certificate, key) = scene.clients.issue("cn-of-globex");
    scene.write("globex.key", &key);
    loop {
        let reply = scene.get(&agent, "globex", "/").await;
        if reply.status == 502 {
            assert_eq!(reply.json()["reason"], "credential_unavailable");
            break;
        }
        assert!(std::time::Instant::now() < deadline, "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policys_own_roots_vouch_for_its_tenants_alone() {
    let ours = Identity::new(&["api.test"]);
    let origin = Origin::https(&ours, &["http/1.1"]).await;
    let agent = Agent::start(&format!(
        r#"
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"] }}
        [policies.with]
        allow = ["api.test:*", "127.0.0.0/8:*"]
        tls = "terminate"
        roots = [{:?}]
        [policies.without]
        allow = ["api.test:*", "127.0.0.0/8:*"]
        tls = "terminate"
        [[tenants]]
        name = "acme"
        policy = "with"
        cgroup = "/acme"
        [[tenants]]
        name = "globex"
        policy = "without"
        cgroup = "/globex"
        "#,
        ours.path()
    ));
    for _ in 0..2 {
        let reply = get(&agent, &origin, "acme", "/").await;
        assert_eq!((reply.status, reply.body.as_str()), (200, "hello"));
        let reply = get(&agent, &origin, "globex", "/").await;
        assert_eq!(
            (reply.status, reply.json()["reason"].as_str()),
            (502, Some("upstream_tls_unverified"))
        );
    }
    assert_eq!(origin.seen().len(), 2);
}
