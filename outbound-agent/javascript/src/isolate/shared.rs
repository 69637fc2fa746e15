//! What the native functions of an isolate work on. Holds no value of the engine, so that it
//! may live longer than the engine does.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::{Rc, Weak};
use std::time::Instant;

use rquickjs::{Ctx, Exception, Value};
use tokio::sync::oneshot;

use super::Rest;
use super::budget::Budget;
use super::engine::Engine;
use super::invocation::{Answer, Invocation, Source};
use crate::error::{Poison, WorkerError};
use crate::host::Host;
use crate::limits::Limits;
use crate::message::Body;

/// The part of an isolate that is not the engine's.
pub(crate) struct Shared {
    pub(crate) host: Rc<dyn Host>,
    pub(crate) limits: Limits,
    pub(crate) budget: Budget,
    pub(crate) started: Instant,
    /// The invocation that runs right now; 0 is none.
    pub(crate) current: Cell<u32>,
    pub(crate) poison: Cell<Option<Poison>>,
    /// The heap turned out full: throw the isolate away as soon as the engine is left.
    pub(crate) exhausted: Cell<bool>,
    /// Bodies that are being read into memory and are not yet the engine's.
    pub(crate) held_bytes: Cell<usize>,
    /// Operations that ended with their invocation; their promises are still kept.
    pub(crate) dead: RefCell<Vec<u32>>,
    /// Operations that are timers, which the prelude knows; those that ended as above.
    pub(crate) timers: RefCell<BTreeSet<u32>>,
    pub(crate) dead_timers: RefCell<Vec<u32>>,
    pub(crate) invocations: RefCell<BTreeMap<u32, Invocation>>,
    /// Whether somebody minds what lives on.
    pub(crate) is_bounding: Cell<bool>,
    pub(super) engine: RefCell<Weak<Engine>>,
    last: Cell<u32>,
}

impl Shared {
    pub(crate) fn new(host: Rc<dyn Host>, limits: Limits) -> Self {
        Self {
            host,
            limits,
            budget: Budget::default(),
            started: Instant::now(),
            current: Cell::new(0),
            poison: Cell::new(None),
            exhausted: Cell::new(false),
            held_bytes: Cell::new(0),
            dead: RefCell::default(),
            timers: RefCell::default(),
            dead_timers: RefCell::default(),
            invocations: RefCell::default(),
            is_bounding: Cell::new(false),
            engine: RefCell::default(),
            last: Cell::new(0),
        }
    }

    /// The engine, unless it is being made or dropped.
    pub(crate) fn engine(&self, ctx: &Ctx<'_>) -> rquickjs::Result<Rc<Engine>> {
        let engine = self.engine.borrow().upgrade();
        engine.ok_or_else(|| Exception::throw_internal(ctx, "the isolate does not run"))
    }

    /// A number that nothing else of this isolate has.
    pub(crate) fn number(&self) -> u32 {
        self.last.set(self.last.get().wrapping_add(1).max(1));
        self.last.get()
    }

    /// Every native function asks this first.
    pub(crate) fn check(&self, ctx: &Ctx<'_>) -> rquickjs::Result<()> {
        if self.budget.is_spent() {
            return Err(Exception::throw_internal(ctx, "interrupted"));
        }
        Ok(())
    }

    /// Does something to the invocation that runs right now, if there still is one.
    pub(crate) fn with_current<R>(&self, f: impl FnOnce(&mut Invocation) -> R) -> Option<R> {
        self.with(self.current.get(), f)
    }

    /// Does something to an invocation, if it is still there.
    pub(crate) fn with<R>(&self, number: u32, f: impl FnOnce(&mut Invocation) -> R) -> Option<R> {
        self.invocations.borrow_mut().get_mut(&number).map(f)
    }

    /// As [`with_current`](Self::with_current); without one it throws, naming the API.
    pub(crate) fn demand_current<R>(
        &self,
        ctx: &Ctx<'_>,
        api: &str,
        f: impl FnOnce(&mut Invocation) -> R,
    ) -> rquickjs::Result<R> {
        self.with_current(f).ok_or_else(|| {
            let text = format!("{api}: only within a handler that is still running");
            Exception::throw_type(ctx, &text)
        })
    }

    /// Keeps a body for the module to read or hand on; 0 is none.
    pub(crate) fn keep_body(&self, invocation: &mut Invocation, body: Body) -> u32 {
        let Some(source) = Source::new(body, &self.host) else {
            return 0;
        };
        let number = self.number();
        invocation.bodies.insert(number, source);
        number
    }

    /// Starts what the module waits for; `finish` makes the value, or the text of a `TypeError`.
    ///
    /// Gives the number under which the prelude waits for it.
    pub(crate) fn start<T: 'static>(
        self: &Rc<Self>,
        future: impl Future<Output = Result<T, String>> + 'static,
        finish: impl for<'js> FnOnce(&Self, &Ctx<'js>, T) -> rquickjs::Result<Value<'js>> + 'static,
    ) -> u32 {
        let number = self.number();
        self.run((self.current.get(), number), future, finish);
        number
    }

    /// As [`start`](Self::start), for an invocation and under a number that it has.
    pub(super) fn run<T: 'static>(
        self: &Rc<Self>,
        (invocation, number): (u32, u32),
        future: impl Future<Output = Result<T, String>> + 'static,
        finish: impl for<'js> FnOnce(&Self, &Ctx<'js>, T) -> rquickjs::Result<Value<'js>> + 'static,
    ) {
        let shared = self.clone();
        self.with(invocation, |it| {
            let task = tokio::task::spawn_local(async move {
                let outcome = future.await;
                let engine = shared.engine.borrow().upgrade();
                if let Some(engine) = engine {
                    engine.settle(invocation, number, outcome, finish);
                }
            });
            it.operations.insert(number, Some(task.abort_handle()));
        });
    }

    /// Gives an invocation its answer.
    pub(crate) fn answer(&self, number: u32, result: Result<Answer, WorkerError>) {
        self.with(number, |invocation| {
            let Some(reply) = invocation.reply.take() else {
                return;
            };
            let result = result.map(|answer| {
                let (finished, rest) = oneshot::channel();
                invocation.finished = Some(finished);
                (answer, Rest(rest))
            });
            // A caller that is gone has ended the invocation with it.
            drop(reply.send(result));
        });
    }

    /// What is still held is cut; a body that is still written is not.
    pub(crate) fn release_all(&self, number: u32) {
        let over = self.with(number, |invocation| {
            invocation.cut += invocation.holds;
            invocation.holds = 0;
            invocation.is_over()
        });
        if over == Some(true) {
            self.end(number);
        }
    }

    /// Ends an invocation, if it is still there; gives how many holds that cut.
    pub(crate) fn end(&self, number: u32) -> u32 {
        let ended = self.invocations.borrow_mut().remove(&number);
        ended.map_or(0, |invocation| {
            let operations = invocation.operations.keys();
            self.dead.borrow_mut().extend(operations.clone());
            let mut timers = self.timers.borrow_mut();
            let dead = operations.copied().filter(|it| timers.remove(it));
            self.dead_timers.borrow_mut().extend(dead);
            invocation.end()
        })
    }
}
