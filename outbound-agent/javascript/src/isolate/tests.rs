//! The face of an isolate, with a host that is scripted.

mod bodies;
mod late;
mod limits;
mod semantics;
mod tunnels;
mod unseen;
mod web;
mod world;

use http::{HeaderMap, Method};

use crate::{Body, BodyError};
use world::World;

#[tokio::test]
async fn a_handler_answers() {
    let world = World::new(
        "export default { fetch(request) { return new Response('hi ' + request.method, { status: 201, headers: { a: 'b' } }) } }",
    );
    let reply = world.get("https://api.test/").await.unwrap();
    assert_eq!(reply.head.status, 201);
    assert_eq!(reply.head.headers.to_map().unwrap()["a"], "b");
    assert_eq!(
        reply.head.headers.to_map().unwrap()["content-type"],
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

#[tokio::test]
async fn a_caller_that_goes_away_takes_its_invocation_with_it() {
    let world = World::new(
        "export default { fetch: (request) => fetch('https://hangs.test/', { method: 'POST', body: request.body }) }",
    );
    let handle = world.host.body([Ok("upload".into())]);
    let asked = || !world.host.requests.borrow().is_empty();
    let send = world.send(
        Method::POST,
        "https://api.test/",
        HeaderMap::new(),
        Body::Handle(handle),
    );
    tokio::select! {
        biased;
        _ = send => panic!("there is no answer"),
        () = world.until(asked) => {}
    }
    assert_eq!(world.isolate.outstanding(), 0);
    world.until(|| true).await;
}

#[tokio::test]
async fn an_isolate_is_dropped_with_all_that_it_has_under_way() {
    let source = "let kept; export default { async fetch(request, env, ctx) { kept = request; const r = await fetch('https://chunks.test/'); kept.reader = r.body.getReader(); ctx.waitUntil(kept.reader.read().then(() => new Promise((r) => setTimeout(r, 1e6)))); setInterval(() => {}, 1); return new Response(new ReadableStream({ pull(c) { c.enqueue(new Uint8Array(9)) } })) } }";
    let world = World::new(source);
    let reply = world.get("https://api.test/").await.unwrap();
    let Body::Stream(mut chunks) = reply.body else {
        panic!("not streamed");
    };
    world.until(|| world.isolate.outstanding() == 1).await;
    let host = world.host.clone();
    drop(world);
    let mut last = None;
    while let Some(chunk) = chunks.next().await {
        last = Some(chunk);
    }
    assert_eq!(last, Some(Err(BodyError::Cut)));
    assert_eq!(host.cancelled.borrow().len(), 1);
    assert_eq!(reply.rest.finished().await.cut, 2);
}

#[tokio::test]
async fn an_isolate_is_of_what_was_compiled_for_the_first_one() {
    let source = "
        import { other } from './lib/b.js';
        export const same = (parts) => parts;
        const line = () => same`\\u0061${1}`;
        const place = () => new Error('here').stack.trim();
        export default { async fetch(request) {
          const { late } = await import('./lib/c.js');
          return Response.json([place.toString(), place().split('\\n')[0], line() === line(), line().raw, other(), late, 12345678901234567890n.toString(), /x(?<y>.)/u.exec('xz').groups.y]);
        } }";
    let files = [
        ("a.js", source),
        (
            "lib/b.js",
            "import { same } from '../a.js';\nexport const other = () => same`b`[0]",
        ),
        ("lib/c.js", "export const late = 'c'"),
    ];
    let files = files.map(|(path, source)| (path.to_owned(), source.to_owned()));
    let world = World::of(files, "a.js", world::AMPLE, crate::Bindings::default());
    let expected = r#"["() => new Error('here').stack.trim()","at place (a.js:5:33)",true,["\\u0061",""],"b","c","12345678901234567890","z"]"#;
    assert_eq!(world.answer().await, expected);
}

#[tokio::test]
async fn fields_belong_to_their_invocation() {
    let world = World::new(
        "let kept;
        export default { async fetch(request) {
            if (kept === undefined) kept = request.headers;
            else try { await fetch('https://api.test/', { headers: kept }) }
            catch (error) { return new Response(error.message) }
            return new Response('sent');
        } }",
    );
    assert_eq!(world.answer().await, "sent");
    let text = "headers: they belong to an invocation that has ended";
    assert_eq!(world.answer().await, text);
}
