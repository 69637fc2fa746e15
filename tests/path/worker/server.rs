//! Workers that are servers, and some that misbehave.

use std::net::{SocketAddr, TcpListener};
use std::sync::LazyLock;

use bytes::Bytes;
use harness::agent::{Agent, Reply};
use harness::origin::{Origin, Seen};
use http::Response;
use http_body_util::Full;
use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// `acme` is in a namespace whose worker is at `address`; `free` is in none.
pub(super) fn config(address: SocketAddr, service: &str) -> String {
    // Written once: who reads it meanwhile must not find it empty.
    static KEY: LazyLock<NamedTempFile> = LazyLock::new(|| {
        let file = NamedTempFile::new().unwrap();
        std::fs::write(&file, "between us").unwrap();
        file
    });
    let key = KEY.path();
    format!(
        r#"
        [resolver]
        hosts = {{ "api.example.com" = ["127.0.0.1"], "other.test" = ["127.0.0.1"] }}
        [[dispatch_namespaces]]
        binding = "dispatcher"
        namespace = "production"
        outbound = {{ service = "egress", parameters = ["params_object"] }}
        [services.egress]
        url = "http://{address}"
        signing_key = "file:{}"
        {service}
        [policies.p]
        allow = ["api.example.com:*", "127.0.0.0/8:*"]
        [[tenants]]
        name = "acme"
        policy = "p"
        cgroup = "/acme"
        namespace = "production"
        outbound = {{ params_object = {{ customer_name = "Acmé" }} }}
        [[tenants]]
        name = "free"
        policy = "p"
        cgroup = "/free"
        [[tenants]]
        name = "waiting"
        policy = "p"
        cgroup = "/waiting"
        namespace = "production"
        "#,
        key.display()
    )
}

/// An agent whose worker is there but never answers well.
async fn with_worker<A>(answer: A, service: &str) -> (Agent, Origin)
where
    A: Fn(&Seen) -> Response<Full<Bytes>> + Clone + Send + Sync + 'static,
{
    let worker = Origin::answering(answer).await;
    (Agent::start(&config(worker.address, service)), worker)
}

pub(super) fn host(origin: &Origin) -> String {
    format!("api.example.com:{}", origin.address.port())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_policy_denies_the_worker_never_sees() {
    let (agent, worker) = with_worker(|_seen| Response::new(Full::from("w")), "").await;
    let address = "192.0.2.7:80".parse().unwrap();
    let reply = agent.get("acme", address, "evil.test", "/").await;
    assert_eq!(reply.status, 403);
    assert_eq!(worker.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_of_no_namespace_passes_no_worker() {
    let origin = Origin::http().await;
    let (agent, worker) = with_worker(|_seen| Response::new(Full::from("w")), "").await;
    let reply = agent.get("free", origin.address, &host(&origin), "/").await;
    assert_eq!((reply.status, &*reply.body), (200, "hello"));
    assert_eq!(worker.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_leaves_before_a_tenant_is_dispatched() {
    let origin = Origin::http().await;
    let (agent, worker) = with_worker(|_seen| Response::new(Full::from("w")), "").await;
    let reply = agent
        .get("waiting", origin.address, &host(&origin), "/")
        .await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["reason"], "not_dispatched");
    assert_eq!((worker.connections(), origin.connections()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_may_answer_itself() {
    let (agent, worker) = with_worker(|_seen| Response::new(Full::from("mine")), "").await;
    let origin = Origin::http().await;
    let reply = agent
        .get("acme", origin.address, &host(&origin), "/a")
        .await;
    assert_eq!((reply.status, &*reply.body), (200, "mine"));
    assert_eq!(origin.connections(), 0);
    let headers = worker.seen()[0].headers.clone();
    assert_eq!(
        headers["outbound-url"],
        *format!("http://{}/a", host(&origin))
    );
    assert_eq!(headers["outbound-tenant"], "acme");
    let parameters =
        r#"{"customer_name":"Acm\u00e9","params_object":{"customer_name":"Acm\u00e9"}}"#;
    assert_eq!(headers["outbound-parameters"], parameters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_not_there_fails_the_request() {
    let origin = Origin::http().await;
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let agent = Agent::start(&config(gone, ""));
    let reply = agent.get("acme", origin.address, &host(&origin), "/").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["reason"], "worker_unavailable");
    assert_eq!(origin.connections(), 0);
    let line = agent.expect_log(&[("worker.outcome", "unavailable")]);
    assert_eq!(
        (&line["fault"], &line["outcome"]),
        (&"worker".into(), &"failed".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_may_say_that_requests_go_on_without_it() {
    let origin = Origin::http().await;
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let agent = Agent::start(&config(gone, "on_error = \"forward\""));
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello",
        host(&origin)
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!((reply.status, &*reply.body), (200, "hello"));
    assert_eq!(origin.seen()[0].body, "hello");
    agent.expect_log(&[("worker.outcome", "forwarded"), ("outcome", "completed")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_is_silent_is_not_waited_for() {
    let silent = Origin::raw(|mut stream| async move {
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let agent = Agent::start(&config(silent.address, "limits = { wall = \"50ms\" }"));
    let origin = Origin::http().await;
    let reply = agent.get("acme", origin.address, &host(&origin), "/").await;
    assert_eq!(reply.status, 504);
    assert_eq!(reply.json()["reason"], "worker_timeout");
    agent.expect_log(&[("worker.outcome", "timeout"), ("outcome", "timed_out")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_response_that_a_worker_cuts_short_is_cut_short_for_the_tenant() {
    let broken = Origin::raw(|mut stream| async move {
        let mut head = [0; 4096];
        let _some = stream.read(&mut head).await.unwrap();
        let begun = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n";
        stream.write_all(begun).await.unwrap();
    })
    .await;
    let agent = Agent::start(&config(broken.address, ""));
    let origin = Origin::http().await;
    let reply = agent.get("acme", origin.address, &host(&origin), "/").await;
    assert_eq!(reply.status, 200);
    assert!(!reply.body.ends_with("0\r\n\r\n"), "{reply:?}");
    agent.expect_log(&[("outcome", "failed"), ("fault", "upstream")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_the_worker_made_itself_ends_the_circle() {
    let (agent, worker) = with_worker(|_seen| Response::new(Full::from("w")), "").await;
    let origin = Origin::http().await;
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {}\r\noutbound-worker: egress\r\nconnection: close\r\n\r\n",
        host(&origin)
    );
    let reply = agent.ask("acme", origin.address, &request).await;
    assert_eq!(reply.status, 508);
    assert_eq!(reply.json()["reason"], "worker_loop");
    assert_eq!(worker.connections(), 0);
}

/// What a worker's own request to the agent is answered, while its invocation is under way.
async fn asked_of_the_agent(fields: &'static str) -> (Reply, Vec<Seen>) {
    let origin = Origin::http().await;
    let port = origin.address.port();
    let worker = Origin::raw(move |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut head).await.unwrap();
        }
        let head = String::from_utf8(head).unwrap();
        let field = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap().to_owned()
        };
        let egress = field("outbound-egress");
        let egress = egress.strip_prefix("http://").unwrap().trim_end_matches('/');
        let mut agent = tokio::net::TcpStream::connect(egress).await.unwrap();
        let fields = fields
            .replace("PORT", &port.to_string())
            .replace("MARK", &field("outbound-request"))
            .replace("TOKEN", &field("outbound-invocation"));
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{fields}connection: close\r\n\r\n");
        agent.write_all(request.as_bytes()).await.unwrap();
        let reply = Reply::read(&mut agent).await;
        let answer = format!("{} {}", reply.status, reply.head.replace("\r\n", "|"));
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-got: {answer}\r\nconnection: close\r\n\r\n{}",
            reply.body.len(), reply.body
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
    })
    .await;
    let agent = Agent::start(&config(worker.address, ""));
    let reply = agent.get("acme", origin.address, &host(&origin), "/").await;
    (reply, origin.seen())
}

fn got(reply: &Reply) -> &str {
    let line = reply
        .head
        .lines()
        .find_map(|line| line.strip_prefix("x-got: "));
    &line.unwrap()[..3]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_has_errands_run() {
    let url = "outbound-url: http://api.example.com:PORT/\r\n";
    for fields in ["", "outbound-invocation: 00\r\n"] {
        let fields = format!("{url}{fields}").leak();
        let (reply, seen) = asked_of_the_agent(fields).await;
        assert_eq!((got(&reply), seen.len()), ("403", 0), "{fields}");
    }
    let (reply, seen) = asked_of_the_agent("outbound-invocation: TOKEN\r\n").await;
    assert_eq!((got(&reply), seen.len()), ("400", 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workers_own_request_goes_where_its_network_leads() {
    // The name leads to loopback, which is not public.
    let own = "outbound-url: http://api.example.com:PORT/\r\noutbound-invocation: TOKEN\r\n";
    let (reply, seen) = asked_of_the_agent(own).await;
    assert_eq!((got(&reply), seen.len()), ("502", 0));
    assert!(
        reply.head.contains("outbound-reason: private_address"),
        "{reply:?}"
    );
    // The tenant's may go there.
    let tenants = format!("{own}outbound-request: MARK\r\n").leak();
    let (reply, seen) = asked_of_the_agent(tenants).await;
    assert_eq!((got(&reply), seen.len()), ("200", 1), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_sends_the_tenants_request_only_where_the_tenant_may_go() {
    let elsewhere = "outbound-url: http://other.test:PORT/\r\noutbound-invocation: TOKEN\r\n\
                     outbound-request: MARK\r\n";
    let (reply, seen) = asked_of_the_agent(elsewhere).await;
    assert_eq!((got(&reply), seen.len()), ("502", 0), "{reply:?}");
    assert!(reply.head.contains("outbound-reason: no_rule"), "{reply:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_from_the_url_a_worker_cannot_set() {
    for field in [
        "upgrade: h2c",
        "te: gzip",
        "content-length: 0\r\ntransfer-encoding: x",
    ] {
        let fields = format!(
            "outbound-url: http://api.example.com:PORT/\r\noutbound-invocation: TOKEN\r\n\
             outbound-request: MARK\r\n{field}\r\n"
        );
        let (reply, seen) = asked_of_the_agent(fields.leak()).await;
        // What HTTP itself drops between two hops is no attempt.
        if got(&reply) == "200" {
            assert!(!seen[0].headers.contains_key("upgrade"), "{field}");
            assert!(!seen[0].headers.contains_key("te"), "{field}");
            continue;
        }
        assert_eq!(seen.len(), 0, "{field}: {reply:?}");
    }
}
