//! Who does not read holds up who writes, through a worker as without one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::hosted::{Hosted, in_both_hostings};
use super::shapes::shapes;
use super::stream::read_until;

in_both_hostings!(
    an_upstream_waits_for_a_tenant_that_does_not_read,
    a_tenant_waits_for_an_upstream_that_does_not_read,
);

/// More than all sockets on the way take together.
const ALL: usize = 96 << 20;
/// What they may take, and what the agent and the worker may hold.
const HELD: usize = 64 << 20;
/// Who cannot write for so long has to wait.
const WAITS: Duration = Duration::from_millis(500);
/// Less than a body; the isolate is thrown away where it holds more.
const LIMITS: &str = "limits = { cpu = \"60s\", memory = \"8MiB\" }";

/// Writes all of a body, or as much as is taken; gives how much that was.
async fn write(stream: &mut (impl AsyncWrite + Unpin), from: usize) -> usize {
    let piece = vec![b'x'; 64 << 10];
    let mut written = from;
    while written < ALL {
        let length = piece.len().min(ALL - written);
        match timeout(WAITS, stream.write(&piece[..length])).await {
            Ok(wrote) => written += wrote.unwrap(),
            Err(_elapsed) => break,
        }
    }
    written
}

/// As [`write`], however long it takes.
async fn write_rest(stream: &mut (impl AsyncWrite + Unpin), mut from: usize) {
    while from < ALL {
        from = write(stream, from).await;
    }
}

fn responses() -> Vec<String> {
    let through = |stream: &str| {
        format!(
            "export default {{ async fetch(request) {{ const r = await fetch(request);
                return new Response(r.body.pipeThrough({stream}), r) }} }}"
        )
    };
    let mut modules = shapes("return fetch(request)").to_vec();
    modules.push(through("new TransformStream()"));
    modules.push(through(BYTES));
    modules
}

const BYTES: &str = "new TransformStream({ transform: (chunk, it) => it.enqueue(chunk) })";

async fn an_upstream_waits_for_a_tenant_that_does_not_read(hosting: &str) {
    for module in responses() {
        let (taken, waits) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let (told, wakes) = (Arc::clone(&taken), Arc::clone(&waits));
        let origin = Origin::raw(move |mut stream| {
            let (told, wakes) = (Arc::clone(&told), Arc::clone(&wakes));
            async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {ALL}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                let written = write(&mut stream, 0).await;
                told.store(written, Ordering::SeqCst);
                wakes.notify_one();
                write_rest(&mut stream, written).await;
            }
        })
        .await;
        let hosted = Hosted::start(hosting, &module, LIMITS).await;
        let mut tenant = hosted.agent.connect("acme", origin.address).await;
        let host = format!("api.example.com:{}", origin.address.port());
        let ask = format!("GET / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        tenant.write_all(ask.as_bytes()).await.unwrap();
        waits.notified().await;
        let held = taken.load(Ordering::SeqCst);
        assert!(held < HELD, "{module}: {held} octets were taken");
        let mut length = 0;
        let mut piece = vec![0; 64 << 10];
        while let read @ 1.. = tenant.read(&mut piece).await.unwrap() {
            length += read;
        }
        // The head, and how the body is framed, come on top.
        assert!(
            (ALL..ALL + (8 << 20)).contains(&length),
            "{module}: {length}"
        );
    }
}

async fn a_tenant_waits_for_an_upstream_that_does_not_read(hosting: &str) {
    let through = format!("request.body.pipeThrough({BYTES})");
    let changed =
        format!("return fetch(new Request(request, {{ body: {through}, duplex: 'half' }}))");
    for module in [shapes("return fetch(request)"), shapes(&changed)].concat() {
        let read = Arc::new(Notify::new());
        let reads = Arc::clone(&read);
        let origin = Origin::raw(move |mut stream| {
            let read = Arc::clone(&reads);
            async move {
                read.notified().await;
                let (mut length, mut end) = (0, Vec::new());
                let mut piece = vec![0; 64 << 10];
                while length < ALL || !end.ends_with(b"x") && !end.ends_with(b"0\r\n\r\n") {
                    match stream.read(&mut piece).await.unwrap() {
                        0 => return,
                        read => {
                            length += read;
                            end = piece[..read].to_vec();
                        }
                    }
                }
                let reply = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone";
                stream.write_all(reply).await.unwrap();
            }
        })
        .await;
        let hosted = Hosted::start(hosting, &module, LIMITS).await;
        let mut tenant = hosted.agent.connect("acme", origin.address).await;
        let host = format!("api.example.com:{}", origin.address.port());
        let ask = format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-length: {ALL}\r\nconnection: close\r\n\r\n"
        );
        tenant.write_all(ask.as_bytes()).await.unwrap();
        let held = write(&mut tenant, 0).await;
        assert!(held < HELD, "{module}: {held} octets were taken");
        read.notify_one();
        write_rest(&mut tenant, held).await;
        let reply = harness::agent::Reply::read(&mut tenant).await;
        assert_eq!(reply.status, 200, "{module}: {reply:?}");
    }
}
