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
    watched: RefCell<Vec<Watched>>,
}

/// A promise that the module gave. It is looked at from here, so that no code of the module is
/// asked for it.
struct Watched {
    invocation: u32,
    by: Use,
    promise: Persistent<Promise<'static>>,
}

/// What a promise is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is the handler's answer.
    Answer,
    /// It keeps the invocation alive.
    Hold,
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

    /// Keeps a promise until it is settled.
    pub(crate) fn watch<'js>(
        &self,
        ctx: &Ctx<'js>,
        invocation: u32,
        by: Use,
        promise: Promise<'js>,
    ) {
        self.waiting.watched.borrow_mut().push(Watched {
            invocation,
            by,
            promise: Persistent::save(ctx, promise),
        });
    }

    /// Acts on what has been settled; whether there was any.
    pub(super) fn look(&self, ctx: &Ctx<'_>) -> bool {
        let mut watched = self.waiting.watched.take();
        let before = watched.len();
        watched.retain(|watched| match self.look_at(ctx, watched) {
            Ok(is_settled) => !is_settled,
            Err(error) => {
                match thrown(ctx, &error) {
                    WorkerError::Memory => self.shared.exhausted.set(true),
                    error => self.shared.answer(watched.invocation, Err(error)),
                }
                false
            }
        });
        let was_any = watched.len() < before;
        // What was acted on may have given others.
        self.waiting.watched.borrow_mut().append(&mut watched);
        was_any
    }

    /// Acts on a promise if it is settled; whether it is, or nobody wants to know any longer.
    fn look_at(&self, ctx: &Ctx<'_>, watched: &Watched) -> rquickjs::Result<bool> {
        let shared = &self.shared;
        let promise = watched.promise.clone().restore(ctx)?;
        let is_kept = promise.state() == PromiseState::Resolved;
        let value = match promise.result::<Value<'_>>() {
            None => return Ok(shared.with(watched.invocation, |_it| ()).is_none()),
            Some(Ok(value)) => value,
            Some(Err(_rejected)) => ctx.catch(),
        };
        let (Some(entries), Some(())) = (&self.entries, shared.with(watched.invocation, |_it| ()))
        else {
            return Ok(true);
        };
        let running = shared.current.replace(watched.invocation);
        if running != watched.invocation {
            shared.others.borrow_mut().push(watched.invocation);
        }
        let acted = match watched.by {
            Use::Answer => {
                let give = entries.give.clone().restore(ctx)?;
                give.call((watched.invocation, is_kept, value))
            }
            Use::Hold => {
                shared.with(watched.invocation, |it| {
                    it.holds = it.holds.saturating_sub(1);
                });
                match is_kept {
                    true => Ok(()),
                    false => {
                        let complain = entries.complain.clone().restore(ctx)?;
                        complain.call((watched.invocation, value))
                    }
                }
            }
        };
        shared.current.set(running);
        acted.map(|()| true)
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
