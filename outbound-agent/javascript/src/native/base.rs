//! Time, randomness, the console.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::rand::{SecureRandom as _, SystemRandom};
use rquickjs::{Ctx, Exception, Function, Value};

use super::Table;
use super::bytes::array;
use crate::host::Level;
use crate::isolate::Shared;

pub(super) fn define(table: &Table<'_>) -> rquickjs::Result<()> {
    clock(table)?;
    others(table)
}

fn clock<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("elapsed", move || {
        1e3 * shared.started.elapsed().as_secs_f64()
    })?;
    let shared = table.shared.clone();
    let origin = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let origin = origin
        .saturating_sub(shared.started.elapsed())
        .as_secs_f64()
        * 1e3;
    table.object.set("timeOrigin", origin)?;
    let shared = table.shared.clone();
    table.add("timer", move |ctx: Ctx<'js>, delay: f64| {
        shared.check(&ctx)?;
        shared.demand_current(&ctx, "setTimeout", |_invocation| ())?;
        let delay = Duration::from_secs_f64((delay / 1e3).clamp(0.0, LONGEST_TIMER));
        let sleep = async move {
            tokio::time::sleep(delay).await;
            Ok(())
        };
        let operation = shared.start(sleep, |_shared, ctx, ()| {
            Ok(Value::new_undefined(ctx.clone()))
        });
        shared.timers.borrow_mut().insert(operation);
        rquickjs::Result::Ok(operation)
    })?;
    let shared = table.shared.clone();
    table.add("invocation", move || shared.current.get())?;
    waiting(table)
}

fn waiting<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    let wait = move |ctx: Ctx<'js>, operation: u32, make: Option<Function<'js>>| {
        shared.engine(&ctx)?.wait(&ctx, operation, make)
    };
    table.add("wait", wait)?;
    let shared = table.shared.clone();
    table.add("forget", move |ctx: Ctx<'js>, operation: u32| {
        stop(&shared, operation);
        shared.engine(&ctx)?.forget(operation);
        rquickjs::Result::Ok(())
    })?;
    let shared = table.shared.clone();
    table.add(
        "abandon",
        move |ctx: Ctx<'js>, operation: u32, reason: Value<'js>| {
            stop(&shared, operation);
            shared.engine(&ctx)?.abandon(&ctx, operation, reason)
        },
    )
}

/// Ends an operation, if it is under way.
fn stop(shared: &Shared, operation: u32) {
    shared.timers.borrow_mut().remove(&operation);
    shared.with_current(|invocation| {
        invocation.unsent.retain(|it| it.operation != operation);
        if let Some(Some(task)) = invocation.operations.remove(&operation) {
            task.abort();
        }
    });
}

fn others<'js>(table: &Table<'js>) -> rquickjs::Result<()> {
    let shared = table.shared.clone();
    table.add("console", move |ctx: Ctx<'js>, level: u32, text: String| {
        shared.check(&ctx)?;
        let call = shared
            .with_current(|invocation| invocation.call)
            .unwrap_or(0);
        let level = [Level::Debug, Level::Info, Level::Warn, Level::Error]
            .into_iter()
            .nth(level as usize)
            .unwrap_or(Level::Info);
        shared.host.console(call, level, &text);
        rquickjs::Result::Ok(())
    })?;
    let shared = table.shared.clone();
    let random = SystemRandom::new();
    table.add("random", move |ctx: Ctx<'js>, length: usize| {
        shared.check(&ctx)?;
        let mut buffer = [0; MOST_RANDOM];
        let filled = match buffer.get_mut(..length) {
            Some(wanted) => random.fill(wanted).is_ok().then_some(wanted),
            None => None,
        };
        match filled {
            Some(filled) => array(&ctx, filled),
            None => Err(Exception::throw_internal(&ctx, "no randomness to be had")),
        }
    })
}

/// In seconds; what the web's 32-bit milliseconds can say.
const LONGEST_TIMER: f64 = 2_147_483.647;
/// In bytes; what `crypto.getRandomValues` may be asked for at once.
const MOST_RANDOM: usize = 65_536;
