//! A file of an operator's module, parsed once for all isolates that are of it.
#![expect(
    unsafe_code,
    reason = "the engine must be told that bytecode can be trusted"
)]

use std::sync::OnceLock;

use rquickjs::module::Declared;
use rquickjs::{Ctx, Module, WriteOptions};

/// Source, and what the engine made of it.
#[derive(Debug)]
pub(super) struct File {
    pub(super) source: String,
    /// For further isolates to read: to parse takes several times as long. Positions and source
    /// are in it, for stacks and `toString`.
    compiled: OnceLock<Vec<u8>>,
}

impl File {
    pub(super) fn new(source: String) -> Self {
        Self {
            source,
            compiled: OnceLock::new(),
        }
    }

    pub(super) fn declare<'js>(
        &self,
        ctx: &Ctx<'js>,
        name: &str,
    ) -> rquickjs::Result<Module<'js, Declared>> {
        if let Some(compiled) = self.compiled.get() {
            // SAFETY: it is what the engine wrote in this process, and nothing has changed it.
            return unsafe { Module::load(ctx.clone(), compiled) };
        }
        let module = Module::declare(ctx.clone(), name, self.source.as_str())?;
        match module.write(WriteOptions::default()) {
            // Another thread may have been faster, with the same.
            Ok(compiled) => drop(self.compiled.set(compiled)),
            // There may be no memory left for it; the module is there all the same.
            Err(_unwritten) => drop(ctx.catch()),
        }
        Ok(module)
    }
}
