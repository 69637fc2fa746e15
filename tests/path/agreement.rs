//! Name, address and connection agree before anything leaves under a name.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use harness::agent::{Agent, Reply};
use harness::nameserver::{Nameserver, Says, address, query};
use harness::origin::Origin;
use hickory_proto::rr::RecordType;
use outbound_agent::model::tenant::CgroupId;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Two tenants whose policy has `api.test`, which is 127.0.0.1, and all of loopback.
fn agent(destination: &str, resolver: &str, more: &str) -> Agent {
    Agent::start(&format!(
        r#"
        [resolver]
        {resolver}
        {more}
        [policies.p]
        destination = "{destination}"
        allow = ["api.test:*", "127.0.0.0/8:*"]
        {}
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        [[tenants]]
        name = "globex"
        policy = "p"
        cgroup = "/globex"
        "#,
        if more.is_empty() {
            ""
        } else {
            "credentials = [\"key\"]"
        }
    ))
}

const FIXED: &str = r#"hosts = { "api.test" = ["127.0.0.1"] }"#;

fn host(origin: &Origin) -> String {
    format!("api.test:{}", origin.address.port())
}

/// Where nobody listens, on the origin's port.
fn elsewhere(origin: &Origin) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 9], origin.address.port()))
}

async fn get(agent: &Agent, destination: SocketAddr, origin: &Origin) -> (u16, String) {
    let reply = agent.get("acme", destination, &host(origin), "/").await;
    let reason = reply
        .head
        .lines()
        .find_map(|line| line.strip_prefix("outbound-reason: "));
    (reply.status, reason.unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolve_dials_what_the_agent_finds_whatever_the_tenant_connected_to() {
    let origin = Origin::http().await;
    let agent = agent("resolve", FIXED, "");
    assert_eq!(get(&agent, elsewhere(&origin), &origin).await.0, 200);
    agent.expect_log(&[
        ("original_dst", &elsewhere(&origin).to_string()),
        ("network.peer.address", "127.0.0.1"),
    ]);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verify_refuses_an_address_that_is_not_the_names() {
    let origin = Origin::http().await;
    let agent = agent("verify", FIXED, "");
    assert_eq!(
        get(&agent, elsewhere(&origin), &origin).await,
        (421, "destination_mismatch".into())
    );
    assert_eq!(origin.connections(), 0);
    agent.expect_log(&[
        ("kind", "security_event"),
        ("reason", "destination_mismatch"),
    ]);
    assert_eq!(get(&agent, origin.address, &origin).await.0, 200);
    // A connection that is kept for the name does not serve another address.
    assert_eq!(get(&agent, elsewhere(&origin), &origin).await.0, 421);
    assert_eq!(origin.connections(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn original_dials_what_the_tenant_connected_to() {
    let origin = Origin::http().await;
    let agent = agent("original", FIXED, "");
    assert_eq!(get(&agent, origin.address, &origin).await.0, 200);
    assert_eq!(
        get(&agent, elsewhere(&origin), &origin).await,
        (502, "upstream_refused".into())
    );
    agent.expect_log(&[
        ("reason", "upstream_refused"),
        ("network.peer.address", "127.0.0.9"),
    ]);
    assert_eq!(origin.connections(), 1);
    // An address as the name is that address.
    let literal = format!("127.0.0.1:{}", origin.address.port());
    assert_eq!(
        agent
            .get("acme", elsewhere(&origin), &literal, "/")
            .await
            .status,
        421
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_leaves_only_for_an_address_that_is_the_names() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "hush").unwrap();
    let credential = format!(
        "[credentials.key]\ntype = \"header\"\nhosts = [\"api.test:*\"]\nvalue = \"{{secret}}\"\nsecret = \"file:{}\"\nallow_plaintext = true",
        secret.path().display()
    );
    let origin = Origin::http().await;
    let agent = agent("original", FIXED, &credential);
    assert_eq!(
        get(&agent, elsewhere(&origin), &origin).await,
        (421, "destination_mismatch".into())
    );
    assert_eq!(get(&agent, origin.address, &origin).await.0, 200);
    assert_eq!(origin.seen()[0].headers["authorization"], "hush");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_tenant_was_told_is_the_names_for_this_tenant_alone() {
    let last = Arc::new(AtomicU8::new(1));
    let zone = Arc::clone(&last);
    let server = Nameserver::start(move |name, kind| {
        let is_known = name == "api.test" && kind == RecordType::A;
        let address_now = format!("127.0.0.{}", zone.load(Ordering::SeqCst));
        let mut record = address("api.test", &address_now);
        record.ttl = 0;
        Says::Records(is_known.then_some(record).into_iter().collect())
    })
    .await;
    let origin = Origin::http().await;
    let agent = agent("verify", &format!("servers = [\"{}\"]", server.address), "");
    agent
        .look_up("acme", &query("api.test", RecordType::A))
        .await;
    last.store(2, Ordering::SeqCst);
    harness::eventually("the agent itself to find the new address", || {
        let reply = tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(agent.get(
                "globex",
                origin.address,
                &host(&origin),
                "/",
            ))
        });
        (reply.status == 421).then_some(())
    });
    assert_eq!(get(&agent, origin.address, &origin).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_does_not_change_its_name() {
    let origin = Origin::http().await;
    let agent = agent("resolve", FIXED, "");
    let port = origin.address.port();
    let mut stream = agent.connect("acme", origin.address).await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: api.test:{port}\r\n\r\nGET / HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 200);
    assert!(reply.body.contains("HTTP/1.1 421 "), "{reply:?}");
    assert_eq!(origin.seen().len(), 1);
    agent.expect_log(&[
        ("reason", "destination_mismatch"),
        ("http.response.status_code", "421"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_is_passed_through_agrees_too() {
    let origin = Origin::raw(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await;
    let agent = agent("verify", FIXED, "");
    let hello = super::tunnel::client_hello("api.test");
    for (destination, connections) in [(elsewhere(&origin), 0), (origin.address, 1)] {
        let mut stream = agent.connect("acme", destination).await;
        stream.write_all(&hello).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer).await);
        assert_eq!(origin.connections(), connections);
        assert_eq!(answer.is_empty(), connections == 0);
    }
    agent.expect_log(&[
        ("kind", "security_event"),
        ("reason", "destination_mismatch"),
        ("server.address", "api.test"),
    ]);
}

/// The kernel lets nobody come to the agent by its own ports; where a name leads there, the agent
/// does not go, since it would come back to itself for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_is_not_its_own_upstream() {
    let agent = agent("resolve", FIXED, "");
    let own = agent.address();
    let host = format!("api.test:{}", own.port());
    let named = SocketAddr::from(([192, 0, 2, 7], own.port()));
    let reply = agent.get("acme", named, &host, "/").await;
    assert_eq!(reply.status, 403, "{}", reply.head);
    agent.expect_log(&[("url.path", "/"), ("reason", "agent_address")]);
    // Where it is asked for by its address, the connection ends at once.
    super::identify::expect_reset(agent.connect_as(Some(CgroupId(1)), own).await).await;
    agent.expect_log(&[("kind", "security_event"), ("reason", "agent_address")]);
}
