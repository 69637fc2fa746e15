//! The functions that the prelude is built on, one table per concern, and the prelude itself.
//!
//! Each begins by asking whether the invocation may still run.

mod base;
mod body;
mod bytes;
mod crypto;
mod exchange;
mod text;

use std::rc::Rc;

use rquickjs::function::IntoJsFunc;
use rquickjs::loader::Loader as _;
use rquickjs::loader::bundle::{Bundle, ScaBundleData};
use rquickjs::{Ctx, Exception, Function, Object, Value};

use crate::isolate::Shared;

/// The web's classes, compiled when this crate is.
pub(crate) static PRELUDE: Prelude = Bundle(include!(concat!(env!("OUT_DIR"), "/prelude.rs")));

/// Names and bytecode, for the engine to load from.
pub(crate) type Prelude = Bundle<ScaBundleData<&'static [u8]>>;

/// The object that the prelude is given.
pub(crate) fn functions<'js>(ctx: &Ctx<'js>, shared: &Rc<Shared>) -> rquickjs::Result<Object<'js>> {
    let table = Table {
        object: Object::new(ctx.clone())?,
        shared: shared.clone(),
    };
    base::define(&table)?;
    body::define(&table)?;
    crypto::define(&table)?;
    exchange::define(&table)?;
    text::define(&table)?;
    let shared = shared.clone();
    table.add("load", move |ctx: Ctx<'js>, name: String| {
        shared.check(&ctx)?;
        load(&ctx, &name)
    })?;
    Ok(table.object)
}

/// What a module of the prelude that waits for nothing exports, evaluated anew.
fn load<'js>(ctx: &Ctx<'js>, name: &str) -> rquickjs::Result<Object<'js>> {
    let mut prelude = PRELUDE;
    let (module, evaluated) = prelude.load(ctx, name, None)?.eval()?;
    evaluated
        .result::<Value<'_>>()
        .unwrap_or_else(|| Err(Exception::throw_internal(ctx, "a prelude that waits")))?;
    module.namespace()
}

/// Where native functions are put.
struct Table<'js> {
    object: Object<'js>,
    shared: Rc<Shared>,
}

impl<'js> Table<'js> {
    fn add<P, F: IntoJsFunc<'js, P> + 'js>(&self, name: &str, function: F) -> rquickjs::Result<()> {
        let function = Function::new(self.object.ctx().clone(), function)?;
        self.object.set(name, function)
    }
}
