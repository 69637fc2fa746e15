//! An operator's module: its source files, by relative path, and where it starts.

mod file;

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::Declared;
use rquickjs::{Ctx, Exception};
use serde_json::Value;

use crate::error::{Position, WorkerError};
use crate::host::{Host, HostError, Jwt, Level, Local};
use crate::isolate::{Bindings, Isolate};
use crate::limits::Limits;
use crate::message::{Body, RequestHead, ResponseHead};
use crate::native::Prelude;
use file::File;

/// Source that has been shown to load. Cheap to clone, and shared by its isolates.
#[derive(Debug, Clone)]
pub struct Module {
    files: Arc<Files>,
    entrypoint: Arc<str>,
    limits: Limits,
    has_connect: bool,
}

type Files = BTreeMap<String, File>;

impl Module {
    /// Takes the files of a module by their path relative to its directory, with `/` between
    /// parts, and the path of the one that exports the handlers. They are evaluated once, with
    /// no bindings, so that what does not load is known here.
    ///
    /// # Errors
    ///
    /// [`WorkerError::Load`] with file, line and column where the engine gives them.
    pub fn load(
        files: impl IntoIterator<Item = (String, String)>,
        entrypoint: &str,
        limits: Limits,
    ) -> Result<Self, WorkerError> {
        let files: Files = files
            .into_iter()
            .map(|(path, source)| (path, File::new(source)))
            .collect();
        let refuse = |message: &str| WorkerError::Load {
            position: Position {
                file: entrypoint.to_owned(),
                line: 0,
                column: 0,
            },
            message: message.to_owned(),
        };
        if !files.contains_key(entrypoint) {
            return Err(refuse("no such file in the module"));
        }
        if [".ts", ".mts", ".tsx"]
            .iter()
            .any(|ending| entrypoint.ends_with(ending))
        {
            return Err(refuse(
                "TypeScript is not taken as it is: compile it to JavaScript first (tsc, esbuild)",
            ));
        }
        let module = Self {
            files: Arc::new(files),
            entrypoint: Arc::from(entrypoint),
            limits,
            has_connect: false,
        };
        let bindings = Bindings {
            entrypoint: String::new(),
            ..Bindings::default()
        };
        let has_connect = Isolate::new(&module, &bindings, Rc::new(Nowhere))?.has_connect();
        Ok(Self {
            has_connect,
            ..module
        })
    }

    /// The file that exports the handlers.
    #[must_use]
    pub fn entrypoint(&self) -> &str {
        &self.entrypoint
    }

    /// Whether something that it exports decides about tunnels.
    #[must_use]
    pub fn has_connect(&self) -> bool {
        self.has_connect
    }

    /// What its invocations may use.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    pub(crate) fn resolver(&self) -> Imports {
        Imports {
            files: self.files.clone(),
        }
    }

    pub(crate) fn loader(&self) -> Sources {
        Sources {
            files: self.files.clone(),
            prelude: crate::native::PRELUDE,
        }
    }
}

/// Which names a file may import: its neighbours, and what the platform offers.
pub(crate) struct Imports {
    files: Arc<Files>,
}

impl Resolver for Imports {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<String> {
        // What is imported from Rust has no base of the module's.
        let is_ours = !self.files.contains_key(base);
        if is_ours || name == "cloudflare:workers" {
            return Ok(name.to_owned());
        }
        let path = relative(base, name);
        if let Some(path) = path.filter(|path| self.files.contains_key(path)) {
            return Ok(path);
        }
        let text = if name.starts_with("./") || name.starts_with("../") {
            format!("import of \"{name}\": no such file in the module")
        } else {
            format!(
                "import of \"{name}\": only files of the module (./…, ../…) and \"cloudflare:workers\" can be imported"
            )
        };
        let error = Exception::from_message(ctx.clone(), &text)?;
        let (line, column) = place(self.files.get(base).map(|file| file.source.as_str()), name);
        error.set("stack", format!("    at {base}:{line}:{column}\n"))?;
        Err(error.throw())
    }
}

/// Gives the source of a file, and the compiled prelude.
pub(crate) struct Sources {
    files: Arc<Files>,
    prelude: Prelude,
}

impl Loader for Sources {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        attributes: Option<ImportAttributes<'js>>,
    ) -> rquickjs::Result<rquickjs::Module<'js, Declared>> {
        match self.files.get(name) {
            Some(file) => file.declare(ctx, name),
            None => self.prelude.load(ctx, name, attributes),
        }
    }
}

/// `name` as seen from `base`; `None` where it is no relative path or leads out of the module.
fn relative(base: &str, name: &str) -> Option<String> {
    if !(name.starts_with("./") || name.starts_with("../")) {
        return None;
    }
    let mut parts: Vec<&str> = base.split('/').collect();
    parts.pop();
    for part in name.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Line and column, from 1, at which a source names what it imports.
fn place(source: Option<&str>, name: &str) -> (usize, usize) {
    let quoted = ['"', '\''].map(|quote| format!("{quote}{name}{quote}"));
    let found = source.and_then(|source| {
        let at = quoted.iter().find_map(|text| source.find(text.as_str()))?;
        source.get(..at)
    });
    found.map_or((1, 1), |before| {
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        (
            1 + before.matches('\n').count(),
            1 + before.len() - line_start,
        )
    })
}

/// A host for a module that is only looked at: evaluating one asks nothing of it.
struct Nowhere;

impl Host for Nowhere {
    fn fetch(
        &self,
        _: u64,
        _: RequestHead,
        _: Body,
    ) -> Local<Result<(ResponseHead, Body), HostError>> {
        Box::pin(async { Err(HostError::new("not while loading")) })
    }

    fn read(&self, _: u64) -> Local<Result<Option<Bytes>, HostError>> {
        Box::pin(async { Err(HostError::new("not while loading")) })
    }

    fn cancel(&self, _: u64) {}

    fn console(&self, _: u64, _: Level, _: &str) {}

    fn sign_jwt(&self, _: &str, _: Value, _: Option<Duration>) -> Local<Result<Jwt, HostError>> {
        Box::pin(async { Err(HostError::new("not while loading")) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_name_stays_in_the_module() {
        assert_eq!(relative("a/b.js", "./c.js").as_deref(), Some("a/c.js"));
        assert_eq!(relative("a/b.js", "../c.js").as_deref(), Some("c.js"));
        assert_eq!(relative("b.js", "../c.js"), None);
        assert_eq!(relative("b.js", "lodash"), None);
        assert_eq!(relative("b.js", "https://example.com/x.js"), None);
    }
}
