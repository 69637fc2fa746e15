//! What one invocation costs in the engine, without sockets: processor time per request.
//!
//! `cargo run --release -p outbound-javascript --example cost [CASE]`

use std::cell::RefCell;
use std::future::ready;
use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use nix::time::{ClockId, clock_gettime};
use outbound_javascript::{
    Bindings, Body, Call, Env, Given, Host, HostError, Isolate, Jwt, Level, Limits, Local, Module,
    RequestHead, ResponseHead,
};
use serde_json::Value;
use tokio::task::LocalSet;

const CASES: [(&str, &str); 8] = [
    ("a constant answer", "return new Response('hi')"),
    ("pass-through", "return fetch(request)"),
    (
        "URL, copied headers, a new request",
        "const u = new URL(request.url); const h = new Headers(request.headers); h.set('authorization', 'Bearer ' + u.host); return fetch(new Request(request, { headers: h }))",
    ),
    (
        "log with waitUntil, signed token, clone",
        "ctx.waitUntil(fetch('https://logs.test/', { method: 'POST', body: JSON.stringify({ a: 1 }) })); const h = new Headers(request.headers); h.set('authorization', await env.KEY.signJwt({ sub: 'acme' })); return fetch(new Request(request, { headers: h }))",
    ),
    (
        "HMAC in JavaScript",
        "const k = await crypto.subtle.importKey('raw', new TextEncoder().encode('key'), { name: 'HMAC', hash: 'SHA-256' }, false, ['sign']); await crypto.subtle.sign('HMAC', k, new TextEncoder().encode('data')); return fetch(request)",
    ),
    (
        "a wrapped body",
        "const r = await fetch(request); return new Response(r.body, r)",
    ),
    (
        "an identity transform",
        "const r = await fetch(request); return new Response(r.body.pipeThrough(new TransformStream()), r)",
    ),
    (
        "a byte transform",
        "const r = await fetch(request); return new Response(r.body.pipeThrough(new TransformStream({ transform(x, c) { c.enqueue(x) } })), r)",
    ),
];
const REQUESTS: u32 = 20_000;
const COLD_STARTS: u32 = 200;
const COLD_START: &str = "an isolate made and dropped";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut out = std::io::stdout().lock();
    let wanted = std::env::args().nth(1);
    let cases = CASES.into_iter();
    for (name, body) in cases.filter(|(name, _)| wanted.as_deref().is_none_or(|it| it == *name)) {
        let isolate = isolate(body)?;
        runtime.block_on(LocalSet::new().run_until(requests(&isolate, REQUESTS / 10)));
        let before = cpu();
        runtime.block_on(LocalSet::new().run_until(requests(&isolate, REQUESTS)));
        let each = (cpu() - before) / REQUESTS;
        writeln!(
            out,
            "{:>8.2} us  {name}  (heap {} KiB)",
            1e6 * each.as_secs_f64(),
            isolate.heap_bytes() / 1024
        )?;
    }
    if wanted.is_none_or(|it| it == COLD_START) {
        let each = cold_start()?;
        writeln!(out, "{:>8.2} us  {COLD_START}", 1e6 * each.as_secs_f64())?;
    }
    Ok(())
}

fn cold_start() -> Result<Duration, Box<dyn std::error::Error>> {
    let module = Module::load(
        files("return fetch(request)"),
        "egress.js",
        Limits::default(),
    )?;
    let before = cpu();
    for _ in 0..COLD_STARTS {
        let host = Rc::new(Echo::default());
        drop(Isolate::new(&module, &bindings(), host)?);
    }
    Ok((cpu() - before) / COLD_STARTS)
}

async fn requests(isolate: &Isolate, count: u32) {
    for number in 0..count {
        let mut headers = HeaderMap::new();
        headers.insert("host", http::HeaderValue::from_static("api.test"));
        headers.insert("accept", http::HeaderValue::from_static("*/*"));
        let call = Call {
            number: u64::from(number),
            request: RequestHead {
                method: Method::GET,
                url: "https://api.test/path?query=1".to_owned(),
                headers: (&headers).into(),
            },
            body: Body::Empty,
            env: Env {
                number: 1,
                ..Env::default()
            },
        };
        let Ok(reply) = isolate.fetch(call).await else {
            continue;
        };
        if let Given::Response(_, Body::Stream(mut chunks)) = reply.given {
            while chunks.next().await.is_some() {}
        }
    }
}

fn isolate(body: &str) -> Result<Isolate, Box<dyn std::error::Error>> {
    let limits = Limits {
        cpu: Duration::from_secs(1),
        ..Limits::default()
    };
    let module = Module::load(files(body), "egress.js", limits)?;
    Ok(Isolate::new(
        &module,
        &bindings(),
        Rc::new(Echo::default()),
    )?)
}

fn files(body: &str) -> [(String, String); 1] {
    let source = format!("export default {{ async fetch(request, env, ctx) {{ {body} }} }}");
    [("egress.js".to_owned(), source)]
}

fn bindings() -> Bindings {
    Bindings {
        secrets: vec!["KEY".to_owned()],
        ..Bindings::default()
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

/// Answers at once, with a body of one chunk.
#[derive(Default)]
struct Echo {
    unread: RefCell<bool>,
}

impl Host for Echo {
    fn fetch(
        &self,
        _: u64,
        _: RequestHead,
        _: Body,
    ) -> Local<Result<(ResponseHead, Body), HostError>> {
        self.unread.replace(true);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", http::HeaderValue::from_static("text/plain"));
        let head = ResponseHead {
            status: StatusCode::OK,
            status_text: None,
            headers: (&headers).into(),
        };
        Box::pin(ready(Ok((head, Body::Handle(1)))))
    }

    fn read(&self, _: u64) -> Local<Result<Option<Bytes>, HostError>> {
        let chunk = self
            .unread
            .replace(false)
            .then(|| Bytes::from_static(b"hello, world!"));
        Box::pin(ready(Ok(chunk)))
    }

    fn cancel(&self, _: u64) {}

    fn console(&self, _: u64, _: Level, _: &str) {}

    fn sign_jwt(&self, _: &str, _: Value, _: Option<Duration>) -> Local<Result<Jwt, HostError>> {
        let token = "header.claims.signature".to_owned();
        let reusable = Duration::from_secs(60);
        Box::pin(ready(Ok(Jwt { token, reusable })))
    }
}
