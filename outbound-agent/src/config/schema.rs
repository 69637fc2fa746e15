//! The configuration as JSON Schema (draft 2020-12), for editors: `docs/outbound.schema.json`,
//! made of the declarations. It refuses nothing that the agent takes; the agent refuses more.

use serde_json::{Map, Value as Json, json};

use super::raw::{DispatchNamespace, Policy, Service, Set, Tenant, credential};
use super::reference::unindent;
use super::section::{Key, Section, Unwritten};
use super::{AccessLog, Agent, Limits, Resolver, Tls};

/// The whole schema, as it stands in the file.
pub fn text() -> String {
    format!("{:#}", document())
}

fn document() -> Json {
    let credentials = credential::TYPES.iter();
    let credentials = credentials.map(|(_heading, about, keys)| of_keys(about, keys()));
    let credential = json!({ "oneOf": credentials.collect::<Vec<_>>() });
    let mut document = table([
        ("version", json!({ "const": 1 })),
        ("agent", section::<Agent>()),
        ("access_log", section::<AccessLog>()),
        ("resolver", section::<Resolver>()),
        ("limits", section::<Limits>()),
        ("tls", section::<Tls>()),
        ("dispatch_namespaces", array(section::<DispatchNamespace>())),
        ("services", table_of(section::<Service>())),
        ("sets", table_of(section::<Set>())),
        ("policies", table_of(section::<Policy>())),
        ("credentials", table_of(credential)),
        ("tenants", array(section::<Tenant>())),
    ]);
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    document["title"] = "Configuration of Outbound".into();
    document
}

/// A string.
pub(super) fn string() -> Json {
    json!({ "type": "string" })
}

/// An array of such values.
pub(super) fn array(items: Json) -> Json {
    json!({ "type": "array", "items": items })
}

/// A table with these keys and no others.
pub(super) fn table(keys: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
    let keys = keys
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value));
    json!({
        "type": "object",
        "properties": keys.collect::<Map<_, _>>(),
        "additionalProperties": false,
    })
}

/// A table from names to such values.
pub(super) fn table_of(values: Json) -> Json {
    json!({ "type": "object", "additionalProperties": values })
}

/// A declared table.
pub(super) fn section<S: Section>() -> Json {
    of_keys(S::ABOUT, S::keys())
}

fn of_keys(about: &str, keys: Vec<Key>) -> Json {
    let required = keys
        .iter()
        .filter(|key| matches!(key.unwritten, Unwritten::Refused));
    let required: Vec<Json> = required.map(|key| key.name.into()).collect();
    let mut section = table(keys.into_iter().map(|key| (key.name, of_key(key))));
    section["description"] = unindent(about).into();
    if !required.is_empty() {
        section["required"] = required.into();
    }
    section
}

fn of_key(key: Key) -> Json {
    let mut schema = key.schema;
    let (about, accepted) = (unindent(key.about), key.accepted);
    schema["description"] = format!("{about}\n\nWrite {accepted}.").into();
    if let Unwritten::Default(default) = &key.unwritten
        && let Some(default) = of_toml(default)
    {
        schema["default"] = default;
    }
    schema
}

/// A value as the file would have it.
fn of_toml(value: &str) -> Option<Json> {
    let table: toml::Table = toml::from_str(&format!("value = {value}")).ok()?;
    serde_json::to_value(table.get("value")?).ok()
}
