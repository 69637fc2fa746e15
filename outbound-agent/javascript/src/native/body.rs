//! Bodies by number: reading those of the host, writing those of the module.

use std::rc::Rc;

use bytes::BytesMut;
use rquickjs::{Coerced, Ctx, Exception, Value};

use super::Table;
use super::bytes::{Octets, array};
use crate::isolate::{Shared, Source};
use crate::message::Body;

pub(super) fn define(table: &Table<'_>) -> rquickjs::Result<()> {
    reading(table)?;
    writing(table)
}

fn reading<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("bodyRead", move |ctx: Ctx<'js>, number: u32| {
        let source = take(&shared, &ctx, number)?;
        rquickjs::Result::Ok(
            shared.start(source.read(), move |shared, ctx, (chunk, rest)| {
                if let Some(rest) = rest {
                    shared.with_current(|invocation| invocation.bodies.insert(number, rest));
                }
                match chunk {
                    Some(chunk) => array(ctx, &chunk),
                    None => Ok(Value::new_null(ctx.clone())),
                }
            }),
        )
    })?;
    let shared = table.shared.clone();
    table.add("bodyBytes", move |ctx: Ctx<'js>, number: u32| {
        let whole = whole(&shared, take(&shared, &ctx, number)?);
        rquickjs::Result::Ok(shared.start(whole, |_shared, ctx, bytes| array(ctx, &bytes)))
    })?;
    let shared = table.shared.clone();
    table.add("bodyText", move |ctx: Ctx<'js>, number: u32| {
        let whole = whole(&shared, take(&shared, &ctx, number)?);
        rquickjs::Result::Ok(shared.start(whole, |_shared, ctx, bytes| {
            let text = String::from_utf8_lossy(&bytes);
            let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
            Ok(rquickjs::String::from_str(ctx.clone(), text)?.into_value())
        }))
    })?;
    let shared = table.shared.clone();
    table.add("bodyCancel", move |number: u32| {
        drop(shared.with_current(|invocation| invocation.bodies.remove(&number)));
    })
}

fn writing<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("writer", move |ctx: Ctx<'js>| {
        shared.check(&ctx)?;
        let (writer, chunks) = Body::stream();
        let (reading, writing) = (shared.number(), shared.number());
        shared.demand_current(&ctx, "ReadableStream", |invocation| {
            invocation.bodies.insert(reading, Source::Stream(chunks));
            invocation.writers.insert(writing, writer);
        })?;
        rquickjs::Result::Ok(vec![reading, writing])
    })?;
    let shared = table.shared.clone();
    table.add("write", move |ctx: Ctx<'js>, number: u32, chunk: Octets| {
        shared.check(&ctx)?;
        let writer = shared.with_current(|invocation| invocation.writers.get(&number).cloned());
        let write = async move {
            let writer = writer.flatten().ok_or("the body is no longer written")?;
            writer
                .write(chunk.0)
                .await
                .map_err(|error| error.to_string())
        };
        rquickjs::Result::Ok(shared.start(write, |_shared, ctx, ()| {
            Ok(Value::new_undefined(ctx.clone()))
        }))
    })?;
    let shared = table.shared.clone();
    table.add(
        "endWrite",
        move |number: u32, failure: Option<Coerced<String>>| {
            let writer = shared.with_current(|invocation| invocation.writers.get(&number).cloned());
            let end = async move {
                if let Some(writer) = writer.flatten() {
                    // A reader that is gone needs no end.
                    drop(match failure {
                        None => writer.end().await,
                        Some(reason) => writer.fail(reason.0).await,
                    });
                }
                Ok(())
            };
            shared.start(end, move |shared, ctx, ()| {
                shared.with_current(|invocation| invocation.writers.remove(&number));
                Ok(Value::new_undefined(ctx.clone()))
            })
        },
    )
}

/// A body that is about to be read or handed on.
pub(super) fn take(shared: &Shared, ctx: &Ctx<'_>, number: u32) -> rquickjs::Result<Source> {
    shared.check(ctx)?;
    let source = shared.with_current(|invocation| invocation.bodies.remove(&number));
    source.flatten().ok_or_else(|| {
        Exception::throw_type(
            ctx,
            "the body belongs to an invocation that has ended, or is being read",
        )
    })
}

/// Reads all of a body, as far as it and the others that are being read may be held in memory.
fn whole(
    shared: &Rc<Shared>,
    source: Source,
) -> impl Future<Output = Result<bytes::Bytes, String>> + 'static {
    let mut held = Held {
        shared: shared.clone(),
        bytes: 0,
    };
    async move {
        let mut rest = Some(source);
        let mut all = BytesMut::new();
        while let Some(source) = rest.take() {
            let (chunk, further) = source.read().await?;
            rest = further;
            let chunk = chunk.unwrap_or_default();
            if all.is_empty() && rest.is_none() {
                return Ok(chunk);
            }
            held.add(chunk.len())?;
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }
}

/// What one body takes of the memory of its isolate while it is read.
struct Held {
    shared: Rc<Shared>,
    bytes: usize,
}

impl Held {
    fn add(&mut self, more: usize) -> Result<(), String> {
        let most = self.shared.limits.memory_bytes;
        let total = self.shared.held_bytes.get().saturating_add(more);
        if total > most {
            return Err(format!("the body does not fit into {most} bytes of memory"));
        }
        self.bytes += more;
        self.shared.held_bytes.set(total);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let total = self.shared.held_bytes.get();
        self.shared.held_bytes.set(total.saturating_sub(self.bytes));
    }
}
