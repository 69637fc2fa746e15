//! Workers whose own requests come back as their tenant's: they end, and no tenant gets around its
//! worker by saying that one did.

use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;

use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use http::HeaderMap;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use super::hosted::{Hosted, PATIENT, in_both_hostings};
use super::{server, stream};

in_both_hostings!(
    workers_that_send_through_one_another_go_in_no_circle,
    a_tunnels_worker_says_who_it_is,
);

/// Asks whom the path says, and tells what that said.
const ASKS: &str = "export default { async fetch(request) {
    const [, host, rest = ''] = /^.([^/]*)(.*)$/.exec(new URL(request.url).pathname);
    if (host === 'pass') return fetch(request);
    if (host === 'strip') {
        const headers = new Headers(request.headers);
        headers.delete('outbound-worker');
        return fetch(request, { headers });
    }
    const response = await fetch(`http://${host}${rest}`, { redirect: 'manual' });
    return new Response(`NAME: ${response.status} ${await response.text()}`);
} }";

/// A tenant with two workers, each for one name, and its listener that sends on all that it is
/// asked.
struct Scene {
    hosted: Arc<Hosted>,
    listener: SocketAddr,
    _other: TempDir,
}

impl Scene {
    async fn start(hosting: &str, service: &str) -> Self {
        let other = tempfile::tempdir().unwrap();
        let main = other.path().join("other.js");
        fs::write(&main, ASKS.replace("NAME", "other")).unwrap();
        let service = format!(
            "{service}\n{PATIENT}\n[services.other]\nmain = {main:?}\nhosting = {hosting:?}\n\
             network = [\"private:127.0.0.0/8\"]\n{PATIENT}\n\
             [[policies.p.rules]]\nname = \"of-the-other\"\nhost = \"elsewhere.test\"\nport = \"*\"\n\
             action = \"allow\"\nworker = \"other\"\n"
        );
        // The test's own words about a network are those of the second service.
        let service = format!("network = [\"private:127.0.0.0/8\"]\n{service}");
        let module = ASKS.replace("NAME", "egress");
        let hosted = Arc::new(Hosted::start(hosting, &module, &service).await);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tenant = Arc::clone(&hosted);
        drop(harness::spawn(async move {
            while let Ok((mut stream, _from)) = listener.accept().await {
                let mut agent = tenant.agent.connect("acme", address).await;
                drop(harness::spawn(async move {
                    drop(tokio::io::copy_bidirectional(&mut stream, &mut agent).await);
                }));
            }
        }));
        Self {
            hosted,
            listener: address,
            _other: other,
        }
    }

    /// What a request of the tenant's for `name` is answered.
    async fn ask(&self, name: &str, path: &str, fields: &str) -> Reply {
        let host = self.hosted.host(name);
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n{fields}connection: close\r\n\r\n");
        let agent = &self.hosted.agent;
        agent
            .ask("acme", self.hosted.origin.address, &request)
            .await
    }

    /// Who led to the last request that has arrived.
    fn led_by(&self) -> String {
        led_by(&self.hosted.origin.seen().pop().unwrap().headers)
    }
}

fn led_by(headers: &HeaderMap) -> String {
    let values = headers.get_all("outbound-worker").iter();
    let values = values.map(|value| value.to_str().unwrap());
    values.collect::<Vec<_>>().join(" | ")
}

async fn workers_that_send_through_one_another_go_in_no_circle(hosting: &str) {
    let scene = Scene::start(hosting, "").await;
    let through = |name: &str| format!("{name}:{}", scene.listener.port());
    let [api, other] = [through("api.example.com"), through("elsewhere.test")];
    // What goes to each of them in turn, and then to somebody else, is seen to the end.
    let end = scene.hosted.origin.address;
    let reply = scene
        .ask("api.example.com", &format!("/{other}/{end}"), "")
        .await;
    assert_eq!(
        (reply.status, &*reply.body),
        (200, "egress: 200 other: 200 hello"),
        "{reply:?}"
    );
    assert_eq!(scene.led_by(), "egress, other");
    // What comes back to the first is not, though the second has asked for it.
    let reply = scene
        .ask("api.example.com", &format!("/{other}/{api}/{end}"), "")
        .await;
    assert!(
        reply.body.starts_with("egress: 200 other: 508 "),
        "{reply:?}"
    );
    let circle = [("reason", "worker_loop"), ("worker.name", "egress")];
    let line = scene.hosted.agent.expect_log(&circle);
    assert_eq!(line["worker.outcome"], "refused", "{line}");
    assert_eq!(scene.hosted.origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_led_to_a_tenants_request_stays_on_it() {
    let scene = Scene::start("thread", "").await;
    let says = "outbound-worker: a\r\noutbound-worker: b , not a name\r\n";
    for path in ["/pass", "/strip"] {
        let reply = scene.ask("api.example.com", path, says).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        assert_eq!(scene.led_by(), "a, b", "{path}");
    }
    // The worker that is a server does not see it, and cannot lose it.
    let worker = Origin::raw(stream::sends_on).await;
    let agent = Agent::start(&server::config(worker.address, ""));
    let origin = Origin::http().await;
    let host = server::host(&origin);
    let request = format!("GET / HTTP/1.1\r\nhost: {host}\r\n{says}connection: close\r\n\r\n");
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(led_by(&origin.seen()[0].headers), "a, b");
}

/// What a tenant says of itself ends its own request or changes nothing: also where requests go on
/// without a worker that fails.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_names_its_worker_gets_around_no_worker() {
    let many = "x,".repeat(16);
    for service in ["", "on_error = \"forward\""] {
        let scene = Scene::start("thread", service).await;
        for forged in [
            "egress",
            "a, egress,b",
            "a\r\noutbound-worker: egress",
            &many,
        ] {
            let says = format!("outbound-worker: {forged}\r\n");
            let reply = scene.ask("api.example.com", "/pass", &says).await;
            let told = (reply.status, &reply.json()["reason"]);
            assert_eq!(told, (508, &"worker_loop".into()), "{forged}: {reply:?}");
        }
        assert_eq!(scene.hosted.origin.connections(), 0);
        // The worker of another name does answer.
        let to = scene.hosted.origin.address;
        for forged in ["other", "Egress", "egres", "egress;", ",", "\t"] {
            let says = format!("outbound-worker: {forged}\r\n");
            let reply = scene.ask("api.example.com", &format!("/{to}"), &says).await;
            assert_eq!(&*reply.body, "egress: 200 hello", "{forged}: {reply:?}");
        }
    }
}

async fn a_tunnels_worker_says_who_it_is(hosting: &str) {
    let logs = Origin::http().await;
    let module = format!(
        "export default {{ async connect(socket) {{
            await fetch('http://{}/', {{ headers: {{ 'outbound-worker': 'nobody' }} }});
            socket.refuse('told');
        }} }}",
        logs.address
    );
    let hosted = Hosted::start(hosting, &module, PATIENT).await;
    let mut stream = hosted.agent.connect("acme", hosted.origin.address).await;
    stream.write_all(b"\0hello").await.unwrap();
    hosted.agent.expect_log(&[("reason", "worker_refused")]);
    assert_eq!(led_by(&logs.seen()[0].headers), "egress");
}
