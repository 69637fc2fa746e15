//! `outbound import`: what a Wrangler configuration says about dispatch and outbound workers, as
//! a drop-in of ours.

mod jsonc;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use super::output::complain;

/// Prints the drop-in; tells on stderr what has no counterpart.
pub fn run(file: &Path, out: &mut dyn io::Write) -> anyhow::Result<()> {
    let shown = file.display();
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let is_toml = file.extension().is_some_and(|extension| extension == "toml");
    let read = match is_toml {
        true => toml::from_str(&text).map_err(anyhow::Error::from),
        false => serde_json::from_str(&jsonc::to_json(&text)).map_err(anyhow::Error::from),
    };
    let written: Map<String, Value> = read.with_context(|| format!("cannot read {shown}"))?;
    let imported = Imported::of(written);
    write!(out, "{}", toml::to_string(&imported.ours)?)?;
    for key in &imported.left {
        complain(format!("{shown}: {key}"));
    }
    Ok(())
}

/// What was taken over, and what was not.
#[derive(Debug, Default)]
struct Imported {
    ours: Map<String, Value>,
    left: Vec<String>,
}

impl Imported {
    fn of(mut written: Map<String, Value>) -> Self {
        let mut imported = Self::default();
        let namespaces = written.remove("dispatch_namespaces");
        match namespaces {
            // What binds a namespace is the dispatcher, which is a program of the operator's.
            Some(namespaces) => imported.namespaces(namespaces),
            None => imported.service(&mut written),
        }
        for key in written.keys() {
            match key.as_str() {
                "$schema" | "name" | "compatibility_date" | "compatibility_flags" => {}
                "main" => imported.leave("main: the dispatcher runs as a program of its own"),
                key => imported.leave(&format!("{key}: has no counterpart")),
            }
        }
        imported
    }

    fn namespaces(&mut self, written: Value) {
        let Value::Array(written) = written else {
            return self.leave("dispatch_namespaces: is no list");
        };
        let mut ours = Vec::new();
        for (index, namespace) in written.into_iter().enumerate() {
            let at = format!("dispatch_namespaces[{index}]");
            let Value::Object(mut namespace) = namespace else {
                self.leave(&format!("{at}: is no table"));
                continue;
            };
            let mut kept = take(&mut namespace, &["binding", "namespace"]);
            if let Some(Value::Object(mut outbound)) = namespace.remove("outbound") {
                let keys = ["service", "entrypoint", "parameters"];
                let taken = take(&mut outbound, &keys);
                if let Some(service) = taken.get("service").and_then(Value::as_str) {
                    self.leave(&format!(
                        "{at}.outbound.service: import the configuration of {service} as well"
                    ));
                }
                kept.insert("outbound".to_owned(), taken.into());
                self.leave_all(&format!("{at}.outbound"), &outbound);
            }
            self.leave_all(&at, &namespace);
            ours.push(Value::Object(kept));
        }
        self.ours.insert("dispatch_namespaces".to_owned(), ours.into());
    }

    /// The configuration of a worker itself.
    fn service(&mut self, written: &mut Map<String, Value>) {
        let Some(name) = written.get("name").and_then(Value::as_str).map(str::to_owned) else {
            return self.leave("name: is missing, and with it the name of the service");
        };
        let mut service = take(written, &["main", "vars"]);
        if let Some(Value::Object(mut limits)) = written.remove("limits") {
            if let Some(millis) = limits.remove("cpu_ms").and_then(|cpu| cpu.as_u64()) {
                let limits = json!({ "cpu": format!("{millis}ms") });
                service.insert("limits".to_owned(), limits);
            }
            self.leave_all("limits", &limits);
        }
        let main = service.get("main").and_then(Value::as_str).unwrap_or_default();
        if main.ends_with(".ts") {
            self.leave("main: is TypeScript; compile it, and name what that gives");
        }
        self.ours.insert("services".to_owned(), json!({ name: service }));
    }

    fn leave_all(&mut self, at: &str, keys: &Map<String, Value>) {
        for key in keys.keys() {
            self.leave(&format!("{at}.{key}: has no counterpart"));
        }
    }

    fn leave(&mut self, what: &str) {
        self.left.push(what.to_owned());
    }
}

fn take(from: &mut Map<String, Value>, keys: &[&str]) -> Map<String, Value> {
    let taken = keys
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), from.remove(*key)?)));
    taken.collect()
}
