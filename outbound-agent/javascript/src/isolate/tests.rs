//! The face of an isolate, with a host that is scripted.

mod bodies;
mod limits;
mod semantics;
mod tunnels;
mod web;
mod world;

use world::World;

#[tokio::test]
async fn a_handler_answers() {
    let world = World::new(
        "export default { fetch(request) { return new Response('hi ' + request.method, { status: 201, headers: { a: 'b' } }) } }",
    );
    let reply = world.get("https://api.test/").await.unwrap();
    assert_eq!(reply.head.status, 201);
    assert_eq!(reply.head.headers["a"], "b");
    assert_eq!(
        reply.head.headers["content-type"],
        "text/plain;charset=UTF-8"
    );
    assert_eq!(world.text(reply.body).await, "hi GET");
}

#[tokio::test]
async fn a_request_passes_through() {
    let world = World::new("export default { fetch(request) { return fetch(request) } }");
    let reply = world.get("https://api.test/path").await.unwrap();
    assert_eq!(reply.head.status, 200);
    assert_eq!(
        world.text(reply.body).await,
        "answer to GET https://api.test/path"
    );
    assert_eq!(reply.rest.finished().await.cut, 0);
    assert_eq!(world.isolate.outstanding(), 0);
}

#[tokio::test]
async fn what_is_waited_for_lives_on_and_the_rest_is_dropped() {
    let world = World::new(
        "export default { fetch(request, env, ctx) { ctx.waitUntil(fetch('https://slow.test/log').then((r) => r.text()).then((t) => console.log(t))); fetch('https://hangs.test/dropped'); return new Response('done') } }",
    );
    let reply = world.get("https://api.test/").await.unwrap();
    assert!(world.host.console.borrow().is_empty());
    world.until(|| world.isolate.outstanding() == 0).await;
    let text = "answer to GET https://slow.test/log";
    assert_eq!(*world.host.console.borrow(), [text]);
    assert_eq!(reply.rest.finished().await.cut, 0);
}
