//! Whoever is waited for too long is told by which limit: in the reply, the log and the metrics.

use std::net::SocketAddr;

use harness::agent::{Agent, Reply};
use harness::nameserver::{Nameserver, Says};
use harness::origin::Origin;
use harness::tls::Identity;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// `limit` is a short one; the others are as long as they are.
async fn agent(limit: &str) -> (Agent, Nameserver) {
    let silent = Nameserver::start(|_name, _kind| Says::Silence).await;
    let agent = Agent::start(&format!(
        r#"
        [limits]
        {limit}
        [resolver]
        servers = ["{}"]
        hosts = {{ "api.test" = ["127.0.0.1"] }}
        [policies.p]
        allow = ["api.test:*", "slow.test:*", "127.0.0.0/8:*", "tcp://127.0.0.2:*"]
        tls = "terminate"
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        "#,
        silent.address
    ));
    (agent, silent)
}

#[track_caller]
fn expect(agent: &Agent, reason: &str, fault: &str) {
    agent.expect_log(&[
        ("reason", reason),
        ("outcome", "timed_out"),
        ("fault", fault),
    ]);
    let sample = format!("outbound_failures_total{{reason=\"{reason}\",tenant=\"acme\"}}");
    agent.expect_metric(&sample, 1.0);
}

/// Says `words` behind the head of a request, and then nothing more.
async fn saying(words: &'static str) -> Origin {
    Origin::raw(move |mut stream| async move {
        let mut bytes = [0; 4096];
        while stream.read(&mut bytes).await.unwrap_or(0) > 0 {
            drop(stream.write_all(words.as_bytes()).await);
        }
    })
    .await
}

fn request(name: &str, address: SocketAddr) -> String {
    format!(
        "GET / HTTP/1.1\r\nhost: {name}:{}\r\nconnection: close\r\n\r\n",
        address.port()
    )
}

#[track_caller]
fn expect_told(reply: &Reply, status: u16, reason: &str) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert_eq!(reply.json()["reason"], reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_that_does_not_go_on_is_told_apart_by_what_it_began() {
    let origin = saying("").await;
    let hello = super::tunnel::client_hello("api.test");
    let cases: [(&str, SocketAddr, Vec<u8>, &str); 5] = [
        (
            "client_hello = \"100ms\"",
            origin.address,
            hello[..20].to_vec(),
            "client_hello_timeout",
        ),
        (
            "client_hello = \"100ms\"",
            origin.address,
            b"GE".to_vec(),
            "client_hello_timeout",
        ),
        (
            "tls_handshake = \"100ms\"",
            origin.address,
            hello.clone(),
            "downstream_tls_timeout",
        ),
        (
            "request_header = \"100ms\"",
            origin.address,
            b"GET / HTTP/1.1\r\nhost:".to_vec(),
            "request_header_timeout",
        ),
        (
            "tunnel_idle = \"100ms\"",
            SocketAddr::from(([127, 0, 0, 2], origin.address.port())),
            b"\x01\x02".to_vec(),
            "tunnel_idle_timeout",
        ),
    ];
    let elsewhere = TcpListener::bind(SocketAddr::from(([127, 0, 0, 2], origin.address.port())))
        .await
        .unwrap();
    for (limit, destination, bytes, reason) in cases {
        let (agent, _silent) = agent(limit).await;
        let mut stream = agent.connect("acme", destination).await;
        stream.write_all(&bytes).await.unwrap();
        expect(&agent, reason, "downstream");
    }
    drop(elsewhere);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_does_not_go_on_is_told_to_its_sender() {
    let origin = saying("").await;
    let (agent, _silent) = agent("body_idle = \"100ms\"").await;
    let post = request("api.test", origin.address)
        .replacen("GET", "POST", 1)
        .replacen("connection: close", "content-length: 9", 1);
    let reply = agent
        .ask("acme", origin.address, &format!("{post}some"))
        .await;
    expect_told(&reply, 408, "request_body_timeout");
    expect(&agent, "request_body_timeout", "downstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_go_on_is_told_apart_by_what_it_owed() {
    let silent = saying("").await;
    let (agent, _silent) = agent("resolve = \"100ms\"").await;
    let slow = request("slow.test", silent.address);
    let reply = agent.ask("acme", silent.address, &slow).await;
    expect_told(&reply, 504, "resolve_timeout");
    expect(&agent, "resolve_timeout", "upstream");

    let (agent, _silent) = self::agent("response_header = \"100ms\"").await;
    let asked = request("api.test", silent.address);
    let reply = agent.ask("acme", silent.address, &asked).await;
    expect_told(&reply, 504, "response_header_timeout");
    expect(&agent, "response_header_timeout", "upstream");

    let half = saying("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome").await;
    let (agent, _silent) = self::agent("body_idle = \"100ms\"").await;
    let asked = request("api.test", half.address);
    let reply = agent.ask("acme", half.address, &asked).await;
    assert_eq!((reply.status, &*reply.body), (200, "some"));
    expect(&agent, "response_body_timeout", "upstream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_shake_hands_is_told_so() {
    let silent = saying("").await;
    // The same limit holds for the workload, which has finished its own handshake by then.
    let (agent, _silent) = agent("tls_handshake = \"2s\"").await;
    let stream = agent.connect("acme", silent.address).await;
    let mut stream = harness::tls::connect(stream, "api.test", &agent.authority(), &[])
        .await
        .unwrap();
    let asked = request("api.test", silent.address);
    stream.write_all(asked.as_bytes()).await.unwrap();
    expect_told(&Reply::read(&mut stream).await, 504, "upstream_tls_timeout");
    expect(&agent, "upstream_tls_timeout", "upstream");
}

/// A port whose queue of connections is full: what else comes is not answered (listen(2)).
async fn full() -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut waiting = Vec::new();
    let patience = std::time::Duration::from_millis(500);
    while let Ok(connected) = tokio::time::timeout(patience, TcpStream::connect(address)).await {
        waiting.push(connected.unwrap());
    }
    (listener, waiting)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_does_not_take_the_connection_is_told_so() {
    let (listener, _waiting) = full().await;
    let address = listener.local_addr().unwrap();
    let (agent, _silent) = agent("connect = \"100ms\"").await;
    let reply = agent
        .ask("acme", address, &request("api.test", address))
        .await;
    expect_told(&reply, 504, "connect_timeout");
    expect(&agent, "connect_timeout", "upstream");
}

/// The other side of its connection is there, and it answers neither requests nor a `PING`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_answers_no_ping_is_given_up() {
    let identity = Identity::new(&["api.test"]);
    let acceptor = identity.acceptor(&["h2"]);
    let silent = Origin::raw(move |stream| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            // Its settings, which are none, and then it only reads.
            stream
                .write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0])
                .await
                .unwrap();
            drop(tokio::io::copy(&mut stream, &mut tokio::io::sink()).await);
        }
    })
    .await;
    let trusted = format!(
        "dead_peer = \"400ms\"\n[tls]\nroots = [{:?}]",
        identity.path()
    );
    let (agent, _silent) = agent(&trusted).await;
    let stream = agent.connect("acme", silent.address).await;
    let mut stream = harness::tls::connect(stream, "api.test", &agent.authority(), &[])
        .await
        .unwrap();
    let asked = request("api.test", silent.address);
    stream.write_all(asked.as_bytes()).await.unwrap();
    expect_told(&Reply::read(&mut stream).await, 504, "upstream_dead");
    expect(&agent, "upstream_dead", "upstream");
}
