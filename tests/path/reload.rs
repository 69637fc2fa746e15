//! Policies and tenants that change: what is under way is decided again, and goes on or ends with
//! a reason.

use std::net::SocketAddr;

use harness::DEADLINE;
use harness::agent::{Agent, Reply};
use harness::origin::Origin;
use harness::tls::{self, Identity};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Two tenants under one policy each.
fn config(acme: &str, globex: &str) -> String {
    format!(
        r#"
        [limits]
        detect = "50ms"
        [resolver]
        hosts = {{ "api.test" = ["127.0.0.1"], "db.test" = ["127.0.0.1"] }}
        [policies.acme]
        {acme}
        [policies.globex]
        {globex}
        [[tenants]]
        name = "acme"
        policy = "acme"
        cgroup = "/acme"
        [[tenants]]
        name = "globex"
        policy = "globex"
        cgroup = "/globex"
        "#
    )
}

const OPEN: &str =
    r#"allow = ["api.test:*", "127.0.0.0/8:*", "tcp://db.test:*", "tcp://127.0.0.0/8:*"]"#;
const CLOSED: &str = r#"deny = ["*"]"#;

async fn echo() -> Origin {
    Origin::raw(|mut stream| async move {
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await
}

/// Answers with a head and one chunk, and then nothing more.
async fn endless() -> Origin {
    Origin::raw(|mut stream| async move {
        let mut head = [0; 4096];
        drop(stream.read(&mut head).await);
        let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n6\r\nhello \r\n";
        drop(stream.write_all(answer).await);
        drop(stream.read(&mut head).await);
    })
    .await
}

fn get(origin: &Origin, more: &str) -> String {
    let port = origin.address.port();
    format!("GET /stream?a=1 HTTP/1.1\r\nhost: api.test:{port}\r\n{more}\r\n")
}

/// Reads until `end` has come.
async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    let read = async {
        while !text.ends_with(end.as_bytes()) && stream.read(&mut byte).await.unwrap_or(0) == 1 {
            text.push(byte[0]);
        }
    };
    timeout(DEADLINE, read).await.expect("bytes in time");
    String::from_utf8_lossy(&text).into_owned()
}

/// Everything until the connection has ended, in whatever way.
async fn read_to_end(stream: &mut (impl AsyncRead + Unpin)) -> Vec<u8> {
    let mut rest = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    drop(read.expect("an end in time"));
    rest
}

async fn bounce(stream: &mut TcpStream, words: &[u8]) {
    stream.write_all(words).await.unwrap();
    let mut back = vec![0; words.len()];
    let read = timeout(DEADLINE, stream.read_exact(&mut back)).await;
    read.expect("an echo in time").unwrap();
    assert_eq!(back, words);
}

async fn tunnel(agent: &Agent, tenant: &str, origin: SocketAddr) -> TcpStream {
    let mut stream = agent.connect(tenant, origin).await;
    bounce(&mut stream, b"\0before").await;
    stream
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_not_allowed_any_more_ends_and_its_neighbour_goes_on() {
    let origin = echo().await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut denied = tunnel(&agent, "acme", origin.address).await;
    let mut allowed = tunnel(&agent, "globex", origin.address).await;
    assert_eq!(agent.reload(&config(CLOSED, OPEN)), 1);
    assert_eq!(read_to_end(&mut denied).await, b"");
    agent.expect_log(&[
        ("kind", "tcp"),
        ("tenant", "acme"),
        ("server.address", "db.test"),
        ("outcome", "denied"),
        ("reason", "policy_changed"),
    ]);
    let denials = r#"outbound_denials_total{reason="policy_changed",tenant="acme"}"#;
    agent.expect_metric(denials, 1.0);
    bounce(&mut allowed, b"after").await;
    assert_eq!(
        agent.reload(&config(CLOSED, OPEN)),
        0,
        "nothing is left to end"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_is_judged_by_the_address_that_was_dialled_for_its_name_as_well() {
    let origin = echo().await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut stream = tunnel(&agent, "acme", origin.address).await;
    // The name is allowed as before; that it leads to loopback is not.
    assert_eq!(
        agent.reload(&config(r#"allow = ["tcp://db.test:*"]"#, OPEN)),
        1
    );
    assert_eq!(read_to_end(&mut stream).await, b"");
    agent.expect_log(&[("tenant", "acme"), ("reason", "policy_changed")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_only_watches_ends_nothing() {
    let origin = echo().await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut stream = tunnel(&agent, "acme", origin.address).await;
    let audit = format!("mode = \"audit\"\n{CLOSED}");
    assert_eq!(agent.reload(&config(&audit, OPEN)), 0);
    bounce(&mut stream, b"after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_that_is_passed_through_ends_as_well() {
    let identity = Identity::new(&["api.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let stream = agent.connect("acme", origin.address).await;
    let roots = std::fs::read_to_string(identity.path()).unwrap();
    let mut stream = tls::connect(stream, "api.test", &roots, &[]).await.unwrap();
    assert_eq!(agent.reload(&config(CLOSED, OPEN)), 1);
    assert_eq!(read_to_end(&mut stream).await, b"");
    agent.expect_log(&[
        ("kind", "tls"),
        ("server.address", "api.test"),
        ("reason", "policy_changed"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_ends_as_well() {
    let origin = Origin::raw(|mut stream| async move {
        let mut head = [0; 4096];
        drop(stream.read(&mut head).await);
        let reply = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
        drop(stream.write_all(reply).await);
        let (mut read, mut write) = stream.split();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut streams = Vec::new();
    for tenant in ["acme", "globex"] {
        let mut stream = agent.connect(tenant, origin.address).await;
        let ask = get(&origin, "connection: upgrade\r\nupgrade: websocket\r\n");
        stream.write_all(ask.as_bytes()).await.unwrap();
        let head = read_until(&mut stream, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        bounce(&mut stream, b"before").await;
        streams.push(stream);
    }
    assert_eq!(agent.reload(&config(CLOSED, OPEN)), 1);
    assert_eq!(read_to_end(&mut streams[0]).await, b"");
    agent.expect_log(&[
        ("kind", "http"),
        ("tenant", "acme"),
        ("http.response.status_code", "101"),
        ("outcome", "denied"),
        ("reason", "policy_changed"),
    ]);
    bounce(&mut streams[1], b"after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_is_under_way_ends_although_nothing_moves() {
    let origin = endless().await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut stream = agent.connect("acme", origin.address).await;
    stream.write_all(get(&origin, "").as_bytes()).await.unwrap();
    read_until(&mut stream, "hello \r\n").await;
    assert_eq!(agent.reload(&config(CLOSED, OPEN)), 1);
    let rest = read_to_end(&mut stream).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it is not whole");
    agent.expect_log(&[
        ("kind", "http"),
        ("url.path", "/stream"),
        ("outcome", "denied"),
        ("reason", "policy_changed"),
    ]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_nobody_reads_ends_with_its_connection() {
    let origin = Origin::raw(|mut stream| async move {
        let mut head = [0; 4096];
        drop(stream.read(&mut head).await);
        let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_vec();
        answer.resize(1 << 20, b'x');
        while stream.write_all(&answer).await.is_ok() {}
    })
    .await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut stream = agent.connect("acme", origin.address).await;
    stream.write_all(get(&origin, "").as_bytes()).await.unwrap();
    read_until(&mut stream, "xxx").await;
    assert_eq!(agent.reload(&config(CLOSED, OPEN)), 1);
    // Not a byte of it is read before.
    agent.expect_log(&[("url.path", "/stream"), ("reason", "policy_changed")]);
    read_to_end(&mut stream).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_waits_for_its_answer_gets_the_agents() {
    let origin = Origin::raw(|mut stream| async move {
        let mut all = Vec::new();
        drop(stream.read_to_end(&mut all).await);
    })
    .await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut stream = agent.connect("acme", origin.address).await;
    let ask = get(&origin, "connection: close\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    harness::eventually("the request is there", || {
        (origin.connections() == 1).then_some(())
    });
    assert_eq!(agent.reload(&config(CLOSED, OPEN)), 1);
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["reason"], "policy_changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_request_on_an_open_connection_is_under_the_new_policy() {
    let origin = Origin::http().await;
    let agent = Agent::start(&config(OPEN, OPEN));
    let mut stream = agent.connect("acme", origin.address).await;
    stream.write_all(get(&origin, "").as_bytes()).await.unwrap();
    assert!(
        read_until(&mut stream, "hello")
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert_eq!(agent.reload(&config(CLOSED, OPEN)), 0);
    let ask = get(&origin, "connection: close\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    let reply = Reply::read(&mut stream).await;
    assert_eq!(reply.status, 403);
    assert_eq!(reply.json()["reason"], "rule_deny");
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_that_a_tenant_who_is_gone_has_open_ends() {
    let origin = echo().await;
    let web = Origin::http().await;
    let before = config(OPEN, OPEN);
    let agent = Agent::start(&before);
    let mut tunnel_ = tunnel(&agent, "acme", origin.address).await;
    let mut idle = agent.connect("acme", web.address).await;
    idle.write_all(get(&web, "").as_bytes()).await.unwrap();
    read_until(&mut idle, "hello").await;
    let mut neighbours = tunnel(&agent, "globex", origin.address).await;
    let after = before.replace("[[tenants]]\n        name = \"acme\"\n        policy = \"acme\"\n        cgroup = \"/acme\"\n", "");
    assert_ne!(after, before);
    // The tunnel and its connection, and the connection of the request that has ended.
    assert_eq!(agent.reload(&after), 3);
    assert_eq!(read_to_end(&mut tunnel_).await, b"");
    assert_eq!(read_to_end(&mut idle).await, b"");
    agent.expect_log(&[
        ("kind", "tcp"),
        ("tenant", "acme"),
        ("reason", "unassigned"),
    ]);
    bounce(&mut neighbours, b"after").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_rule_asks_of_a_request_is_known_when_it_is_decided_again() {
    let by = |header: &str, query: &str| {
        config(
            &format!(
                r#"
                allow = ["127.0.0.0/8:*"]
                [[policies.acme.rules]]
                name = "by-request"
                host = "api.test"
                port = "*"
                methods = ["GET"]
                paths = ["/stream"]
                headers = {{ x-env = "{header}" }}
                query = {{ a = "{query}" }}
                action = "allow"
                "#
            ),
            OPEN,
        )
    };
    let origin = endless().await;
    let agent = Agent::start(&by("prod", "1"));
    let mut stream = agent.connect("acme", origin.address).await;
    let ask = get(&origin, "x-env: prod\r\n");
    stream.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut stream, "hello \r\n").await;
    assert_eq!(
        agent.reload(&by("prod*", "*")),
        0,
        "it is allowed as before"
    );
    assert_eq!(agent.reload(&by("prod", "2")), 1);
    read_to_end(&mut stream).await;
    agent.expect_log(&[("url.path", "/stream"), ("reason", "policy_changed")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_is_no_tenants_who_is_gone_and_not_verified_by_who_counts_no_more() {
    let identity = Identity::new(&["api.test"]);
    let origin = Origin::https(&identity, &["http/1.1"]).await;
    let with = |roots: &str| {
        let policy = format!("{OPEN}\ntls = \"terminate\"");
        format!("[tls]\nroots = [{roots}]\n{}", config(&policy, OPEN))
    };
    let trusted = format!("{:?}", identity.path());
    let agent = Agent::start(&with(&trusted));
    let ask = |path: &'static str| {
        let (agent, origin) = (&agent, &origin);
        async move {
            let stream = agent.connect("acme", origin.address).await;
            let stream = tls::connect(stream, "api.test", &agent.authority(), &[]).await;
            let mut stream = stream.unwrap();
            let port = origin.address.port();
            let ask = format!(
                "GET {path} HTTP/1.1\r\nhost: api.test:{port}\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(ask.as_bytes()).await.unwrap();
            Reply::read(&mut stream).await.status
        }
    };
    assert_eq!(ask("/one").await, 200);
    assert_eq!(ask("/two").await, 200);
    assert_eq!(origin.connections(), 1, "it is kept");
    agent.reload(&with(""));
    assert_eq!(ask("/three").await, 502);
    agent.expect_log(&[
        ("url.path", "/three"),
        ("reason", "upstream_tls_unverified"),
    ]);
}
