//! Modules that do not behave: the request fails with its reason, and the next one is served.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use harness::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outbound_agent::path::worker::host::child;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::hosted::{Hosted, PATIENT, in_both_hostings};

in_both_hostings!(
    an_endless_loop_is_ended,
    a_memory_bomb_is_ended,
    what_never_settles_is_told_at_once,
    what_waits_too_long_is_ended,
    nonsense_is_an_exception,
    a_patched_promise_hangs_nobody,
    what_was_promised_for_later_is_bounded_and_its_end_counted,
    what_outlives_its_response_is_finished_before_a_drain_ends,
    what_outlives_a_drain_is_cut_and_counted,
    what_is_ended_behind_its_response_harms_no_request_after_it,
    a_worker_that_asks_for_its_own_tenant_goes_in_no_circle,
);

/// A module whose handler is a `switch` over the path; anything else is answered.
fn module(cases: &str) -> String {
    format!(
        "export default {{ async fetch(request, env, ctx) {{
            switch (new URL(request.url).pathname) {{ {cases} }}
            return new Response('fine');
        }} }}"
    )
}

async fn expect_fine(hosted: &Hosted) {
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!((reply.status, &*reply.body), (200, "fine"), "{reply:?}");
}

async fn an_endless_loop_is_ended(hosting: &str) {
    let cases = "case '/loop': for (;;);
        case '/caught': for (;;) { try { for (;;); } catch {} finally { continue } }
        case '/jobs': { const again = () => Promise.resolve().then(again); await again(); }";
    let hosted = Hosted::start(hosting, &module(cases), "limits = { cpu = \"300ms\" }").await;
    for path in ["/loop", "/caught", "/jobs"] {
        let failed = hosted.failure(path).await;
        assert_eq!(failed, (503, "worker_cpu".to_owned()), "{path}");
        hosted
            .agent
            .expect_log(&[("worker.outcome", "cpu"), ("url.path", path)]);
        expect_fine(&hosted).await;
    }
}

async fn a_memory_bomb_is_ended(hosting: &str) {
    let cases = "case '/bomb': { const all = []; for (;;) all.push(new Array(100000).fill(1)); }
        case '/bytes': { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); }";
    let limits = "limits = { cpu = \"5s\", memory = \"16MiB\" }";
    let hosted = Hosted::start(hosting, &module(cases), limits).await;
    for path in ["/bomb", "/bytes"] {
        let failed = hosted.failure(path).await;
        assert_eq!(failed, (503, "worker_memory".to_owned()), "{path}");
        hosted
            .agent
            .expect_log(&[("worker.outcome", "memory"), ("url.path", path)]);
        expect_fine(&hosted).await;
    }
}

async fn what_never_settles_is_told_at_once(hosting: &str) {
    let cases = "case '/never': await new Promise(() => {});";
    let hosted = Hosted::start(hosting, &module(cases), PATIENT).await;
    let failed = hosted.failure("/never").await;
    assert_eq!(failed, (500, "worker_exception".to_owned()));
    expect_fine(&hosted).await;
}

async fn what_waits_too_long_is_ended(hosting: &str) {
    let cases = "case '/long': await new Promise((resolve) => setTimeout(resolve, 1e8));";
    let limits = "limits = { cpu = \"5s\", wall = \"500ms\" }";
    let hosted = Hosted::start(hosting, &module(cases), limits).await;
    hosted.get_until("/", 200).await;
    let failed = hosted.failure("/long").await;
    assert_eq!(failed, (504, "worker_timeout".to_owned()));
    hosted.agent.expect_log(&[("worker.outcome", "timeout")]);
    hosted.get_until("/", 200).await;
}

async fn nonsense_is_an_exception(hosting: &str) {
    let cases = "case '/number': return 5;
        case '/nothing': return undefined;
        case '/alike': return { status: 200, headers: {} };
        case '/getter': throw { get message() { throw 1 }, get stack() { throw 2 } };
        case '/thenable': return { then() { throw new Error('hidden') } };
        case '/proxy': return new Proxy({}, { get() { throw 3 } });";
    let hosted = Hosted::start(hosting, &module(cases), PATIENT).await;
    for path in [
        "/number",
        "/nothing",
        "/alike",
        "/getter",
        "/thenable",
        "/proxy",
    ] {
        let failed = hosted.failure(path).await;
        assert_eq!(failed, (500, "worker_exception".to_owned()), "{path}");
    }
    expect_fine(&hosted).await;
}

async fn a_patched_promise_hangs_nobody(hosting: &str) {
    let cases = "case '/patch': Promise.prototype.then = () => {}; return await fetch(request);";
    let hosted = Hosted::start(hosting, &module(cases), PATIENT).await;
    for _ in 0..2 {
        let reply = hosted.get("api.example.com", "/patch").await;
        assert_eq!((reply.status, &*reply.body), (200, "hello"), "{reply:?}");
    }
}

async fn what_was_promised_for_later_is_bounded_and_its_end_counted(hosting: &str) {
    let cases = "case '/later':
        ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 1e8)));
        ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 1e8)));";
    let limits = "limits = { cpu = \"5s\", wall = \"700ms\" }";
    let hosted = Hosted::start(hosting, &module(cases), limits).await;
    hosted.get_until("/", 200).await;
    assert_eq!(hosted.get("api.example.com", "/later").await.status, 200);
    let outstanding = "outbound_worker_outstanding{service=\"egress\"}";
    hosted.agent.expect_metric(outstanding, 1.0);
    hosted.agent.expect_metric(outstanding, 0.0);
    let cut = "outbound_worker_cut_total{service=\"egress\"}";
    hosted.agent.expect_metric(cut, 2.0);
}

async fn what_outlives_its_response_is_finished_before_a_drain_ends(hosting: &str) {
    let cases = "case '/later': ctx.waitUntil((async () => {
            await new Promise((resolve) => setTimeout(resolve, 200));
            await fetch(request.url.replace('/later', '/told'));
        })());";
    let hosted = Hosted::start(hosting, &module(cases), PATIENT).await;
    assert_eq!(hosted.get("api.example.com", "/later").await.status, 200);
    let Hosted { agent, origin, .. } = hosted;
    let drained = agent.stop(harness::DEADLINE).await;
    assert_eq!(drained.forced.len(), 0, "{drained:?}");
    assert_eq!(origin.seen()[0].target.path(), "/told");
}

async fn what_outlives_a_drain_is_cut_and_counted(hosting: &str) {
    let cases = "case '/later': ctx.waitUntil(new Promise((resolve) => setTimeout(resolve, 1e8)));";
    let hosted = Hosted::start(hosting, &module(cases), PATIENT).await;
    for _ in 0..2 {
        assert_eq!(hosted.get("api.example.com", "/later").await.status, 200);
    }
    let drained = hosted.agent.stop(Duration::from_millis(200)).await;
    assert_eq!(drained.forced.get("worker"), Some(&2), "{drained:?}");
}

async fn what_is_ended_behind_its_response_harms_no_request_after_it(hosting: &str) {
    let module = "let count = 0;
        const later = (f) => new Promise((resolve) => setTimeout(resolve, 1)).then(f);
        const ends = {
            '/loop': () => { for (;;); },
            '/bomb': () => { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); },
        };
        export default { fetch(request, env, ctx) {
            const { pathname } = new URL(request.url);
            if (pathname in ends) ctx.waitUntil(later(ends[pathname]));
            return new Response(String(++count));
        } }";
    let limits = "limits = { cpu = \"300ms\", memory = \"16MiB\" }";
    let hosted = Hosted::start(hosting, module, limits).await;
    for path in ["/loop", "/bomb"] {
        // Each that ends so takes the state of the isolate with it.
        for (path, count) in [("/", "1"), (path, "2")] {
            let reply = hosted.get("api.example.com", path).await;
            assert_eq!((reply.status, &*reply.body), (200, count), "{reply:?}");
        }
        let outstanding = "outbound_worker_outstanding{service=\"egress\"}";
        hosted.agent.expect_metric(outstanding, 0.0);
    }
    let reply = hosted.get("api.example.com", "/").await;
    assert_eq!((reply.status, &*reply.body), (200, "1"), "{reply:?}");
}

async fn a_worker_that_asks_for_its_own_tenant_goes_in_no_circle(hosting: &str) {
    let module = "export default { async fetch(request) {
        const response = await fetch(request.headers.get('x-again'), { redirect: 'manual' });
        return new Response(`it said ${response.status}`);
    } }";
    let hosted = Arc::new(Hosted::start(hosting, module, PATIENT).await);
    // What is sent here is taken over as the tenant's.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let taken_over = Arc::clone(&hosted);
    drop(harness::spawn(async move {
        while let Ok((mut stream, _from)) = listener.accept().await {
            let mut agent = taken_over.agent.connect("acme", address).await;
            drop(tokio::io::copy_bidirectional(&mut stream, &mut agent).await);
        }
    }));
    let request = format!(
        "GET / HTTP/1.1\r\nhost: {address}\r\nx-again: http://{address}/\r\nconnection: close\r\n\r\n"
    );
    let reply = hosted.agent.ask("acme", address, &request).await;
    let said = (reply.status, &*reply.body);
    assert_eq!(said, (200, "it said 508"), "{reply:?}");
    hosted.agent.expect_log(&[("reason", "worker_loop")]);
}

/// The engine does not look at the time within one of its own functions, or not often enough.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_cannot_interrupt_ends_with_its_process() {
    let cases = "case '/search': 'a'.repeat(2 ** 22).indexOf('a'.repeat(2 ** 21) + 'b'); break;
        case '/join': { const sparse = []; sparse[2 ** 31] = 1; sparse.join(); break; }
        case '/reverse': { const sparse = []; sparse[2 ** 32 - 2] = 1; sparse.reverse(); break; }
        case '/json': {
            const all = Array.from({ length: 20000 }, (_, i) => ({ i, name: `name ${i}` }));
            for (;;) JSON.stringify(all);
        }";
    let hosted = Hosted::start("process", &module(cases), "limits = { cpu = \"300ms\" }").await;
    for path in ["/search", "/join", "/reverse", "/json"] {
        let reply = slow(&hosted, path).await;
        assert!(reply.starts_with("HTTP/1.1 503 "), "{path}: {reply}");
        let is_told = |reason: &&str| reply.contains(&format!("outbound-reason: {reason}\r"));
        assert!(
            ["worker_died", "worker_cpu"].iter().any(is_told),
            "{path}: {reply}"
        );
        hosted.get_until("/", 200).await;
    }
}

/// A thread cannot be killed; but nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_engine_cannot_interrupt_is_left_alone_in_its_thread() {
    let cases = "case '/search': 'a'.repeat(2 ** 22).indexOf('a'.repeat(2 ** 21) + 'b');";
    let hosted = Hosted::start("thread", &module(cases), "limits = { cpu = \"300ms\" }").await;
    let reply = slow(&hosted, "/search").await;
    assert!(reply.starts_with("HTTP/1.1 503 "), "{reply}");
    assert!(reply.contains("outbound-reason: worker_died\r"), "{reply}");
    hosted.get_until("/", 200).await;
}

/// What comes of a request, however busy the machine is.
async fn slow(hosted: &Hosted, path: &str) -> String {
    let host = hosted.host("api.example.com");
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    let mut stream = hosted.agent.connect("acme", hosted.origin.address).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    let read = stream.read_to_string(&mut reply);
    let read = tokio::time::timeout(Duration::from_secs(120), read).await;
    read.expect("an answer in time").unwrap();
    reply
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_is_replaced_and_what_comes_before_it_is_back_fails() {
    let cases = "case '/long': await new Promise((resolve) => setTimeout(resolve, 1e8));";
    let hosted = Hosted::named("mortal", "process", &module(cases), PATIENT).await;
    expect_fine(&hosted).await;
    let (address, host) = (hosted.origin.address, hosted.host("api.example.com"));
    let waiting = hosted.agent.get("acme", address, &host, "/long");
    let killing = async { kill(worker("mortal"), Signal::SIGKILL).unwrap() };
    let (reply, ()) = tokio::join!(waiting, killing);
    assert_eq!(reply.json()["reason"], "worker_died", "{reply:?}");
    hosted.get_until("/", 200).await;
    let text = hosted.agent.metrics();
    let line = text
        .lines()
        .find(|line| line.starts_with("outbound_worker_restarts_total"))
        .unwrap();
    assert!(!line.ends_with(" 0"), "{line}");
}

/// The worker process of this one's service of that name.
pub(super) fn worker(service: &str) -> Pid {
    let parent = format!("PPid:\t{}", std::process::id());
    let arguments = format!("{}\0{service}\0", child::COMMAND);
    eventually("a worker process is there", || {
        let mut processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        processes.find_map(|process| {
            let command = fs::read_to_string(process.path().join("cmdline")).ok()?;
            let status = fs::read_to_string(process.path().join("status")).ok()?;
            let is_ours = status.lines().any(|line| line == parent);
            let pid = process.file_name().to_str()?.parse().ok()?;
            (is_ours && command.ends_with(&arguments)).then_some(Pid::from_raw(pid))
        })
    })
}
