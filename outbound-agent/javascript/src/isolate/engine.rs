//! The engine itself: one runtime, one context, and the way in and out.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use rquickjs::{Context, Ctx, Function, Object, Persistent, Promise, Runtime};

use super::invocation::Asked;
use super::shared::Shared;
use super::waiting::{Use, Waiting};
use super::{Bindings, Call, Env, Tunnel};
use crate::error::{Poison, Position, WorkerError};
use crate::module::Module;
use crate::native;

/// A runtime with one context. Fields drop in this order: values before what owns them, or the
/// engine aborts the process.
pub(crate) struct Engine {
    pub(super) entries: Option<Entries>,
    pub(super) waiting: Waiting,
    environments: RefCell<Environments>,
    pub(super) context: Context,
    runtime: Runtime,
    pub(crate) shared: Rc<Shared>,
    /// Whether the module exports something that decides about tunnels.
    pub(crate) has_connect: bool,
}

/// The functions of the prelude that Rust calls.
pub(super) struct Entries {
    dispatch: Persistent<Function<'static>>,
    pub(super) give: Persistent<Function<'static>>,
    pub(super) complain: Persistent<Function<'static>>,
    pub(super) forget_timers: Persistent<Function<'static>>,
    tunnel: Persistent<Function<'static>>,
    surround: Persistent<Function<'static>>,
}

/// The values of `env` by the number of a call's own, oldest first.
type Environments = VecDeque<(u64, Persistent<Object<'static>>)>;

impl Engine {
    /// Makes an engine in which `module` is evaluated.
    pub(crate) fn new(
        module: &Module,
        bindings: &Bindings,
        shared: Rc<Shared>,
    ) -> Result<Rc<Self>, WorkerError> {
        let runtime = Runtime::new().map_err(broken)?;
        runtime.set_memory_limit(shared.limits.memory_bytes);
        runtime.set_max_stack_size(STACK_BYTES);
        runtime.set_gc_threshold(COLLECT_AT_BYTES);
        let watched = shared.clone();
        runtime.set_interrupt_handler(Some(Box::new(move || watched.budget.is_spent())));
        runtime.set_loader(module.resolver(), module.loader());
        let context = Context::full(&runtime).map_err(broken)?;
        let mut engine = Self {
            entries: None,
            waiting: Waiting::default(),
            environments: RefCell::default(),
            context,
            runtime,
            shared,
            has_connect: false,
        };
        engine.load(module, bindings)?;
        let engine = Rc::new(engine);
        engine.shared.engine.replace(Rc::downgrade(&engine));
        Ok(engine)
    }

    fn load(&mut self, module: &Module, bindings: &Bindings) -> Result<(), WorkerError> {
        let startup = self.shared.limits.startup;
        let prelude = self.run(startup, |ctx| import(ctx, "outbound:main"))?;
        let shared = self.shared.clone();
        self.run(startup, |ctx| {
            let native = native::functions(ctx, &shared)?;
            let prelude = prelude.clone().restore(ctx)?;
            let install: Function<'_> = prelude.get("install")?;
            install.call::<_, ()>((native, ctx.json_parse(bindings.to_json())?))
        })?;
        let module = self.run(startup, |ctx| import(ctx, module.entrypoint()))?;
        self.has_connect = self.run(startup, |ctx| {
            let adopt: Function<'_> = prelude.clone().restore(ctx)?.get("adopt")?;
            adopt.call((module.clone().restore(ctx)?, bindings.entrypoint.as_str()))
        })?;
        self.entries = Some(self.run(startup, |ctx| {
            let prelude = prelude.clone().restore(ctx)?;
            let entry = |name: &str| -> rquickjs::Result<Persistent<Function<'static>>> {
                Ok(Persistent::save(ctx, prelude.get::<_, Function<'_>>(name)?))
            };
            Ok(Entries {
                dispatch: entry("dispatch")?,
                give: entry("give")?,
                complain: entry("complain")?,
                forget_timers: entry("forgetTimers")?,
                tunnel: entry("tunnel")?,
                surround: entry("surround")?,
            })
        })?);
        Ok(())
    }

    /// Runs code of the load; what it throws is an error of the module.
    fn run<R>(
        &self,
        left: Duration,
        f: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<R>,
    ) -> Result<R, WorkerError> {
        self.shared.budget.enter(left);
        let result = self
            .context
            .with(|ctx| f(&ctx).map_err(|error| thrown(&ctx, &error)));
        self.shared.budget.leave();
        if self.shared.budget.has_tripped() {
            return Err(WorkerError::Cpu);
        }
        result.map_err(|error| match error {
            WorkerError::Exception { message, stack } => match Position::in_stack(&stack) {
                Some(position) => WorkerError::Load { position, message },
                None => WorkerError::Exception { message, stack },
            },
            other => other,
        })
    }

    /// Hands a request to the module's handler.
    pub(crate) fn dispatch(&self, number: u32, call: Call) {
        let shared = &self.shared;
        let stored = shared.with(number, |invocation| {
            let (request, head) = (shared.number(), shared.number());
            invocation.heads.insert(head, call.request.headers);
            let body = shared.keep_body(invocation, call.body);
            let asked = Asked {
                method: call.request.method,
                url: call.request.url,
                head,
                body,
            };
            invocation.requests.insert(request, asked);
            request
        });
        let (Some(entries), Some(request)) = (&self.entries, stored) else {
            return;
        };
        self.enter(number, |ctx| {
            let env = self.environment(ctx, entries, &call.env)?;
            let arguments = (number, request, env, call.env.has_own_url);
            let dispatch = entries.dispatch.clone().restore(ctx)?;
            if let Some(promise) = dispatch.call::<_, Option<Promise<'_>>>(arguments)? {
                self.watch(ctx, number, Use::Answer, promise);
            }
            Ok(())
        });
    }

    /// Hands a tunnel to the module's handler.
    pub(crate) fn tunnel(&self, number: u32, tunnel: Tunnel) {
        let shared = &self.shared;
        let body = shared.with(number, |it| shared.keep_body(it, tunnel.body));
        let (Some(entries), Some(body)) = (&self.entries, body) else {
            return;
        };
        self.enter(number, |ctx| {
            let env = self.environment(ctx, entries, &tunnel.env)?;
            let arguments = (number, tunnel.host, tunnel.port, body, env);
            entries
                .tunnel
                .clone()
                .restore(ctx)?
                .call::<_, ()>(arguments)
        });
    }

    /// The `env` of a call: made anew only for one that has not been seen, or not lately.
    fn environment<'js>(
        &self,
        ctx: &Ctx<'js>,
        entries: &Entries,
        own: &Env,
    ) -> rquickjs::Result<Object<'js>> {
        let mut known = self.environments.borrow_mut();
        let found = known.iter().rev().find(|(number, _)| *number == own.number);
        if let Some((_, env)) = found {
            return env.clone().restore(ctx);
        }
        let surround = entries.surround.clone().restore(ctx)?;
        let env: Object<'js> = surround.call((ctx.json_parse(&*own.values)?,))?;
        if own.number != 0 {
            if known.len() >= MOST_ENVIRONMENTS {
                known.pop_front();
            }
            known.push_back((own.number, Persistent::save(ctx, env.clone())));
        }
        Ok(env)
    }

    /// Runs code for an invocation, then all that follows from it.
    pub(super) fn enter(
        &self,
        number: u32,
        f: impl for<'js> FnOnce(&Ctx<'js>) -> rquickjs::Result<()>,
    ) {
        let shared = &self.shared;
        if shared.poison.get().is_some() {
            return;
        }
        let spent = shared
            .invocations
            .borrow()
            .get(&number)
            .map_or(Duration::ZERO, |invocation| invocation.cpu);
        // The engine lowers it to the size of its heap whenever it has collected; with so small a
        // heap it would go through all of it every few dozen requests.
        self.runtime.set_gc_threshold(COLLECT_AT_BYTES);
        shared.current.set(number);
        shared.budget.enter(shared.limits.cpu.saturating_sub(spent));
        let failed = self.context.with(|ctx| {
            let failed = self.bury(&ctx).and_then(|()| f(&ctx));
            let failed = failed.err().map(|error| thrown(&ctx, &error));
            loop {
                while !shared.budget.has_tripped() && ctx.execute_pending_job() {}
                if shared.budget.has_tripped() || !self.look(&ctx, number) {
                    break failed;
                }
            }
        });
        let used = shared.budget.leave();
        shared.current.set(0);
        if let Some(invocation) = shared.invocations.borrow_mut().get_mut(&number) {
            invocation.cpu += used;
        }
        if shared.budget.has_tripped() {
            self.poison(number, Poison::Cpu);
            return;
        }
        match failed {
            _ if shared.exhausted.get() => self.poison(number, Poison::Memory),
            Some(WorkerError::Memory) => self.poison(number, Poison::Memory),
            Some(error) => shared.answer(number, Err(error)),
            None => {}
        }
        shared.send_all(number);
        self.sweep(number);
        self.look_later(number);
    }

    /// Ends the invocation if it is over, and those that wait for nothing.
    fn sweep(&self, number: u32) {
        let shared = &self.shared;
        let is_over = |invocation: &super::invocation::Invocation| invocation.is_over();
        if shared
            .invocations
            .borrow()
            .get(&number)
            .is_some_and(is_over)
        {
            shared.end(number);
        }
        let stuck: Vec<u32> = {
            let invocations = shared.invocations.borrow();
            if invocations.values().any(|it| !it.operations.is_empty()) {
                return;
            }
            let waiting = invocations
                .iter()
                .filter(|(_number, it)| it.reply.is_some());
            waiting.map(|(number, _it)| *number).collect()
        };
        if stuck.is_empty() {
            return;
        }
        let settled = self.settled();
        for number in stuck.into_iter().filter(|it| !settled.contains(it)) {
            shared.answer(number, Err(WorkerError::NeverSettled));
            shared.end(number);
        }
    }

    /// Throws the isolate away: whose doing it was learns the cause, the rest that they fell too.
    pub(crate) fn poison(&self, culprit: u32, poison: Poison) {
        let shared = &self.shared;
        shared.poison.set(Some(poison));
        let numbers: Vec<u32> = shared.invocations.borrow().keys().copied().collect();
        for number in numbers {
            let error = match number == culprit {
                true => WorkerError::from(poison),
                false => WorkerError::Poisoned(poison),
            };
            shared.answer(number, Err(error));
            shared.end(number);
        }
    }

    pub(crate) fn collect(&self) {
        self.runtime.run_gc();
    }

    /// Bytes of the engine's heap in use. Walks the heap.
    pub(crate) fn heap_bytes(&self) -> u64 {
        u64::try_from(self.runtime.memory_usage().malloc_size).unwrap_or(0)
    }
}

/// The namespace of a module, evaluated.
fn import(ctx: &Ctx<'_>, name: &str) -> rquickjs::Result<Persistent<Object<'static>>> {
    let promise = rquickjs::Module::import(ctx, name)?;
    while promise.state() == rquickjs::promise::PromiseState::Pending && ctx.execute_pending_job() {
    }
    match promise.result::<Object<'_>>() {
        Some(result) => Ok(Persistent::save(ctx, result?)),
        None => {
            let text = "top-level await: nothing that it could wait for is available before the first request";
            Err(rquickjs::Exception::throw_type(ctx, text))
        }
    }
}

/// What the engine threw, in words.
pub(super) fn thrown(ctx: &Ctx<'_>, error: &rquickjs::Error) -> WorkerError {
    if !error.is_exception() {
        return broken(error);
    }
    let value = ctx.catch();
    let Some(exception) = value.as_exception() else {
        // An engine that is out of memory may have nothing left to make an error of.
        return match value.as_string().and_then(|text| text.to_string().ok()) {
            Some(message) => WorkerError::Exception {
                message,
                stack: String::new(),
            },
            None if value.is_null() || value.is_undefined() => WorkerError::Memory,
            None => WorkerError::Exception {
                message: "something that is no Error was thrown".to_owned(),
                stack: String::new(),
            },
        };
    };
    let text = exception.message().unwrap_or_default();
    let name: String = exception.get("name").unwrap_or_default();
    if name == "InternalError" && text == "out of memory" {
        return WorkerError::Memory;
    }
    WorkerError::Exception {
        message: format!("{name}: {text}"),
        stack: exception.stack().unwrap_or_default(),
    }
}

fn broken(error: impl std::fmt::Display) -> WorkerError {
    WorkerError::Engine {
        message: error.to_string(),
    }
}

/// Heap at which cycles are collected; all else is freed when the last reference goes.
const COLLECT_AT_BYTES: usize = 2 << 20;
/// How many different ones an isolate keeps: more than one only where tenants share it.
const MOST_ENVIRONMENTS: usize = 64;
/// Of the engine's own stack; the thread's must be larger.
const STACK_BYTES: usize = 512 << 10;
