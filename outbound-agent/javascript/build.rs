//! Compiles the prelude to the engine's bytecode, without its source and what debuggers want:
//! every isolate holds a copy.

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use rquickjs::loader::{BuiltinLoader, BuiltinResolver};
use rquickjs::{Context, Ctx, Module, Runtime, WriteOptions};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=src/prelude");
    let out = env::var("OUT_DIR")?;
    let runtime = Runtime::new()?;
    let context = Context::full(&runtime)?;
    let mut files: Vec<_> = fs::read_dir("src/prelude")?.collect::<Result<_, _>>()?;
    files.sort_by_key(fs::DirEntry::file_name);
    let mut modules = Vec::new();
    for file in files {
        let path = file.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let name = match stem.as_str() {
            "workers" => "cloudflare:workers".to_owned(),
            stem => format!("outbound:{stem}"),
        };
        let source = fs::read_to_string(&path)?;
        modules.push((name, source, stem));
    }
    let mut resolver = BuiltinResolver::default();
    let mut loader = BuiltinLoader::default();
    for (name, source, _stem) in &modules {
        resolver.add_module(name);
        loader.add_module(name, source.as_str());
    }
    runtime.set_loader(resolver, loader);
    let mut table = "&[\n".to_owned();
    for (name, source, stem) in modules {
        let compiled = context.with(|ctx| compile(&ctx, &name, source))?;
        let target = Path::new(&out).join(&stem);
        fs::write(&target, compiled)?;
        writeln!(table, "({name:?}, include_bytes!({target:?})),")?;
    }
    table.push(']');
    fs::write(Path::new(&out).join("prelude.rs"), table)?;
    Ok(())
}

/// The bytecode of a module; what does not parse is an error that says where.
fn compile(ctx: &Ctx<'_>, name: &str, source: String) -> Result<Vec<u8>, String> {
    let options = WriteOptions {
        strip_source: true,
        strip_debug: true,
        ..WriteOptions::default()
    };
    let module = Module::declare(ctx.clone(), name, source);
    let compiled = module.and_then(|module| module.write(options));
    compiled.map_err(|error| {
        let thrown = ctx.catch();
        let thrown = thrown.as_exception().map(ToString::to_string);
        format!("{name}: {}", thrown.unwrap_or(error.to_string()))
    })
}
