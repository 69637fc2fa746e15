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
use rquickjs::loader::Bundle;
use rquickjs::{Ctx, Function, Object, embed};

use crate::isolate::Shared;

/// The web's classes, compiled when this crate is.
pub(crate) static PRELUDE: Bundle = embed! {
    "outbound:native": "src/prelude/native.js",
    "outbound:convert": "src/prelude/convert.js",
    "outbound:console": "src/prelude/console.js",
    "outbound:lockdown": "src/prelude/lockdown.js",
    "outbound:headers": "src/prelude/headers.js",
    "outbound:source": "src/prelude/source.js",
    "outbound:readable": "src/prelude/readable.js",
    "outbound:event": "src/prelude/event.js",
    "outbound:timers": "src/prelude/timers.js",
    "outbound:abort": "src/prelude/abort.js",
    "outbound:writable": "src/prelude/writable.js",
    "outbound:transform": "src/prelude/transform.js",
    "outbound:blob": "src/prelude/blob.js",
    "outbound:formdata": "src/prelude/formdata.js",
    "outbound:searchparams": "src/prelude/searchparams.js",
    "outbound:url": "src/prelude/url.js",
    "outbound:encoding": "src/prelude/encoding.js",
    "outbound:body": "src/prelude/body.js",
    "outbound:request": "src/prelude/request.js",
    "outbound:response": "src/prelude/response.js",
    "outbound:fetch": "src/prelude/fetch.js",
    "outbound:env": "src/prelude/env.js",
    "outbound:crypto": "src/prelude/crypto.js",
    "outbound:clone": "src/prelude/clone.js",
    "outbound:socket": "src/prelude/socket.js",
    "outbound:invoke": "src/prelude/invoke.js",
    "cloudflare:workers": "src/prelude/workers.js",
    "outbound:main": "src/prelude/main.js",
};

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
    Ok(table.object)
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
