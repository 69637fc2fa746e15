//! Responses that a handler gives without a look at them.

use crate::Bindings;

use super::world::{AMPLE, World};

async fn is_unseen(source: &str) -> bool {
    let bindings = Bindings {
        secrets: vec!["KEY".to_owned()],
        ..Bindings::default()
    };
    let world = World::with(source, AMPLE, bindings);
    let answered = world.get("https://api.test/path").await.unwrap();
    let text = world.text(answered.body).await;
    assert!(text.starts_with("answer to GET https://"), "{source}");
    world.until(|| world.isolate.outstanding() == 0).await;
    assert_eq!(answered.rest.finished().await.cut, 0, "{source}");
    answered.is_unseen
}

fn handler(body: &str) -> String {
    format!("export default {{ fetch(request, env, ctx) {{ {body} }} }}")
}

#[tokio::test]
async fn what_fetch_gives_is_handed_on_unseen() {
    for body in [
        "return fetch(request)",
        "return fetch(new Request(request, { headers: { a: 'b' } }))",
        "fetch('https://hangs.test/'); return fetch(request)",
    ] {
        assert!(is_unseen(&handler(body)).await, "{body}");
    }
}

#[tokio::test]
async fn what_anybody_waits_for_is_seen() {
    for watched in [
        "p.then((r) => console.log(r.status)); return p",
        "p.catch(() => {}); return p",
        "p.finally(() => console.log('settled')); return p",
        "(async () => console.log((await p).status))(); return p",
        "ctx.waitUntil(p); return p",
        "ctx.waitUntil(p.then((r) => console.log(r.status))); return p",
        "Promise.all([p]).then(([r]) => console.log(r.status)); return p",
        "Promise.resolve(p).then((r) => console.log(r.status)); return p",
        "Promise.prototype.then.call(p, (r) => console.log(r.status)); return p",
        "queueMicrotask(() => p.then((r) => console.log(r.status))); return p",
        "Promise.resolve().then(() => p).then((r) => console.log(r.status)); return p",
        "return Promise.race([p])",
        "return (async () => p)()",
    ] {
        let body = handler(&format!("const p = fetch(request); {watched}"));
        assert!(!is_unseen(&body).await, "{watched}");
    }
    // What lives on may come to wait for it.
    let lives_on = handler("ctx.waitUntil(fetch('https://logs.test/')); return fetch(request)");
    assert!(!is_unseen(&lives_on).await);
    let is_async = "export default { async fetch(request) { return fetch(request) } }";
    assert!(!is_unseen(is_async).await);
}

#[tokio::test]
async fn whoever_watches_learns_of_it() {
    for watched in [
        "p.then((r) => console.log(r.status)); return p",
        "queueMicrotask(() => p.then((r) => console.log(r.status))); return p",
    ] {
        let world = World::new(&handler(&format!("const p = fetch(request); {watched}")));
        world.get("https://api.test/").await.unwrap();
        assert_eq!(*world.host.console.borrow(), ["200"], "{watched}");
    }
}

#[tokio::test]
async fn whoever_may_still_watch_learns_of_it_later() {
    // Nothing of these waits for the response when the handler has ended.
    for later in [
        "queueMicrotask(() => ctx.waitUntil((async () => { await new Promise((r) => setTimeout(r, 1)); console.log((await p).status) })())); return p",
        "ctx.waitUntil((async () => { await new Promise((r) => setTimeout(r, 1)); console.log((await p).status) })()); return p",
        "ctx.waitUntil(fetch('https://logs.test/').then(async () => console.log((await p).status))); return p",
        "const log = fetch('https://logs.test/'); ctx.waitUntil(log); log.then(async () => console.log((await p).status)); return p",
    ] {
        for p in [
            "const p = fetch(request);",
            "const p = fetch(new Request(request, { headers: { a: 'b' } }));",
        ] {
            let world = World::new(&handler(&format!("{p} {later}")));
            let answered = world.get("https://api.test/").await.unwrap();
            world.text(answered.body).await;
            world.until(|| world.isolate.outstanding() == 0).await;
            assert_eq!(*world.host.console.borrow(), ["200"], "{later}");
            assert_eq!(answered.rest.finished().await.cut, 0, "{later}");
        }
    }
}

#[tokio::test]
async fn whoever_still_writes_the_request_may_watch() {
    let world = World::new(&handler(
        "const body = new ReadableStream({ async pull(controller) {
            await new Promise((resolve) => setTimeout(resolve, 1));
            console.log((await p).status);
            controller.close();
        } });
        const p = fetch('https://api.test/', { method: 'POST', body, redirect: 'manual' });
        return p",
    ));
    world.get("https://api.test/").await.unwrap();
    world
        .until(|| !world.host.console.borrow().is_empty())
        .await;
    assert_eq!(*world.host.console.borrow(), ["200"]);
}

#[tokio::test]
async fn a_response_is_of_its_own_invocation() {
    let world = World::new(
        "let kept; export default { fetch(request) {
            if (kept !== undefined) return kept;
            kept = fetch('https://hangs.test/');
            return new Response('first');
        } }",
    );
    world.get("https://api.test/").await.unwrap();
    let error = world.get("https://api.test/").await.unwrap_err();
    assert_eq!(error, crate::WorkerError::NeverSettled);
}

#[tokio::test]
async fn an_invocation_may_settle_what_another_one_waits_for() {
    let world = World::new(
        "let settle; export default { fetch(request, env, ctx) {
            if (settle !== undefined) { settle(new Response('of the second')); return new Response('second') }
            const first = new Promise((resolve) => { settle = resolve });
            ctx.waitUntil(first);
            ctx.waitUntil(fetch('https://slow.test/'));
            return first;
        } }",
    );
    let later = async {
        let second = world.get("https://api.test/").await;
        world.until(|| world.isolate.outstanding() == 0).await;
        second
    };
    let (first, second) = tokio::join!(world.get("https://api.test/"), later);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!(world.text(first.body).await, "of the second");
    assert_eq!(world.text(second.body).await, "second");
    assert_eq!(second.rest.finished().await.cut, 0);
}

#[tokio::test]
async fn what_nobody_waits_for_when_all_is_answered_is_not_sent() {
    let world = World::new(&handler(
        "fetch('https://logs.test/'); return new Response('done')",
    ));
    assert_eq!(world.answer().await, "done");
    assert!(world.host.requests.borrow().is_empty());
}

#[tokio::test]
async fn what_was_aborted_before_it_was_sent_is_not_sent() {
    let world = World::new(
        "export default { async fetch(request) {
            const aborts = new AbortController();
            const p = fetch('https://logs.test/', { signal: aborts.signal });
            aborts.abort();
            try { await p } catch (error) { return new Response(error.name) }
        } }",
    );
    assert_eq!(world.answer().await, "AbortError");
    assert!(world.host.requests.borrow().is_empty());
}
