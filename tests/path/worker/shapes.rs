//! The same handler, as a function and as an `async` one. What the first gives of `fetch` the agent
//! fetches itself, what the second gives passes the engine: nobody can tell which it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use harness::agent::Reply;
use harness::eventually;
use harness::origin::Origin;
use http::Response;
use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::hosted::{Hosted, PATIENT, in_both_hostings};
use super::stream::{echo, read_until};

in_both_hostings!(
    what_fails_upstream_is_told_as_it_would_be_without_a_worker,
    what_the_worker_asked_for_itself_is_not_told,
    what_was_sent_is_not_sent_again,
    what_was_not_sent_goes_on_where_the_service_says_so,
    an_upstream_that_is_silent_is_not_waited_for,
    a_tenant_that_goes_away_ends_what_was_asked_for_it,
    tasks_live_on_behind_the_response,
    bodies_pass_in_both_directions_as_they_come,
    a_protocol_is_changed_through_a_worker,
    redirects_are_the_tenants,
    a_request_sent_elsewhere_is_decided_again,
    a_drain_waits_for_what_is_fetched,
);

/// The handler as a function that gives what `fetch` gave, and as one that waits.
pub(super) fn shapes(body: &str) -> [String; 2] {
    ["", "async "]
        .map(|kind| format!("export default {{ {kind}fetch(request, env, ctx) {{ {body} }} }}"))
}

/// Nobody listens here.
fn closed() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap()
}

/// Status and reason.
fn told(reply: &Reply) -> (u16, String) {
    let reason = reply.json()["reason"].as_str().unwrap_or("").to_owned();
    (reply.status, reason)
}

fn expected(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

async fn what_fails_upstream_is_told_as_it_would_be_without_a_worker(hosting: &str) {
    for module in shapes("return fetch(request)") {
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let to = closed();
        let host = format!("api.example.com:{}", to.port());
        let reply = hosted.agent.get("acme", to, &host, "/").await;
        assert_eq!(told(&reply), expected(502, "upstream_refused"), "{module}");
        let line = hosted
            .agent
            .expect_log(&[("reason", "upstream_refused"), ("fault", "upstream")]);
        assert_eq!(line["worker.outcome"], "exception", "{line}");
    }
}

async fn what_the_worker_asked_for_itself_is_not_told(hosting: &str) {
    let to = closed();
    for module in shapes(&format!(
        "return fetch('http://{to}/of-the-operator', {{ redirect: 'manual' }})"
    )) {
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let reply = hosted.get("api.example.com", "/").await;
        assert_eq!(told(&reply), expected(500, "worker_exception"), "{module}");
        assert!(
            !format!("{reply:?}").contains("of-the-operator"),
            "{reply:?}"
        );
    }
}

async fn what_was_sent_is_not_sent_again(hosting: &str) {
    let service = format!("on_error = \"forward\"\n{PATIENT}");
    for module in shapes("return fetch(request)") {
        let broken = Origin::raw(|mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
        })
        .await;
        let hosted = Hosted::start(hosting, &module, &service).await;
        let host = format!("api.example.com:{}", broken.address.port());
        let request = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
        let reply = hosted.agent.ask("acme", broken.address, &request).await;
        assert_eq!(told(&reply), expected(502, "upstream_reset"), "{module}");
        assert_eq!(broken.connections(), 1, "{module}");
    }
}

async fn what_was_not_sent_goes_on_where_the_service_says_so(hosting: &str) {
    // A field that is the agent's to set.
    let wrong = "return fetch(new Request(request, { headers: { te: 'gzip' } }))";
    for module in shapes(wrong) {
        for (service, status) in [("", 500), ("on_error = \"forward\"", 200)] {
            let service = format!("{service}\n{PATIENT}");
            let hosted = Hosted::start(hosting, &module, &service).await;
            let reply = hosted.get("api.example.com", "/").await;
            assert_eq!(reply.status, status, "{module}: {reply:?}");
            let sent = hosted.origin.seen().len();
            assert_eq!(sent, usize::from(status == 200), "{module}");
            // Its body is gone with what failed.
            let host = hosted.host("api.example.com");
            let request = format!(
                "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello"
            );
            let reply = hosted
                .agent
                .ask("acme", hosted.origin.address, &request)
                .await;
            assert_eq!(told(&reply), expected(500, "worker_exception"), "{module}");
            assert_eq!(hosted.origin.seen().len(), sent, "{module}");
        }
    }
}

/// Reads for as long as there is something to read, and answers nothing; counts who has gone.
async fn silent() -> (Origin, Arc<AtomicUsize>) {
    let gone = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&gone);
    let origin = Origin::raw(move |mut stream| {
        let counted = Arc::clone(&counted);
        async move {
            drop(stream.read_to_end(&mut Vec::new()).await);
            counted.fetch_add(1, Ordering::SeqCst);
        }
    })
    .await;
    (origin, gone)
}

async fn an_upstream_that_is_silent_is_not_waited_for(hosting: &str) {
    let limits = "limits = { cpu = \"5s\", wall = \"500ms\" }";
    for module in shapes("return fetch(request)") {
        let (origin, gone) = silent().await;
        let hosted = Hosted::start(hosting, &module, limits).await;
        hosted.get_until("/", 200).await;
        let host = format!("api.example.com:{}", origin.address.port());
        let reply = hosted.agent.get("acme", origin.address, &host, "/").await;
        assert_eq!(told(&reply), expected(504, "worker_timeout"), "{module}");
        hosted.agent.expect_log(&[("worker.outcome", "timeout")]);
        eventually("the upstream is left", || {
            (gone.load(Ordering::SeqCst) == 1).then_some(())
        });
        hosted.get_until("/", 200).await;
    }
}

async fn a_tenant_that_goes_away_ends_what_was_asked_for_it(hosting: &str) {
    for module in shapes("return fetch(request)") {
        let (origin, gone) = silent().await;
        let limits = "limits = { cpu = \"5s\", concurrency = 2 }";
        let hosted = Hosted::start(hosting, &module, limits).await;
        let ask = |host: String| format!("GET / HTTP/1.1\r\nhost: {host}\r\n\r\n");
        let host = format!("api.example.com:{}", origin.address.port());
        let mut tenant = hosted.agent.connect("acme", origin.address).await;
        tenant.write_all(ask(host).as_bytes()).await.unwrap();
        eventually("the upstream is asked", || {
            (origin.connections() == 1).then_some(())
        });
        // Meanwhile its only place is taken.
        let failed = hosted.failure("/").await;
        assert_eq!(failed, expected(503, "worker_limit"), "{module}");
        let line = hosted.agent.expect_log(&[("reason", "worker_limit")]);
        assert_eq!(line["worker.outcome"], "refused", "{line}");
        drop(tenant);
        eventually("the upstream is left", || {
            (gone.load(Ordering::SeqCst) == 1).then_some(())
        });
        hosted.get_until("/", 200).await;
    }
}

async fn tasks_live_on_behind_the_response(hosting: &str) {
    let body = "ctx.waitUntil((async () => {
            await new Promise((resolve) => setTimeout(resolve, 50));
            await fetch(request.url.replace('/later', '/told'));
        })());
        return fetch(request)";
    for module in shapes(body) {
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let reply = hosted.get("api.example.com", "/later").await;
        assert_eq!((reply.status, &*reply.body), (200, "hello"), "{module}");
        let Hosted { agent, origin, .. } = hosted;
        let drained = agent.stop(harness::DEADLINE).await;
        assert_eq!(drained.forced.len(), 0, "{module}: {drained:?}");
        let seen = origin.seen();
        let told: Vec<_> = seen.iter().map(|seen| seen.target.path()).collect();
        assert_eq!(told, ["/later", "/told"], "{module}");
    }
}

async fn bodies_pass_in_both_directions_as_they_come(hosting: &str) {
    let changed = "return fetch(new Request(request, { headers: { x: 'y' } }))";
    for module in [shapes("return fetch(request)"), shapes(changed)].concat() {
        let origin = echo().await;
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let mut tenant = hosted.agent.connect("acme", origin.address).await;
        let head = format!(
            "POST / HTTP/1.1\r\nhost: api.example.com:{}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
            origin.address.port()
        );
        tenant.write_all(head.as_bytes()).await.unwrap();
        read_until(&mut tenant, "hello").await;
        tenant.write_all(b"5\r\nworld\r\n0\r\n\r\n").await.unwrap();
        let rest = read_until(&mut tenant, "\r\n0\r\n\r\n").await;
        assert!(rest.contains("world"), "{module}: {rest}");
        hosted
            .agent
            .expect_log(&[("worker.outcome", "responded"), ("outcome", "completed")]);
    }
}

/// Changes to a protocol in which it says everything twice.
async fn twice(mut stream: TcpStream) {
    let head = read_until(&mut stream, "\r\n\r\n").await.to_lowercase();
    assert!(head.contains("upgrade: twice\r\n"), "{head}");
    let head = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: twice\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut piece = [0; 64];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        stream.write_all(&piece[..length].repeat(2)).await.unwrap();
    }
}

async fn a_protocol_is_changed_through_a_worker(hosting: &str) {
    let changed = "return fetch(new Request(request, { headers: request.headers }))";
    for module in [shapes("return fetch(request)"), shapes(changed)].concat() {
        let origin = Origin::raw(twice).await;
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let mut tenant = hosted.agent.connect("acme", origin.address).await;
        let head = format!(
            "GET / HTTP/1.1\r\nhost: api.example.com:{}\r\nconnection: upgrade\r\nupgrade: twice\r\n\r\n",
            origin.address.port()
        );
        tenant.write_all(head.as_bytes()).await.unwrap();
        let head = read_until(&mut tenant, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{module}: {head}");
        tenant.write_all(b"abc").await.unwrap();
        read_until(&mut tenant, "abcabc").await;
        drop(tenant);
        let line = hosted
            .agent
            .expect_log(&[("http.response.status_code", "101")]);
        assert_eq!(line["worker.outcome"], "responded", "{line}");
        assert_eq!(line["bytes.received"], 6, "{line}");
    }
}

async fn redirects_are_the_tenants(hosting: &str) {
    let origin = Origin::answering(|_seen| {
        let response = Response::builder().status(302).header("location", "/next");
        response.body(Full::<Bytes>::default()).unwrap()
    })
    .await;
    for module in shapes("return fetch(request)") {
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let host = format!("api.example.com:{}", origin.address.port());
        let reply = hosted.agent.get("acme", origin.address, &host, "/").await;
        assert_eq!(reply.status, 302, "{module}: {reply:?}");
        assert!(reply.head.contains("location: /next"), "{reply:?}");
    }
    assert_eq!(origin.seen().len(), 2);
}

async fn a_request_sent_elsewhere_is_decided_again(hosting: &str) {
    let other = Origin::http().await;
    let port = other.address.port();
    let body = format!("return fetch(new Request('http://elsewhere.test:{port}/', request))");
    for module in shapes(&body) {
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let reply = hosted.get("api.example.com", "/").await;
        assert_eq!(told(&reply), expected(403, "no_rule"), "{module}");
        hosted.agent.expect_log(&[("reason", "no_rule")]);
        let trusted = format!("trusted = true\n{PATIENT}");
        let hosted = Hosted::start(hosting, &module, &trusted).await;
        let before = other.seen().len();
        let reply = hosted.get("api.example.com", "/").await;
        assert_eq!((reply.status, &*reply.body), (200, "hello"), "{module}");
        assert_eq!(other.seen().len(), before + 1, "{module}");
        // And no further than the worker itself.
        let fenced = format!("trusted = true\nnetwork = [\"public\"]\n{PATIENT}");
        let hosted = Hosted::start(hosting, &module, &fenced).await;
        let reply = hosted.get("api.example.com", "/").await;
        assert_eq!(told(&reply), expected(403, "private_address"), "{module}");
        assert_eq!(other.seen().len(), before + 1, "{module}");
    }
}

async fn a_drain_waits_for_what_is_fetched(hosting: &str) {
    for module in shapes("return fetch(request)") {
        let answer = Arc::new(tokio::sync::Notify::new());
        let answering = Arc::clone(&answer);
        let origin = Origin::raw(move |mut stream| {
            let answer = Arc::clone(&answering);
            async move {
                read_until(&mut stream, "\r\n\r\n").await;
                answer.notified().await;
                let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate";
                drop(stream.write_all(reply).await);
            }
        })
        .await;
        let hosted = Hosted::start(hosting, &module, PATIENT).await;
        let host = format!("api.example.com:{}", origin.address.port());
        let mut tenant = hosted.agent.connect("acme", origin.address).await;
        let ask = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        tenant.write_all(ask.as_bytes()).await.unwrap();
        eventually("the upstream is asked", || {
            (origin.connections() == 1).then_some(())
        });
        let finishing = async {
            answer.notify_one();
            Reply::read(&mut tenant).await
        };
        let (drained, reply) = tokio::join!(hosted.agent.stop(harness::DEADLINE), finishing);
        assert_eq!(drained.forced.len(), 0, "{module}: {drained:?}");
        assert!(reply.body.contains("late"), "{module}: {reply:?}");
    }
}
