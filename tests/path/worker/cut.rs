//! A body that is cut short is an error on the wire, whoever cuts it and whoever passes it on.

use harness::agent::{Agent, Reply};
use harness::eventually;
use harness::origin::Origin;
use nix::sys::signal::{Signal, kill};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::hosted::{Hosted, PATIENT, in_both_hostings};
use super::limits::worker;
use super::server;
use super::shapes::shapes;
use super::stream::{read_until, sends_on};

in_both_hostings!(
    what_the_upstream_cuts_is_cut_for_the_tenant,
    what_the_tenant_cuts_is_cut_for_the_upstream,
    what_the_worker_does_not_write_to_its_end_is_cut,
    what_the_worker_does_not_send_to_its_end_is_cut,
);

/// Neither its octets nor its text are changed.
const BYTES: &str = "new TransformStream({ transform: (chunk, it) => it.enqueue(chunk) })";

/// Ways to hand on a response.
fn responses() -> Vec<String> {
    let read = "const r = await fetch(request); return new Response";
    let bodies = [
        format!("{read}(r.body, r)"),
        format!("{read}(r.body.pipeThrough({BYTES}), r)"),
        format!("{read}(r.body.pipeThrough(new TransformStream()), r)"),
        format!("{read}(r.clone().body, r)"),
    ];
    let mut modules = shapes("return fetch(request)").to_vec();
    modules.extend(
        bodies.map(|body| format!("export default {{ async fetch(request) {{ {body} }} }}")),
    );
    modules
}

/// Whether a chunked body has come to its end.
fn is_whole(reply: &str) -> bool {
    reply.ends_with("0\r\n\r\n")
}

/// What the log says of the one exchange.
fn logged(hosted: &Hosted) -> Value {
    hosted.agent.expect_log(&[("kind", "http")])
}

async fn what_the_upstream_cuts_is_cut_for_the_tenant(hosting: &str) {
    for framing in [
        "content-length: 10\r\n\r\nab",
        "transfer-encoding: chunked\r\n\r\n2\r\nab\r\n",
    ] {
        let origin = Origin::raw(move |mut stream| async move {
            read_until(&mut stream, "\r\n\r\n").await;
            let reply = format!("HTTP/1.1 200 OK\r\n{framing}");
            stream.write_all(reply.as_bytes()).await.unwrap();
        })
        .await;
        for module in responses() {
            let hosted = Hosted::start(hosting, &module, PATIENT).await;
            let host = format!("api.example.com:{}", origin.address.port());
            let reply = hosted.agent.get("acme", origin.address, &host, "/").await;
            // Whether anything of it was sent before is not said.
            assert!(matches!(reply.status, 0 | 200), "{module}: {reply:?}");
            // A length that is known is told; what has come is shorter.
            assert!(
                !is_whole(&reply.body) && reply.body.len() < 10,
                "{module}: {reply:?}"
            );
            assert_eq!(logged(&hosted)["outcome"], "failed", "{module}");
        }
    }
}

/// An origin that tells all that it was sent on each connection, once that has ended.
async fn listening() -> (Origin, UnboundedReceiver<String>) {
    let (tell, told) = unbounded_channel();
    let origin = Origin::raw(move |mut stream| {
        let tell = tell.clone();
        async move {
            let mut all = Vec::new();
            // However it ends: what has come counts.
            drop(stream.read_to_end(&mut all).await);
            drop(tell.send(String::from_utf8_lossy(&all).into_owned()));
        }
    })
    .await;
    (origin, told)
}

async fn next(told: &mut UnboundedReceiver<String>) -> String {
    let next = tokio::time::timeout(harness::DEADLINE, told.recv()).await;
    next.expect("what was sent, in time").unwrap()
}

async fn what_the_tenant_cuts_is_cut_for_the_upstream(hosting: &str) {
    let through = |stream: &str| {
        let body = format!("request.body.pipeThrough({stream})");
        shapes(&format!(
            "return fetch(new Request(request, {{ body: {body}, duplex: 'half' }}))"
        ))
    };
    let (origin, mut told) = listening().await;
    for (modules, fault) in [
        (shapes("return fetch(request)"), "downstream"),
        (through("new TransformStream()"), "downstream"),
        // What it writes is its own.
        (through(BYTES), "worker"),
    ] {
        for module in modules {
            let hosted = Hosted::start(hosting, &module, PATIENT).await;
            let before = origin.connections();
            let mut tenant = hosted.agent.connect("acme", origin.address).await;
            let request = format!(
                "POST / HTTP/1.1\r\nhost: api.example.com:{}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
                origin.address.port()
            );
            tenant.write_all(request.as_bytes()).await.unwrap();
            eventually("the upstream is asked", || {
                (origin.connections() > before).then_some(())
            });
            drop(tenant);
            let sent = next(&mut told).await;
            assert!(!is_whole(&sent), "{module}: {sent}");
            let line = logged(&hosted);
            assert_ne!(line["outcome"], "completed", "{module}: {line}");
            assert_eq!(line["fault"], fault, "{module}: {line}");
        }
    }
}

/// A stream that gives something, and then does what it says.
fn stream(then: &str) -> String {
    format!(
        "let first = true;
        const body = new ReadableStream({{ async pull(controller) {{
            if (first) controller.enqueue(new TextEncoder().encode('some of it'));
            else {{ {then} }}
            first = false;
        }} }});"
    )
}

const FAILS: [&str; 3] = [
    "controller.error(new Error('of-the-worker'))",
    "throw new Error('of-the-worker')",
    "controller.enqueue('no octets')",
];

async fn what_the_worker_does_not_write_to_its_end_is_cut(hosting: &str) {
    for fails in FAILS {
        for module in shapes(&format!("{} return new Response(body)", stream(fails))) {
            let hosted = Hosted::start(hosting, &module, PATIENT).await;
            let reply = hosted.get("api.example.com", "/").await;
            assert!(matches!(reply.status, 0 | 200), "{fails}: {reply:?}");
            assert!(!is_whole(&reply.body), "{fails}: {reply:?}");
            assert!(!reply.body.contains("of-the-worker"), "{reply:?}");
            let line = logged(&hosted);
            let ended = (&line["outcome"], &line["fault"]);
            assert_eq!(ended, (&"failed".into(), &"worker".into()), "{line}");
        }
    }
}

async fn what_the_worker_does_not_send_to_its_end_is_cut(hosting: &str) {
    let (origin, mut told) = listening().await;
    for fails in FAILS {
        for target in ["request", "request.url"] {
            let send = format!(
                "{} return fetch({target}, {{ method: 'POST', body, duplex: 'half' }})",
                stream(fails)
            );
            for module in shapes(&send) {
                let hosted = Hosted::start(hosting, &module, PATIENT).await;
                let host = format!("api.example.com:{}", origin.address.port());
                let reply = hosted.agent.get("acme", origin.address, &host, "/").await;
                assert!(reply.status >= 500, "{module}: {reply:?}");
                assert!(!reply.body.contains("of-the-worker"), "{reply:?}");
                let sent = next(&mut told).await;
                assert!(!is_whole(&sent), "{module}: {sent}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_tenant_cuts_is_cut_behind_a_worker_that_is_a_server() {
    let worker = Origin::raw(sends_on).await;
    let agent = Agent::start(&server::config(worker.address, ""));
    let (origin, mut told) = listening().await;
    let mut tenant = agent.connect("acme", origin.address).await;
    let request = format!(
        "POST / HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        server::host(&origin)
    );
    tenant.write_all(request.as_bytes()).await.unwrap();
    eventually("the upstream is asked", || {
        (origin.connections() > 0).then_some(())
    });
    drop(tenant);
    let sent = next(&mut told).await;
    assert!(!is_whole(&sent), "{sent}");
    agent.expect_log(&[("kind", "http"), ("fault", "downstream")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_was_writing_when_it_died_is_cut() {
    let waits = stream("await new Promise((resolve) => setTimeout(resolve, 1e8))");
    let module = shapes(&format!("{waits} return new Response(body)"))[0].clone();
    let hosted = Hosted::named("writer", "process", &module, PATIENT).await;
    let mut tenant = hosted.agent.connect("acme", hosted.origin.address).await;
    let host = hosted.host("api.example.com");
    let ask = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    tenant.write_all(ask.as_bytes()).await.unwrap();
    read_until(&mut tenant, "some of it").await;
    kill(worker("writer"), Signal::SIGKILL).unwrap();
    let rest = Reply::read(&mut tenant).await;
    assert!(!is_whole(&rest.head), "{rest:?}");
    let line = logged(&hosted);
    let ended = (&line["outcome"], &line["fault"]);
    assert_eq!(ended, (&"failed".into(), &"worker".into()), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_was_sending_when_it_died_is_cut() {
    let (origin, mut told) = listening().await;
    let waits = stream("await new Promise((resolve) => setTimeout(resolve, 1e8))");
    let modules = shapes(&format!(
        "{waits} return fetch(request, {{ method: 'POST', body, duplex: 'half' }})"
    ));
    // The process of the one before may not be gone yet.
    for (module, name) in modules.iter().zip(["sender", "next-sender"]) {
        let hosted = Hosted::named(name, "process", module, PATIENT).await;
        let before = origin.connections();
        let host = format!("api.example.com:{}", origin.address.port());
        let mut tenant = hosted.agent.connect("acme", origin.address).await;
        let ask = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        tenant.write_all(ask.as_bytes()).await.unwrap();
        eventually("the upstream is asked", || {
            (origin.connections() > before).then_some(())
        });
        kill(worker(name), Signal::SIGKILL).unwrap();
        let reply = Reply::read(&mut tenant).await;
        assert!(reply.status >= 500, "{module}: {reply:?}");
        let sent = next(&mut told).await;
        assert!(!is_whole(&sent), "{module}: {sent}");
    }
}
