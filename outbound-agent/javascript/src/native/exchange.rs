//! Requests that the module makes, and the answers that it gives.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use rquickjs::{Array, Ctx, Exception, FromJs as _, Promise, Value};

use super::Table;
use super::body::take;
use super::bytes::Octets;
use crate::error::WorkerError;
use crate::fields::Fields;
use crate::isolate::{Answer, Decision, Given, Shared, Source, Use};
use crate::message::{Body, RequestHead, ResponseHead};

pub(super) fn define<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("headText", move |ctx: Ctx<'js>, number: u32| {
        shared.check(&ctx)?;
        let head = shared.with_current(|invocation| invocation.heads.get(&number).cloned());
        match head.flatten() {
            Some(head) => text_of(&ctx, head.lines()),
            None => Err(strange(&ctx)),
        }
    })?;
    let shared = table.shared.clone();
    table.add(
        "fetch",
        move |ctx: Ctx<'js>, method: String, url: String, headers: Value<'js>, body: Value<'js>| {
            fetch(&shared, &ctx, &method, url, headers, body)
        },
    )?;
    let shared = table.shared.clone();
    table.add("forward", move |ctx: Ctx<'js>, number: u32| {
        forward(&shared, &ctx, number)
    })?;
    messages(table)?;
    answers(table)?;
    lifetime(table)?;
    tunnels(table)?;
    let shared = table.shared.clone();
    table.add(
        "signJwt",
        move |ctx: Ctx<'js>, secret: String, claims: String, expires_in: Option<f64>| {
            shared.check(&ctx)?;
            shared.demand_current(&ctx, "signJwt", |_invocation| ())?;
            let Ok(claims) = serde_json::from_str(&claims) else {
                return Err(Exception::throw_type(&ctx, "signJwt: claims are no JSON"));
            };
            let expires_in =
                expires_in.map(|seconds| Duration::from_secs_f64(seconds.clamp(0.0, 1e9)));
            let signed = shared.host.sign_jwt(&secret, claims, expires_in);
            let signed = async move { signed.await.map_err(|error| error.message) };
            Ok(shared.start(signed, |_shared, ctx, jwt| {
                let fields = Array::new(ctx.clone())?;
                fields.set(0, jwt.token)?;
                fields.set(1, 1e3 * jwt.reusable.as_secs_f64())?;
                Ok(fields.into_value())
            }))
        },
    )
}

/// What a request or a response is that the module looks into for the first time.
fn messages<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("request", move |ctx: Ctx<'js>, number: u32| {
        shared.check(&ctx)?;
        let found = shared.with_current(|invocation| {
            let asked = invocation.requests.remove(&number)?;
            let is_used = invocation.is_used(asked.body);
            Some((asked, is_used))
        });
        let (asked, is_used) = found.flatten().ok_or_else(|| ended(&ctx, "request"))?;
        let fields = Array::new(ctx.clone())?;
        fields.set(0, asked.method.as_str())?;
        fields.set(1, asked.url)?;
        fields.set(2, asked.head)?;
        fields.set(3, asked.body)?;
        fields.set(4, is_used)?;
        rquickjs::Result::Ok(fields)
    })?;
    let shared = table.shared.clone();
    table.add("requestUrl", move |number: u32| {
        let url = shared.with_current(|invocation| {
            let asked = invocation.requests.get(&number)?;
            Some(asked.url.clone())
        });
        url.flatten()
    })?;
    let shared = table.shared.clone();
    table.add("response", move |ctx: Ctx<'js>, number: u32| {
        shared.check(&ctx)?;
        let found = shared.with_current(|invocation| {
            let received = invocation.responses.remove(&number)?;
            let is_used = invocation.is_used(received.body);
            Some((received, is_used))
        });
        let (received, is_used) = found.flatten().ok_or_else(|| ended(&ctx, "response"))?;
        let reason = received.status.canonical_reason();
        let fields = Array::new(ctx.clone())?;
        fields.set(0, received.status.as_u16())?;
        fields.set(1, received.status_text.as_deref().or(reason).unwrap_or(""))?;
        fields.set(2, received.url)?;
        fields.set(3, received.head)?;
        fields.set(4, received.body)?;
        fields.set(5, is_used)?;
        rquickjs::Result::Ok(fields)
    })?;
    let shared = table.shared.clone();
    table.add("status", move |number: u32| {
        let status = shared.with_current(|invocation| {
            let received = invocation.responses.get(&number)?;
            Some(received.status.as_u16())
        });
        status.flatten().unwrap_or(0)
    })
}

fn ended(ctx: &Ctx<'_>, what: &str) -> rquickjs::Error {
    let text = format!("{what}: it belongs to an invocation that has ended");
    Exception::throw_type(ctx, &text)
}

fn strange(ctx: &Ctx<'_>) -> rquickjs::Error {
    let text = "headers: they belong to an invocation that has ended";
    Exception::throw_type(ctx, text)
}

fn answers<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("giveUnseen", move |number: u32, operation: u32| {
        shared.give_unseen(number, operation)
    })?;
    let shared = table.shared.clone();
    table.add("hand", move |ctx: Ctx<'js>, number: u32, response: u32| {
        shared.check(&ctx)?;
        let answer = shared.with(number, |invocation| {
            let received = invocation.responses.get(&response)?;
            let (status, status_text) = (received.status, received.status_text.clone());
            let (head, body) = (received.head, received.body);
            let headers = invocation.use_head(head)?;
            let head = ResponseHead {
                status,
                status_text,
                headers,
            };
            let body = invocation.take_body(body)?;
            let body = body.map_or(Body::Empty, Source::into_body);
            Some(Answer::Given(Given::Response(head, body)))
        });
        let answer = answer.flatten().ok_or_else(|| ended(&ctx, "response"))?;
        shared.answer(number, Ok(answer));
        rquickjs::Result::Ok(())
    })?;
    let shared = table.shared.clone();
    table.add(
        "reply",
        move |ctx: Ctx<'js>,
              number: u32,
              status: u16,
              text: Option<String>,
              headers: Value<'js>,
              body: Value<'js>| {
            shared.check(&ctx)?;
            let head = ResponseHead {
                status: StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                status_text: text,
                headers: to_headers(&shared, &ctx, headers)?,
            };
            let body = to_source(&shared, &ctx, body)?;
            let body = body.map_or(Body::Empty, Source::into_body);
            let given = Given::Response(head, body);
            shared.answer(number, Ok(Answer::Given(given)));
            rquickjs::Result::Ok(())
        },
    )?;
    failures(table)
}

fn failures(table: &Table<'_>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add(
        "fail",
        move |number: u32, kind: String, message: String, stack: String| {
            // What is cut goes on in its other frames, each of which is refused: not the cause.
            if shared.budget.has_tripped() {
                return;
            }
            let error = match kind.as_str() {
                "memory" => {
                    shared.exhausted.set(true);
                    return;
                }
                "response" => WorkerError::NotAResponse { given: message },
                "fetch" => WorkerError::NoHandler { handler: "fetch" },
                "connect" => WorkerError::NoHandler { handler: "connect" },
                _exception => WorkerError::Exception { message, stack },
            };
            shared.answer(number, Err(error));
        },
    )
}

fn tunnels<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add(
        "decide",
        move |ctx: Ctx<'js>, number: u32, how: String, text: String, port: u16, body: u32| {
            shared.check(&ctx)?;
            let decision = match how.as_str() {
                "answer" => Decision::Answer(take(&shared, &ctx, body)?.into_body()),
                "forward" => Decision::Forward { host: text, port },
                _refuse => Decision::Refuse { reason: text },
            };
            shared.answer(number, Ok(Answer::Tunnel(decision)));
            rquickjs::Result::Ok(())
        },
    )
}

fn lifetime<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add(
        "hold",
        move |ctx: Ctx<'js>, number: u32, promise: Promise<'js>| {
            shared.check(&ctx)?;
            let held = shared.with(number, |invocation| {
                let more = invocation.holds < MOST_HOLDS;
                invocation.holds += u32::from(more);
                more
            });
            match held {
                Some(true) => {
                    let engine = shared.engine(&ctx)?;
                    engine.watch(&ctx, number, Use::Hold, promise);
                    Ok(())
                }
                Some(false) => {
                    let text = format!("ctx.waitUntil: at most {MOST_HOLDS} promises at once");
                    Err(Exception::throw_type(&ctx, &text))
                }
                None => Err(Exception::throw_type(
                    &ctx,
                    "ctx.waitUntil: the invocation has ended",
                )),
            }
        },
    )
}

fn fetch<'js>(
    shared: &Rc<Shared>,
    ctx: &Ctx<'js>,
    method: &str,
    url: String,
    headers: Value<'js>,
    body: Value<'js>,
) -> rquickjs::Result<u32> {
    shared.check(ctx)?;
    count(shared, ctx)?;
    let method = Method::from_bytes(method.as_bytes())
        .map_err(|_invalid| Exception::throw_type(ctx, "fetch: not a method"))?;
    let head = RequestHead {
        method,
        url,
        headers: to_headers(shared, ctx, headers)?,
    };
    let body = to_source(shared, ctx, body)?;
    Ok(shared.send_later(head, body, false))
}

/// Makes a request that is the one that the module was given.
fn forward(shared: &Rc<Shared>, ctx: &Ctx<'_>, number: u32) -> rquickjs::Result<u32> {
    shared.check(ctx)?;
    count(shared, ctx)?;
    let found = shared.with_current(|invocation| {
        let asked = invocation.requests.get(&number)?;
        let (method, url) = (asked.method.clone(), asked.url.clone());
        let (head, body) = (asked.head, asked.body);
        let headers = invocation.use_head(head)?;
        let head = RequestHead {
            method,
            url,
            headers,
        };
        Some((head, invocation.take_body(body)))
    });
    let (head, body) = found.flatten().ok_or_else(|| ended(ctx, "request"))?;
    let used = || Exception::throw_type(ctx, "fetch: the body was used already");
    Ok(shared.send_later(head, body.ok_or_else(used)?, true))
}

/// Counts one more request of the invocation.
fn count(shared: &Shared, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
    let most = shared.limits.subrequests;
    let made = shared.demand_current(ctx, "fetch", |invocation| {
        invocation.subrequests += 1;
        invocation.subrequests
    })?;
    if made > most {
        let text = format!("fetch: at most {most} requests per invocation");
        return Err(Exception::throw_type(ctx, &text));
    }
    Ok(())
}

/// The prelude gives the number of a head it never looked into, or all fields as lines, name
/// and value in turn.
fn to_headers<'js>(shared: &Shared, ctx: &Ctx<'js>, value: Value<'js>) -> rquickjs::Result<Fields> {
    if let Some(number) = value.as_number() {
        let head = shared.with_current(|invocation| invocation.use_head(number as u32));
        return head.flatten().ok_or_else(|| strange(ctx));
    }
    let text = String::from_js(ctx, value)?;
    let lines = match text.is_ascii() {
        true => text.into_bytes(),
        false => text
            .chars()
            .map(|c| u8::try_from(c).unwrap_or(b'?'))
            .collect(),
    };
    // The prelude lets nothing through that ends a line; few controls are left to be found.
    let is_sendable = |octet: &u8| !matches!(octet, 0..=8 | 11..=31 | 127);
    if !lines.iter().all(is_sendable) {
        return Err(Exception::throw_type(ctx, &unsendable(&lines)));
    }
    Ok(Fields::from_lines(Bytes::from(lines)))
}

/// Which of the fields cannot be sent.
fn unsendable(lines: &[u8]) -> String {
    let mut lines = lines.split(|octet| *octet == b'\n');
    while let (Some(name), Some(value)) = (lines.next(), lines.next()) {
        if HeaderName::from_bytes(name).is_err() || HeaderValue::from_bytes(value).is_err() {
            let name = String::from_utf8_lossy(name);
            return format!("headers: {name:?} cannot be sent");
        }
    }
    "headers: they cannot be sent".to_owned()
}

/// Octets as a string of as many characters.
fn text_of<'js>(ctx: &Ctx<'js>, octets: &[u8]) -> rquickjs::Result<Value<'js>> {
    let ascii = std::str::from_utf8(octets).ok().filter(|it| it.is_ascii());
    let text = match ascii {
        Some(ascii) => rquickjs::String::from_str(ctx.clone(), ascii)?,
        None => {
            let text: String = octets.iter().map(|octet| char::from(*octet)).collect();
            rquickjs::String::from_str(ctx.clone(), &text)?
        }
    };
    Ok(text.into_value())
}

/// The prelude gives nothing, the number of a body, text, or bytes.
fn to_source<'js>(
    shared: &Shared,
    ctx: &Ctx<'js>,
    value: Value<'js>,
) -> rquickjs::Result<Option<Source>> {
    if value.is_null() || value.is_undefined() {
        return Ok(None);
    }
    if let Some(number) = value.as_number() {
        return take(shared, ctx, number as u32).map(Some);
    }
    let bytes = match value.is_string() {
        true => Bytes::from(String::from_js(ctx, value)?),
        false => Octets::from_js(ctx, value)?.0,
    };
    Ok(Some(Source::Bytes(bytes)))
}

/// Promises that one invocation may have handed to `ctx.waitUntil` at once.
const MOST_HOLDS: u32 = 256;
