//! What was taken over, as TOML.

use std::path::Path;

use crate::config::document::{Node, Value};
use crate::model::place::Place;

/// The file, while it is written.
#[derive(Default)]
pub(super) struct Written {
    namespaces: String,
    services: String,
}

/// A service, which export of it, and the parameters.
type Bound<'a> = (&'a str, Option<&'a str>, &'a [String]);

impl Written {
    pub(super) fn namespace(&mut self, binding: &str, namespace: &str, bound: Option<Bound<'_>>) {
        let (binding, namespace) = (quoted(binding), quoted(namespace));
        let mut text =
            format!("\n[[dispatch_namespaces]]\nbinding = {binding}\nnamespace = {namespace}\n");
        if let Some((service, entrypoint, parameters)) = bound {
            let mut outbound = toml::Table::new();
            outbound.insert("service".to_owned(), service.into());
            if let Some(entrypoint) = entrypoint {
                outbound.insert("entrypoint".to_owned(), entrypoint.into());
            }
            if !parameters.is_empty() {
                outbound.insert("parameters".to_owned(), parameters.to_vec().into());
            }
            text.push_str(&format!("outbound = {}\n", toml::Value::Table(outbound)));
        }
        self.namespaces.push_str(&text);
    }

    /// The worker that the file has.
    pub(super) fn service(
        &mut self,
        name: &str,
        main: Option<&str>,
        vars: Option<toml::Table>,
        cpu_millis: Option<i64>,
    ) {
        let mut text = format!("\n[services.{}]\n", key(name));
        match main {
            Some(main) => text.push_str(&format!("main = {}\n", quoted(main))),
            None => text.push_str(NO_MODULE),
        }
        if let Some(vars) = vars.filter(|vars| !vars.is_empty()) {
            text.push_str(&format!("vars = {}\n", toml::Value::Table(vars)));
        }
        if let Some(millis) = cpu_millis {
            text.push_str(&format!("limits = {{ cpu = \"{millis}ms\" }}\n"));
        }
        self.services.push_str(&text);
    }

    /// One whose name is all that the file has.
    pub(super) fn elsewhere(&mut self, name: &str) {
        let text = format!(
            "\n# {name} is configured elsewhere: import its own Wrangler file in place of this.\n\
             [services.{}]\n{NO_MODULE}",
            key(name)
        );
        self.services.push_str(&text);
    }

    pub(super) fn text(&self, from: &Path) -> String {
        let from = from.file_name().unwrap_or_default().to_string_lossy();
        let Self {
            namespaces,
            services,
        } = self;
        format!("# From {from:?}, by `outbound import`.\nversion = 1\n{namespaces}{services}")
    }
}

const NO_MODULE: &str = "main = \"egress.js\"            # to be named by you\n";

/// A value of JSON or TOML as one of ours, or the place of what is none.
pub(super) fn value(node: &Node) -> Result<toml::Value, Place> {
    Ok(match &node.value {
        Value::Text(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Boolean(value) => (*value).into(),
        Value::Array(nodes) => {
            let values: Result<Vec<_>, _> = nodes.iter().map(value).collect();
            values?.into()
        }
        Value::Table(table) => {
            let members = table.0.iter();
            let members = members.map(|(name, entry)| Ok((name.clone(), value(&entry.node)?)));
            toml::Value::Table(members.collect::<Result<_, _>>()?)
        }
        Value::Other(text) => match text.replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => number.into(),
            Ok(_) | Err(_) => return Err(node.place.clone()),
        },
    })
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// A key as TOML wants it.
fn key(name: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match !name.is_empty() && name.bytes().all(is_bare) {
        true => name.to_owned(),
        false => quoted(name),
    }
}
