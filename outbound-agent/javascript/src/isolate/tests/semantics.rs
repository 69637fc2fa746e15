//! What an outbound worker may rely on, as workerd has it, and where this is stricter.

use http::{HeaderMap, Method};
use serde_json::{Map, json};

use super::world::{AMPLE, World};
use crate::{Bindings, Body, Fields, Limits, Module, RequestHead, WorkerError};

fn bindings() -> Bindings {
    let vars = json!({"LOG_URL": "https://logs.test/", "NESTED": {"a": 1}});
    Bindings {
        vars: vars.as_object().unwrap().clone(),
        secrets: vec!["SIGNING_KEY".to_owned()],
        caches: vec!["TOKENS".to_owned()],
        ..Bindings::default()
    }
}

fn world(body: &str) -> World {
    let source = format!("export default {{ async fetch(request, env, ctx) {{ {body} }} }}");
    World::with(&source, AMPLE, bindings())
}

async fn answer(body: &str) -> String {
    world(body).answer().await
}

#[tokio::test]
async fn the_request_is_manual_and_immutable() {
    let shown = answer("let e; try { request.headers.set('a', 'b') } catch (x) { e = x.name } return new Response([request.redirect, e])").await;
    assert_eq!(shown, "manual,TypeError");
}

#[tokio::test]
async fn what_was_handed_on_unseen_is_used_all_the_same() {
    let world = world(
        "const again = (f) => f().then(() => 'sent', (error) => error.message);
        const first = await fetch(request);
        const shown = [request.bodyUsed, request.url, await again(() => fetch(request))];
        shown.push(await again(() => request.text()), first.bodyUsed, first.status);
        shown.push((await first.text()).slice(0, 6), await again(() => first.text()));
        const empty = new Request(request.url);
        shown.push(await again(() => fetch(empty)), await again(() => fetch(empty)));
        return Response.json(shown);",
    );
    let body = Body::Bytes("sent".into());
    let url = "https://api.test/x";
    let reply = world.send(Method::POST, url, HeaderMap::new(), body).await;
    let shown = world.text(reply.unwrap().body).await;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let used = |who: &str| json!(format!("{who}: the body was used already"));
    assert_eq!(
        shown,
        json!([
            true,
            url,
            used("fetch"),
            used("Request.text"),
            false,
            200,
            "answer",
            used("Response.text"),
            "sent",
            "sent"
        ])
    );
}

#[tokio::test]
async fn a_request_belongs_to_its_invocation() {
    let world = World::new(
        "let kept;
        export default { async fetch(request) {
            try { return new Response((kept ??= request) === request ? '' : kept.url) }
            catch (error) { return new Response(error.message) }
        } }",
    );
    drop(world.answer().await);
    let text = "request: it belongs to an invocation that has ended";
    assert_eq!(world.answer().await, text);
}

#[tokio::test]
async fn env_holds_what_is_declared_and_nothing_else() {
    let world = world("return Response.json(Object.keys(env).sort())");
    let url = "https://api.test/".to_owned();
    let request = RequestHead {
        method: Method::GET,
        url,
        headers: Fields::default(),
    };
    let env = json!({"customer_name": "acme", "LOG_URL": "mine"})
        .as_object()
        .unwrap()
        .clone();
    let reply = world.call(request, Body::Empty, env).await.unwrap();
    let names = world.text(reply.body).await;
    assert_eq!(
        names,
        r#"["LOG_URL","NESTED","SIGNING_KEY","TOKENS","customer_name"]"#
    );
    assert_eq!(
        world.answer().await,
        r#"["LOG_URL","NESTED","SIGNING_KEY","TOKENS"]"#
    );
}

#[tokio::test]
async fn an_exception_fails_closed_whatever_was_asked() {
    let world = world("ctx.passThroughOnException(); throw new Error('secret text')");
    let error = world.get("https://api.test/").await.unwrap_err();
    let WorkerError::Exception { message, stack } = error else {
        panic!("{error:?}");
    };
    assert_eq!(message, "Error: secret text");
    assert!(stack.starts_with("at fetch (egress.js:1:"), "{stack}");
    assert!(world.host.requests.borrow().is_empty());
}

#[tokio::test]
async fn a_rejected_wait_until_is_told_to_the_operator_and_harms_nobody() {
    let world =
        world("ctx.waitUntil(Promise.reject(new Error('lost'))); return new Response('fine')");
    assert_eq!(world.answer().await, "fine");
    world.until(|| world.isolate.outstanding() == 0).await;
    assert_eq!(*world.host.console.borrow(), ["ctx.waitUntil: Error: lost"]);
}

#[tokio::test]
async fn what_waits_too_long_is_cut_and_counted() {
    let limits = Limits {
        wait_until: std::time::Duration::from_millis(10),
        ..AMPLE
    };
    let world = World::with(
        "export default { fetch(r, e, ctx) { ctx.waitUntil(fetch('https://hangs.test/')); return new Response('fine') } }",
        limits,
        Bindings::default(),
    );
    let reply = world.get("https://api.test/").await.unwrap();
    world.until(|| world.isolate.outstanding() == 0).await;
    assert_eq!(reply.rest.finished().await.cut, 1);
}

#[tokio::test]
async fn a_redirect_to_another_origin_loses_its_credentials() {
    let world = world(
        "return fetch('https://moved.test/302/https://api.test/', { headers: { authorization: 'x', cookie: 'y', a: 'b' } })",
    );
    world.get("https://api.test/").await.unwrap();
    let requests = world.host.requests.borrow();
    assert!(
        requests[0]
            .0
            .headers
            .to_map()
            .unwrap()
            .contains_key("authorization")
    );
    assert!(
        !requests[1]
            .0
            .headers
            .to_map()
            .unwrap()
            .contains_key("authorization")
    );
    assert!(
        !requests[1]
            .0
            .headers
            .to_map()
            .unwrap()
            .contains_key("cookie")
    );
    assert_eq!(requests[1].0.headers.to_map().unwrap()["a"], "b");
}

#[tokio::test]
async fn nothing_is_added_to_a_request() {
    let world = world("return fetch('https://api.test/')");
    world.get("https://api.test/").await.unwrap();
    assert!(world.host.requests.borrow()[0].0.headers.lines().is_empty());
}

#[tokio::test]
async fn a_secret_signs_and_is_not_seen() {
    let world = world(
        "const sign = () => env.SIGNING_KEY.signJwt({ sub: 'acme' }, { expiresIn: '5m' }); return new Response([await sign(), await sign() === await sign(), JSON.stringify(env.SIGNING_KEY), String(env.SIGNING_KEY)])",
    );
    let shown = world.answer().await;
    assert_eq!(
        shown,
        r#"SIGNING_KEY.{"sub":"acme"}.Some(300s),true,{},[secret SIGNING_KEY]"#
    );
    assert_eq!(world.host.signed.get(), 1);
    assert_eq!(world.answer().await, shown);
    assert_eq!(world.host.signed.get(), 1);
}

#[tokio::test]
async fn a_wrong_life_time_names_what_is_accepted() {
    let shown = answer("try { await env.SIGNING_KEY.signJwt({}, { expiresIn: 'soon' }) } catch (e) { return new Response(e.message) }").await;
    assert!(
        shown.contains("options.expiresIn is \"soon\"; accepted"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_cache_keeps_until_its_time_is_over() {
    let shown = answer("env.TOKENS.set('a', { x: 1 }, { ttl: '1h' }); env.TOKENS.set('b', 1, { ttl: '1ms' }); await new Promise((r) => setTimeout(r, 5)); return Response.json([env.TOKENS.get('a'), env.TOKENS.get('b') ?? null])").await;
    assert_eq!(shown, r#"[{"x":1},null]"#);
}

#[tokio::test]
async fn a_streamed_response_outlives_its_handler() {
    let world = world(
        "const { readable, writable } = new TransformStream(); const w = writable.getWriter(); (async () => { for (const c of 'abc') { await w.write(new TextEncoder().encode(c)); await new Promise((r) => setTimeout(r, 1)) } await w.close() })(); return new Response(readable)",
    );
    let reply = world.get("https://api.test/").await.unwrap();
    assert!(matches!(reply.body, Body::Stream(_)));
    assert_eq!(world.read(reply.body).await.unwrap(), b"abc");
    world.until(|| world.isolate.outstanding() == 0).await;
}

#[tokio::test]
async fn a_streamed_response_that_fails_is_cut_and_does_not_end() {
    let world = world(
        "return new Response(new ReadableStream({ pull(c) { if (this.n) throw new Error('broken'); this.n = 1; c.enqueue(new Uint8Array([97])) } }))",
    );
    let reply = world.get("https://api.test/").await.unwrap();
    let error = world.read(reply.body).await.unwrap_err();
    assert!(error.contains("broken"), "{error}");
}

#[tokio::test]
async fn a_byte_transform_streams() {
    let world = world(
        "const r = await fetch('https://chunks.test/'); const up = new TransformStream({ transform: (chunk, c) => c.enqueue(chunk.map((x) => x - 32)) }); return new Response(r.body.pipeThrough(up), r)",
    );
    assert_eq!(world.answer().await, "ABC");
}

#[tokio::test]
async fn a_wrapped_or_identically_transformed_body_stays_the_hosts() {
    for source in [
        "const r = await fetch(request); return new Response(r.body, r)",
        "const r = await fetch(request); return new Response(r.body.pipeThrough(new TransformStream()), r)",
        "return fetch(new Request('https://api.test/other', request))",
        "return fetch(new Request(request, { headers: { a: 'b' } }))",
    ] {
        let world = world(source);
        let handle = world.host.body([Ok("upload".into())]);
        let reply = world
            .send(
                Method::POST,
                "https://api.test/",
                HeaderMap::new(),
                Body::Handle(handle),
            )
            .await
            .unwrap();
        assert!(matches!(reply.body, Body::Handle(_)), "{source}");
        let sent = world.host.requests.borrow_mut()[0].1.take().unwrap();
        assert!(
            matches!(sent, Body::Handle(number) if number == handle),
            "{source}"
        );
    }
}

#[tokio::test]
async fn an_entrypoint_class_answers() {
    let source = "import { WorkerEntrypoint, env as outer } from 'cloudflare:workers'; export default class extends WorkerEntrypoint { async fetch(request) { this.ctx.waitUntil(1); return new Response(this.env.LOG_URL + outer.LOG_URL) } }";
    let world = World::with(source, AMPLE, bindings());
    assert_eq!(world.answer().await, "https://logs.test/https://logs.test/");
    let named = Bindings {
        entrypoint: "Other".to_owned(),
        ..Bindings::default()
    };
    let source = "export default { fetch() {} }; export const Other = { fetch: () => new Response('other') }";
    assert_eq!(World::with(source, AMPLE, named).answer().await, "other");
}

/// The shape of the documented example, written afresh.
#[tokio::test]
async fn a_log_a_token_and_a_clone_of_the_request() {
    let source = "
        async function token(env) { return env.SIGNING_KEY.signJwt({ customer: env.customer }) }
        export default { async fetch(request, env, ctx) {
            ctx.waitUntil(fetch(env.LOG_URL, { method: 'POST', body: JSON.stringify({ customer: env.customer, url: env.url }) }));
            if (new URL(env.url).host !== 'api.test') return fetch(request);
            const headers = new Headers(request.headers);
            headers.set('Authorization', `Bearer ${await token(env)}`);
            return fetch(new Request(request, { headers }));
        } }";
    let world = World::with(source, AMPLE, bindings());
    let env = |url: &str| -> Map<_, _> {
        json!({"customer": "acme", "url": url})
            .as_object()
            .unwrap()
            .clone()
    };
    let mut headers = HeaderMap::new();
    headers.insert("x-own", "1".parse().unwrap());
    for (url, authorised) in [("https://api.test/a", true), ("https://else.test/", false)] {
        let request = RequestHead {
            method: Method::GET,
            url: url.to_owned(),
            headers: (&headers).into(),
        };
        let reply = world.call(request, Body::Empty, env(url)).await.unwrap();
        assert_eq!(world.text(reply.body).await, format!("answer to GET {url}"));
        let mut requests = world.host.requests.take();
        let log = requests.remove(0);
        assert_eq!(
            (log.0.method, log.0.url.as_str()),
            (Method::POST, "https://logs.test/")
        );
        let logged = world.text(log.1.unwrap()).await;
        assert_eq!(logged, format!(r#"{{"customer":"acme","url":"{url}"}}"#));
        let sent = requests.remove(0).0.headers.to_map().unwrap();
        assert_eq!(sent["x-own"], "1");
        assert_eq!(sent.contains_key("authorization"), authorised);
    }
}

fn load(files: &[(&str, &str)]) -> Result<Module, WorkerError> {
    let files = files
        .iter()
        .map(|(name, source)| ((*name).to_owned(), (*source).to_owned()));
    Module::load(files, "egress.js", Limits::default())
}

#[track_caller]
fn refusal(files: &[(&str, &str)]) -> String {
    load(files).unwrap_err().to_string()
}

#[test]
fn neighbours_are_imported_and_nothing_else() {
    let jwt = (
        "lib/jwt.js",
        "import { x } from '../x.js'; export const y = x",
    );
    let main = (
        "egress.js",
        "import { y } from './lib/jwt.js'; export default { fetch: () => new Response(y) }",
    );
    assert!(load(&[main, jwt, ("x.js", "export const x = 1")]).is_ok());
    let missing = refusal(&[(
        "egress.js",
        "\n  import { y } from './none.js'; export default {}",
    )]);
    assert_eq!(
        missing,
        "egress.js:2:21: Error: import of \"./none.js\": no such file in the module"
    );
    for foreign in [
        "https://evil.test/x.js",
        "lodash",
        "node:fs",
        "outbound:native",
        "../up.js",
        "/etc/passwd",
    ] {
        let source = format!("import '{foreign}'; export default {{ fetch() {{}} }}");
        assert!(
            refusal(&[("egress.js", &source)]).starts_with("egress.js:1:8: "),
            "{foreign}"
        );
    }
}

#[test]
fn what_does_not_load_is_placed() {
    let syntax = refusal(&[("egress.js", "export default {\n  fetch( {\n}")]);
    assert!(
        syntax.starts_with("egress.js:3:") && syntax.contains("SyntaxError"),
        "{syntax}"
    );
    let thrown = refusal(&[("egress.js", "\nnull.x; export default { fetch() {} }")]);
    assert!(thrown.starts_with("egress.js:2:"), "{thrown}");
    let none = refusal(&[("egress.js", "export default {}")]);
    assert!(
        none.contains("no export of it has a fetch or a connect handler"),
        "{none}"
    );
    let outside = refusal(&[(
        "egress.js",
        "await fetch('https://api.test/'); export default { fetch() {} }",
    )]);
    assert!(outside.contains("only within a handler"), "{outside}");
    let endless = refusal(&[("egress.js", "for (;;) {}")]);
    assert_eq!(endless, WorkerError::Cpu.to_string());
}
