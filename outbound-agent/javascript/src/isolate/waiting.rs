//! What a module waits for, and the promises that its handlers have given.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rquickjs::promise::PromiseState;
use rquickjs::{Ctx, Exception, Function, Persistent, Promise, Value};

use super::engine::{Engine, thrown};
use super::shared::Shared;
use crate::error::WorkerError;

/// Values of the engine: dropped before it.
#[derive(Default)]
pub(super) struct Waiting {
    operations: RefCell<HashMap<u32, Waiter>>,
    /// By invocation, in order.
    watched: RefCell<BTreeMap<(u32, u32), Watched>>,
    /// Whether those of all invocations are about to be looked at.
    is_looking: Cell<bool>,
}

/// A promise that the module gave. It is looked at from here, so that no code of the module is
/// asked for it.
struct Watched {
    by: Use,
    promise: Persistent<Promise<'static>>,
}

impl Watched {
    fn is_settled(&self, ctx: &Ctx<'_>) -> bool {
        let promise = self.promise.clone().restore(ctx);
        promise.is_ok_and(|promise| promise.state() != PromiseState::Pending)
    }
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
        let key = (invocation, self.shared.number());
        let promise = Persistent::save(ctx, promise);
        let mut watched = self.waiting.watched.borrow_mut();
        watched.insert(key, Watched { by, promise });
    }

    /// Acts on what has been settled of an invocation; whether there was any.
    pub(super) fn look(&self, ctx: &Ctx<'_>, invocation: u32) -> bool {
        let keys: Vec<(u32, u32)> = {
            let watched = self.waiting.watched.borrow();
            let own = watched.range((invocation, 0)..=(invocation, u32::MAX));
            let settled = own.filter(|(_, watched)| watched.is_settled(ctx));
            settled.map(|(key, _)| *key).collect()
        };
        for key in &keys {
            let settled = self.waiting.watched.borrow_mut().remove(key);
            let acted = settled.map(|settled| self.act(ctx, invocation, settled));
            if let Some(Err(error)) = acted {
                match thrown(ctx, &error) {
                    // Cut: who left the engine says so.
                    _ if self.shared.budget.has_tripped() => {}
                    WorkerError::Memory => self.shared.exhausted.set(true),
                    error => self.shared.answer(invocation, Err(error)),
                }
            }
        }
        !keys.is_empty()
    }

    /// Acts on a promise that is settled.
    fn act(&self, ctx: &Ctx<'_>, invocation: u32, settled: Watched) -> rquickjs::Result<()> {
        let promise = settled.promise.restore(ctx)?;
        let is_kept = promise.state() == PromiseState::Resolved;
        let value = match promise.result::<Value<'_>>() {
            None => return Ok(()),
            Some(Ok(value)) => value,
            Some(Err(_rejected)) => ctx.catch(),
        };
        let Some(entries) = &self.entries else {
            return Ok(());
        };
        if settled.by == Use::Answer {
            let give = entries.give.clone().restore(ctx)?;
            return give.call((invocation, is_kept, value));
        }
        self.shared.with(invocation, |it| {
            it.holds = it.holds.saturating_sub(1);
        });
        match is_kept {
            true => Ok(()),
            false => {
                let complain = entries.complain.clone().restore(ctx)?;
                complain.call((invocation, value))
            }
        }
    }

    /// The code of one invocation may have settled what another one waits for: has all of them
    /// looked at, once what is ready has run.
    pub(super) fn look_later(&self, invocation: u32) {
        let is_alone = {
            let watched = self.waiting.watched.borrow();
            watched.keys().all(|(number, _)| *number == invocation)
        };
        if is_alone || self.waiting.is_looking.replace(true) {
            return;
        }
        let engine = self.shared.engine.borrow().clone();
        tokio::task::spawn_local(async move {
            if let Some(engine) = engine.upgrade() {
                engine.waiting.is_looking.set(false);
                for invocation in engine.settled() {
                    engine.enter(invocation, |_ctx| Ok(()));
                }
            }
        });
    }

    /// Invocations of which something is settled and was not acted on.
    pub(super) fn settled(&self) -> BTreeSet<u32> {
        let mut watched = self.waiting.watched.borrow_mut();
        let invocations = self.shared.invocations.borrow();
        watched.retain(|(number, _), _| invocations.contains_key(number));
        self.context.with(|ctx| {
            let settled = watched
                .iter()
                .filter(|(_, watched)| watched.is_settled(&ctx));
            settled.map(|((number, _), _)| *number).collect()
        })
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
