//! Handlers that do not behave: each is cut, and nobody else pays.

use std::time::Duration;

use super::world::{AMPLE, World};
use crate::{Bindings, Limits, Poison, WorkerError};

async fn outcome(body: &str) -> (WorkerError, Option<Poison>) {
    outcome_within(AMPLE.cpu, body).await
}

async fn outcome_within(cpu: Duration, body: &str) -> (WorkerError, Option<Poison>) {
    let limits = Limits {
        cpu,
        memory_bytes: 16 << 20,
        ..AMPLE
    };
    let source = format!("export default {{ async fetch(request, env, ctx) {{ {body} }} }}");
    let world = World::with(&source, limits, Bindings::default());
    let error = world.get("https://api.test/").await.unwrap_err();
    (error, world.isolate.poisoned())
}

#[tokio::test]
async fn an_endless_loop_is_cut_and_poisons() {
    for endless in [
        "for (;;) {}",
        "for (;;) { try { for (;;) {} } catch {} finally { continue } }",
        "const f = () => Promise.resolve().then(f); await f(); for (;;) await 0",
        "await fetch('https://api.test/'); for (;;) {}",
        "return new Response(new ReadableStream({ pull() { for (;;) {} } }, { highWaterMark: 0 }))",
        "ctx.waitUntil(Promise.reject({ get name() { for (;;) {} } })); await fetch('https://api.test/')",
        "for (;;) { try { crypto.getRandomValues(new Uint8Array(65536)) } catch {} }",
    ] {
        let cut = outcome_within(Duration::from_millis(50), endless).await;
        assert_eq!(cut, (WorkerError::Cpu, Some(Poison::Cpu)), "{endless}");
    }
}

#[tokio::test]
async fn a_memory_bomb_is_cut_and_poisons() {
    let cut = (WorkerError::Memory, Some(Poison::Memory));
    assert_eq!(
        outcome("const all = []; for (;;) all.push(new Array(100000).fill(1))").await,
        cut
    );
    assert_eq!(
        outcome("const a = []; for (;;) a.push(new Uint8Array(1 << 20))").await,
        cut
    );
}

#[tokio::test]
async fn a_promise_that_cannot_settle_is_noticed_at_once() {
    assert_eq!(
        outcome("await new Promise(() => {})").await,
        (WorkerError::NeverSettled, None)
    );
}

#[tokio::test]
async fn a_promise_that_does_not_settle_in_time_ends_with_the_wall_time() {
    let limits = Limits {
        wall: Some(Duration::from_millis(20)),
        ..AMPLE
    };
    let world = World::with(
        "export default { fetch: () => fetch('https://hangs.test/') }",
        limits,
        Bindings::default(),
    );
    assert_eq!(
        world.get("https://api.test/").await.unwrap_err(),
        WorkerError::Timeout
    );
    assert_eq!(world.isolate.outstanding(), 0);
    assert_eq!(world.isolate.poisoned(), None);
}

#[tokio::test]
async fn what_is_thrown_comes_with_its_place() {
    let (error, _poison) = outcome("\n  null.x").await;
    let WorkerError::Exception { message, stack } = error else {
        panic!("{error:?}");
    };
    assert!(message.starts_with("TypeError: "), "{message}");
    assert!(stack.contains("egress.js:2:"), "{stack}");
}

#[tokio::test]
async fn nonsense_is_no_response() {
    for (given, told) in [
        ("return 5", "number"),
        ("return null", "null"),
        (
            "return { status: 200, headers: {} }",
            "an object that is no Response",
        ),
        ("", "undefined"),
    ] {
        let told = told.to_owned();
        assert_eq!(
            outcome(given).await.0,
            WorkerError::NotAResponse { given: told }
        );
    }
}

#[tokio::test]
async fn a_throwing_getter_is_an_exception() {
    for hostile in [
        "throw { get message() { throw 1 }, get name() { throw 2 } }",
        "throw new Proxy({}, { get() { throw 3 } })",
        "throw Symbol('x')",
        "throw undefined",
        "throw Object.create(null)",
    ] {
        let (error, poison) = outcome(hostile).await;
        assert!(
            matches!(error, WorkerError::Exception { .. }),
            "{hostile}: {error:?}"
        );
        assert_eq!(poison, None);
    }
}

#[tokio::test]
async fn a_patched_prototype_does_not_hang_the_isolate() {
    let (error, _poison) =
        outcome("Promise.prototype.then = () => {}; return fetch(request)").await;
    assert_eq!(error, WorkerError::NeverSettled);
    let world = World::new(
        "export default { async fetch(request) { Promise.prototype.then = Map.prototype.get = Array.prototype.join = () => { throw 1 }; return await fetch(request) } }",
    );
    assert!(world.answer().await.starts_with("answer to"));
}

#[tokio::test]
async fn neighbours_fall_with_the_isolate_and_learn_why() {
    let limits = Limits {
        cpu: Duration::from_millis(50),
        ..AMPLE
    };
    let source = "export default { async fetch(r) { if (r.url.endsWith('slow')) return fetch('https://hangs.test/'); for (;;) {} } }";
    let world = World::with(source, limits, Bindings::default());
    let (slow, loops) = tokio::join!(
        world.get("https://a.test/slow"),
        world.get("https://a.test/")
    );
    assert_eq!(slow.unwrap_err(), WorkerError::Poisoned(Poison::Cpu));
    assert_eq!(loops.unwrap_err(), WorkerError::Cpu);
    let after = world.get("https://a.test/").await.unwrap_err();
    assert_eq!(after, WorkerError::Poisoned(Poison::Cpu));
}

#[tokio::test]
async fn a_body_too_large_for_the_memory_is_refused() {
    let limits = Limits {
        memory_bytes: 16 << 20,
        ..AMPLE
    };
    let source = "export default { async fetch(r) { try { await r.text() } catch (e) { return new Response(e.message) } } }";
    let world = World::with(source, limits, Bindings::default());
    let chunk = bytes::Bytes::from(vec![b'x'; 1 << 20]);
    let handle = world.host.body(std::iter::repeat_n(Ok(chunk), 17));
    let url = "https://api.test/";
    let post = http::Method::POST;
    let reply = world
        .send(
            post,
            url,
            http::HeaderMap::new(),
            crate::Body::Handle(handle),
        )
        .await;
    let text = world.text(reply.unwrap().body).await;
    assert_eq!(text, "the body does not fit into 16777216 bytes of memory");
    // What was refused is not held against the next one.
    let small = world.host.body(["a", "b"].map(|chunk| Ok(chunk.into())));
    let sent = world.send(
        http::Method::POST,
        url,
        http::HeaderMap::new(),
        crate::Body::Handle(small),
    );
    assert!(matches!(sent.await, Err(WorkerError::NotAResponse { .. })));
}

#[tokio::test]
async fn an_invocation_makes_so_many_requests_and_no_more() {
    let limits = Limits {
        subrequests: 2,
        ..AMPLE
    };
    let source = "export default { async fetch() { await fetch('https://a.test/'); await fetch('https://a.test/'); try { await fetch('https://a.test/') } catch (e) { return new Response(e.message) } } }";
    let world = World::with(source, limits, Bindings::default());
    assert_eq!(
        world.answer().await,
        "fetch: at most 2 requests per invocation"
    );
}

#[tokio::test]
async fn so_much_may_wait_and_no_more() {
    let source = "const never = new Promise(() => {}); let made = 0;
        try { for (;;) { ctx.waitUntil(never); made++ } }
        catch (error) { return new Response(`${made}: ${error.name}: ${error.message}`) }";
    let source = format!("export default {{ async fetch(request, env, ctx) {{ {source} }} }}");
    assert_eq!(
        World::new(&source).answer().await,
        "256: TypeError: ctx.waitUntil: at most 256 promises at once"
    );
}

#[tokio::test]
async fn an_isolate_does_not_grow_with_its_requests() {
    let source = "export default { async fetch(request, env, ctx) { setInterval(() => {}, 1e6); setTimeout(() => {}, 1e6); fetch('https://hangs.test/'); const r = await fetch(request); r.clone(); const t = new TransformStream({ transform: (c, k) => k.enqueue(c) }); AbortSignal.any([AbortSignal.timeout(1e6)]); return new Response(r.body.pipeThrough(t), r) } }";
    let world = World::with(source, AMPLE, Bindings::default());
    let mut heap = Vec::new();
    for requests in [100, 400] {
        for _ in 0..requests {
            let reply = world.get("https://api.test/").await.unwrap();
            let text = world.text(reply.body).await;
            assert_eq!(text, "answer to GET https://api.test/");
        }
        world.until(|| world.isolate.outstanding() == 0).await;
        // The next one is what tells the prelude of those that ended with this one.
        world.get("https://api.test/").await.unwrap();
        world.isolate.collect();
        heap.push(world.isolate.heap_bytes());
    }
    assert!(heap[1] < heap[0] + (64 << 10), "{heap:?}");
}
