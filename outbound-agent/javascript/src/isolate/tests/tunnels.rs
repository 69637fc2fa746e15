//! The `connect` handler: it refuses, forwards or answers.

use super::world::World;
use crate::{Body, Decision, WorkerError};

fn world(body: &str) -> World {
    World::new(&format!(
        "export default {{ async connect(socket, env, ctx) {{ {body} }} }}"
    ))
}

async fn decision(body: &str) -> Decision {
    world(body).connect(Body::Empty).await.unwrap()
}

#[tokio::test]
async fn a_tunnel_is_refused_with_a_reason() {
    let Decision::Refuse { reason } = decision("socket.refuse('not ' + socket.hostname)").await
    else {
        panic!("not refused");
    };
    assert_eq!(reason, "not db.test");
}

#[tokio::test]
async fn a_handler_that_decides_nothing_refuses() {
    let Decision::Refuse { reason } = decision("").await else {
        panic!("not refused");
    };
    assert_eq!(reason, "the connect handler decided nothing");
}

#[tokio::test]
async fn a_tunnel_is_forwarded_as_it_is_or_elsewhere() {
    for (source, expected) in [
        ("socket.forward()", ("db.test", 5432)),
        (
            "socket.forward({ hostname: 'replica.test', port: 5433 })",
            ("replica.test", 5433),
        ),
    ] {
        let Decision::Forward { host, port } = decision(source).await else {
            panic!("not forwarded");
        };
        assert_eq!((host.as_str(), port), expected);
    }
}

#[tokio::test]
async fn a_tunnel_is_answered_byte_for_byte() {
    let world = world("await socket.readable.pipeTo(socket.writable)");
    let handle = world
        .host
        .body(["echo ", "this"].map(|chunk| Ok(chunk.into())));
    let decision = world.connect(Body::Handle(handle)).await.unwrap();
    let Decision::Answer(body) = decision else {
        panic!("not answered");
    };
    assert_eq!(world.text(body).await, "echo this");
    world.until(|| world.isolate.outstanding() == 0).await;
}

#[tokio::test]
async fn a_handler_that_throws_cuts_what_it_answered() {
    let world = world(
        "const w = socket.writable.getWriter(); await w.write(new Uint8Array([97])); throw new Error('x')",
    );
    let Decision::Answer(body) = world.connect(Body::Empty).await.unwrap() else {
        panic!("not answered");
    };
    assert!(world.read(body).await.is_err());
}

#[tokio::test]
async fn without_a_handler_there_is_no_decision() {
    let world = World::new("export default { fetch() {} }");
    let error = world.connect(Body::Empty).await.unwrap_err();
    assert_eq!(error, WorkerError::NoHandler { handler: "connect" });
    let world = World::new("export default { connect() {} }");
    let error = world.get("https://api.test/").await.unwrap_err();
    assert_eq!(error, WorkerError::NoHandler { handler: "fetch" });
}
