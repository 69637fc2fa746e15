//! Bodies: passed on by handle, read once, never ended cleanly when cut.

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::world::World;
use crate::Body;

#[tokio::test]
async fn a_body_that_is_not_read_stays_the_hosts() {
    let world = World::new("export default { fetch: (request) => fetch(request) }");
    let handle = world.host.body([Ok(Bytes::from("upload"))]);
    let reply = world
        .send(
            Method::POST,
            "https://api.test/",
            HeaderMap::new(),
            Body::Handle(handle),
        )
        .await
        .unwrap();
    let sent = world.host.requests.borrow_mut()[0].1.take().unwrap();
    assert!(matches!(sent, Body::Handle(number) if number == handle));
    assert!(matches!(reply.body, Body::Handle(_)));
    assert!(world.host.cancelled.borrow().is_empty());
}

#[tokio::test]
async fn a_body_that_nobody_wants_is_given_up() {
    let world = World::new("export default { fetch: () => new Response('no') }");
    let handle = world.host.body([Ok(Bytes::from("upload"))]);
    let reply = world
        .send(
            Method::POST,
            "https://api.test/",
            HeaderMap::new(),
            Body::Handle(handle),
        )
        .await
        .unwrap();
    assert_eq!(world.text(reply.body).await, "no");
    assert_eq!(*world.host.cancelled.borrow(), [handle]);
}

#[tokio::test]
async fn a_body_is_read_as_text_and_as_json() {
    let world = World::new(
        "export default { async fetch(request) { const r = await fetch('https://json.test/'); const j = await r.json(); return new Response(JSON.stringify(j) + r.bodyUsed) } }",
    );
    assert_eq!(world.answer().await, r#"{"a":[1,2]}true"#);
}

#[tokio::test]
async fn a_body_cut_short_rejects() {
    let world = World::new(
        "export default { async fetch() { const r = await fetch('https://cut.test/'); try { await r.text(); return new Response('whole') } catch (e) { return new Response(e.name + ': ' + e.message) } } }",
    );
    assert_eq!(world.answer().await, "TypeError: reset by peer");
}
