//! What a module waits for, and the promises that its handlers have given.

use std::cell::RefCell;
use std::collections::HashMap;

use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Exception, Function, Persistent, Promise, Value};

use super::engine::{Engine, thrown};
use super::shared::Shared;
use crate::error::WorkerError;

/// Values of the engine: dropped before it.
#[derive(Default)]
pub(super) struct Waiting {
    operations: RefCell<HashMap<u32, Waiter>>,
    /// By invocation.
    given: RefCell<Vec<(u32, Persistent<Promise<'static>>)>>,
}

/// Settles the promise of an operation.
struct Waiter {
    resolve: Persistent<Function<'static>>,
    reject: Persistent<Function<'static>>,
    /// Makes the promise's value of the operation's.
    make: Option<Persistent<Function<'static>>>,
}

impl Waiter {
    fn settle<'js>(
        self,
        ctx: &Ctx<'js>,
        value: Result<Value<'js>, Value<'js>>,
    ) -> rquickjs::Result<()> {
        match (value, self.make) {
            (Ok(value), None) => self.resolve.restore(ctx)?.call((value,)),
            (Ok(value), Some(make)) => {
                let made: Value<'js> = make.restore(ctx)?.call((value,))?;
                self.resolve.restore(ctx)?.call((made,))
            }
            (Err(error), _) => self.reject.restore(ctx)?.call((error,)),
        }
    }
}

impl Engine {
    /// A promise for an operation.
    pub(crate) fn wait<'js>(
        &self,
        ctx: &Ctx<'js>,
        operation: u32,
        make: Option<Function<'js>>,
    ) -> rquickjs::Result<Promise<'js>> {
        let (promise, resolve, reject) = Promise::new(ctx)?;
        let waiter = Waiter {
            resolve: Persistent::save(ctx, resolve),
            reject: Persistent::save(ctx, reject),
            make: make.map(|make| Persistent::save(ctx, make)),
        };
        let mut operations = self.waiting.operations.borrow_mut();
        operations.insert(operation, waiter);
        Ok(promise)
    }

    /// The promise of an operation will not be settled.
    pub(crate) fn forget(&self, operation: u32) {
        // Dropped after the borrow.
        let _gone = self.waiting.operations.borrow_mut().remove(&operation);
    }

    /// The promise of an operation is rejected.
    pub(crate) fn abandon<'js>(
        &self,
        ctx: &Ctx<'js>,
        operation: u32,
        reason: Value<'js>,
    ) -> rquickjs::Result<()> {
        let waiter = self.waiting.operations.borrow_mut().remove(&operation);
        match waiter {
            Some(waiter) => waiter.reject.restore(ctx)?.call((reason,)),
            None => Ok(()),
        }
    }

    /// Settles what the module waits for.
    pub(super) fn settle<T>(
        &self,
        invocation: u32,
        operation: u32,
        outcome: Result<T, String>,
        finish: impl for<'js> FnOnce(&Shared, &Ctx<'js>, T) -> rquickjs::Result<Value<'js>>,
    ) {
        let waiter = self.waiting.operations.borrow_mut().remove(&operation);
        let known = self
            .shared
            .with(invocation, |it| it.operations.remove(&operation));
        if known.flatten().is_none() {
            return;
        }
        self.enter(invocation, |ctx| {
            let value = match outcome {
                Ok(value) => Ok(finish(&self.shared, ctx, value)?),
                Err(text) => {
                    Exception::throw_type(ctx, &text);
                    Err(ctx.catch())
                }
            };
            match waiter {
                Some(waiter) => waiter.settle(ctx, value),
                // Nobody has to know that it is done.
                None => Ok(()),
            }
        });
    }

    /// Keeps what a handler gave until it is settled: looked at from here, so that no code of the
    /// module is asked for it.
    pub(super) fn keep_given<'js>(&self, ctx: &Ctx<'js>, invocation: u32, promise: Promise<'js>) {
        let promise = Persistent::save(ctx, promise);
        self.waiting.given.borrow_mut().push((invocation, promise));
    }

    /// Answers what has been settled; whether there was any.
    pub(super) fn answer_given(&self, ctx: &Ctx<'_>) -> bool {
        let mut given = self.waiting.given.take();
        let before = given.len();
        given.retain(|(invocation, promise)| {
            let is_there = self.shared.with(*invocation, |_it| ()).is_some();
            let settled = is_there.then(|| self.give(ctx, *invocation, promise));
            match settled.transpose() {
                Ok(settled) => settled == Some(false),
                Err(error) => {
                    match thrown(ctx, &error) {
                        WorkerError::Memory => self.shared.exhausted.set(true),
                        error => self.shared.answer(*invocation, Err(error)),
                    }
                    false
                }
            }
        });
        let was_any = given.len() < before;
        self.waiting.given.borrow_mut().append(&mut given);
        was_any
    }

    /// Answers an invocation if its promise is settled; whether it is.
    fn give(
        &self,
        ctx: &Ctx<'_>,
        invocation: u32,
        promise: &Persistent<Promise<'static>>,
    ) -> rquickjs::Result<bool> {
        let promise = promise.clone().restore(ctx)?;
        let is_kept = promise.state() == PromiseState::Resolved;
        let value = match promise.result::<Value<'_>>() {
            None => return Ok(false),
            Some(Ok(value)) => value,
            Some(Err(_rejected)) => ctx.catch(),
        };
        if let Some(entries) = &self.entries {
            let running = self.shared.current.replace(invocation);
            let give = entries.give.clone().restore(ctx)?;
            let given = give.call::<_, ()>((invocation, is_kept, value));
            self.shared.current.set(running);
            given?;
        }
        Ok(true)
    }

    /// Nobody will settle what ended with its invocation.
    pub(super) fn bury(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        for operation in self.shared.dead.take() {
            self.forget(operation);
        }
        let timers = self.shared.dead_timers.take();
        match &self.entries {
            Some(entries) if !timers.is_empty() => {
                let forget = entries.forget_timers.clone();
                forget.restore(ctx)?.call((timers,))
            }
            _ => Ok(()),
        }
    }
}
