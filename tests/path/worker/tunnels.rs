//! Tunnels that a module decides about.

use harness::origin::Origin;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::hosted::{Hosted, PATIENT, in_both_hostings};

in_both_hostings!(
    a_module_without_a_connect_handler_leaves_tunnels_to_the_policy,
    a_module_may_let_a_tunnel_pass,
    a_module_may_refuse_a_tunnel,
    a_handler_that_fails_or_decides_nothing_refuses,
    a_tunnel_goes_elsewhere_only_where_the_tenant_may_go,
    a_module_may_answer_a_tunnel,
    what_policy_denies_no_handler_sees,
);

/// Words that are no HTTP and no TLS.
const WORDS: &[u8] = b"\0hello";

/// Answers with its name and what it was told.
async fn echo(name: &'static str) -> Origin {
    Origin::raw(move |mut stream| async move {
        let (mut read, mut write) = stream.split();
        write.write_all(name.as_bytes()).await.ok();
        drop(tokio::io::copy(&mut read, &mut write).await);
    })
    .await
}

fn module(connect: &str) -> String {
    format!("export default {{ async connect(socket, env, ctx) {{ {connect} }} }}")
}

/// What comes back through a tunnel to `origin`, up to its end or its reset.
async fn said(hosted: &Hosted, origin: &Origin) -> String {
    let mut stream = hosted.agent.connect("acme", origin.address).await;
    // Who refuses may have done so already.
    drop(stream.write_all(WORDS).await);
    drop(stream.shutdown().await);
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    drop(
        tokio::time::timeout(harness::DEADLINE, read)
            .await
            .expect("an end in time"),
    );
    String::from_utf8_lossy(&answer).into_owned()
}

async fn a_module_without_a_connect_handler_leaves_tunnels_to_the_policy(hosting: &str) {
    let (hosted, origin) = (
        Hosted::start(hosting, super::hosted::PASS, PATIENT).await,
        echo("a ").await,
    );
    assert_eq!(said(&hosted, &origin).await, "a \0hello");
    let line = hosted
        .agent
        .expect_log(&[("kind", "tcp"), ("outcome", "completed")]);
    assert!(line.get("worker.outcome").is_none(), "{line}");
}

async fn a_module_may_let_a_tunnel_pass(hosting: &str) {
    let origin = echo("a ").await;
    let decide = format!(
        "if (socket.hostname === '127.0.0.1' && socket.port === {} && env.customer_name === 'acme') \
         socket.forward()",
        origin.address.port()
    );
    let hosted = Hosted::start(hosting, &module(&decide), PATIENT).await;
    assert_eq!(said(&hosted, &origin).await, "a \0hello");
    let line = hosted
        .agent
        .expect_log(&[("kind", "tcp"), ("worker.outcome", "passed")]);
    assert_eq!(
        (&line["worker.name"], &line["outcome"]),
        (&"egress".into(), &"completed".into())
    );
}

async fn a_module_may_refuse_a_tunnel(hosting: &str) {
    let origin = echo("a ").await;
    let hosted = Hosted::start(hosting, &module("socket.refuse('not today')"), PATIENT).await;
    assert_eq!(said(&hosted, &origin).await, "");
    let reason = [("reason", "worker_refused"), ("worker.outcome", "rejected")];
    hosted.agent.expect_log(&reason);
    assert_eq!(origin.connections(), 0);
}

async fn a_handler_that_fails_or_decides_nothing_refuses(hosting: &str) {
    let origin = echo("a ").await;
    for (decide, reason) in [
        ("throw new Error('no')", "worker_exception"),
        ("", "worker_refused"),
        ("await new Promise(() => {})", "worker_exception"),
        ("for (;;);", "worker_cpu"),
    ] {
        let limits = "limits = { cpu = \"300ms\" }";
        let hosted = Hosted::start(hosting, &module(decide), limits).await;
        assert_eq!(said(&hosted, &origin).await, "", "{decide}");
        hosted.agent.expect_log(&[("reason", reason)]);
    }
    // A module that does not load refuses as well: nobody knows what it would have said.
    let hosted = Hosted::start(hosting, "export default {", PATIENT).await;
    assert_eq!(said(&hosted, &origin).await, "");
    hosted.agent.expect_log(&[("reason", "worker_unavailable")]);
    assert_eq!(origin.connections(), 0);
}

async fn a_tunnel_goes_elsewhere_only_where_the_tenant_may_go(hosting: &str) {
    let (asked, other) = (echo("a ").await, echo("b ").await);
    let port = other.address.port();
    let decide = format!("socket.forward({{ hostname: '127.0.0.1', port: {port} }})");
    let hosted = Hosted::start(hosting, &module(&decide), PATIENT).await;
    assert_eq!(said(&hosted, &asked).await, "b \0hello");
    hosted
        .agent
        .expect_log(&[("worker.outcome", "redirected"), ("outcome", "completed")]);
    // No rule of the tenant's names this address.
    let decide = format!("socket.forward({{ hostname: '127.0.0.2', port: {port} }})");
    let hosted = Hosted::start(hosting, &module(&decide), PATIENT).await;
    assert_eq!(said(&hosted, &asked).await, "");
    hosted
        .agent
        .expect_log(&[("worker.outcome", "redirected"), ("verdict", "deny")]);
    assert_eq!((asked.connections(), other.connections()), (0, 1));
}

async fn a_module_may_answer_a_tunnel(hosting: &str) {
    let origin = echo("a ").await;
    let decide = "const writer = socket.writable.getWriter();
        await writer.write(new TextEncoder().encode('you said '));
        for await (const chunk of socket.readable) await writer.write(chunk);
        await writer.close();";
    let hosted = Hosted::start(hosting, &module(decide), PATIENT).await;
    assert_eq!(said(&hosted, &origin).await, "you said \0hello");
    let line = hosted.agent.expect_log(&[("worker.outcome", "responded")]);
    let counted = (&line["bytes.sent"], &line["bytes.received"]);
    assert_eq!(counted, (&6.into(), &15.into()), "{line}");
    assert_eq!(origin.connections(), 0);
}

async fn what_policy_denies_no_handler_sees(hosting: &str) {
    let hosted = Hosted::start(hosting, &module("socket.forward()"), PATIENT).await;
    let elsewhere = "127.0.0.3:9".parse().unwrap();
    let mut stream = hosted.agent.connect("acme", elsewhere).await;
    drop(stream.write_all(WORDS).await);
    drop(stream.read(&mut [0]).await);
    let line = hosted
        .agent
        .expect_log(&[("kind", "tcp"), ("verdict", "deny")]);
    assert!(line.get("worker.outcome").is_none(), "{line}");
}
