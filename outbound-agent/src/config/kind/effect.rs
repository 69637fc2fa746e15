//! The kinds of value that say what a rule does to what it allows.

use http::HeaderValue;
use serde_json::{Value as Json, json};

use super::{HeaderText, Kind, TextKind, refuse};
use crate::config::document::{Node, Value};
use crate::config::problem::{KeyPath, Problems};
use crate::config::schema;
use crate::model::rule::{Edit, PathRewrite};

/// A path that stands in the place of another.
fn new_path(text: &str) -> Option<Box<str>> {
    let is_path = text
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'?' | b'#' | b'\\'));
    (text.starts_with('/') && is_path).then(|| text.into())
}

/// Changes of headers: `{ set = { name = "value" }, append = { … }, remove = ["name"] }`.
pub(in crate::config) struct Edits;

impl Kind for Edits {
    type Out = Vec<Edit>;

    fn accepted() -> String {
        "a table, as in { set = { x-env = \"prod\" }, append = { via = \"1.1 edge\" }, remove = [\"cookie\"] }".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Vec<Edit>> {
        let Value::Table(table) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        let mut edits = Vec::new();
        for (key, entry) in &table.0 {
            let path = KeyPath::Key(path, key);
            match (key.as_str(), &entry.node.value) {
                ("set" | "append", Value::Table(values)) => {
                    for (name, value) in &values.0 {
                        let path = KeyPath::Key(&path, name);
                        let Some(edit) = edit(key == "set", name, &value.node) else {
                            let shown = value.node.shown();
                            let accepted = HeaderText::ACCEPTED;
                            let message = format!(
                                "{shown} is not accepted; write {accepted}, and a text for its value"
                            );
                            problems.add(&value.place, path, message);
                            continue;
                        };
                        edits.push(edit);
                    }
                }
                ("remove", Value::Array(names)) => {
                    for (index, node) in names.iter().enumerate() {
                        let path = KeyPath::Index(&path, index);
                        let name = HeaderText::read(node, &path, problems);
                        edits.extend(name.map(Edit::Remove));
                    }
                }
                _ => refuse::<Self>(&entry.node, &path, problems),
            }
        }
        // What is removed is gone before what is added comes.
        edits.sort_by_key(|edit| !matches!(edit, Edit::Remove(_)));
        Some(edits)
    }

    fn show(value: &Vec<Edit>) -> Option<String> {
        value.is_empty().then(|| "{}".to_owned())
    }

    fn schema() -> Json {
        let values = schema::table_of(schema::string());
        let names = schema::array(schema::string());
        schema::table([
            ("set", values.clone()),
            ("append", values),
            ("remove", names),
        ])
    }
}

fn edit(sets: bool, name: &str, value: &Node) -> Option<Edit> {
    let Value::Text(value) = &value.value else {
        return None;
    };
    let name = HeaderText::parse(name).ok()?;
    let value = HeaderValue::from_str(value).ok()?;
    Some(match sets {
        true => Edit::Set(name, value),
        false => Edit::Append(name, value),
    })
}

/// Another path: the whole of it, or `{ prefix = "/a", with = "/b" }`.
pub(in crate::config) struct PathChange;

impl Kind for PathChange {
    type Out = PathRewrite;

    fn accepted() -> String {
        "the whole path, as in \"/v2/status\", or { prefix = \"/v1\", with = \"/v2\" }".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<PathRewrite> {
        let text = |value: &Value| match value {
            Value::Text(text) => new_path(text),
            Value::Integer(_)
            | Value::Boolean(_)
            | Value::Array(_)
            | Value::Table(_)
            | Value::Other(_) => None,
        };
        let read = match &node.value {
            Value::Table(table) if table.0.len() == 2 => {
                let member = |key: &str| text(&table.0.get(key)?.node.value);
                member("prefix")
                    .zip(member("with"))
                    .map(|(prefix, with)| PathRewrite { prefix, with })
            }
            whole => text(whole).map(|with| PathRewrite {
                prefix: Box::default(),
                with,
            }),
        };
        if read.is_none() {
            refuse::<Self>(node, path, problems);
        }
        read
    }

    fn show(_value: &PathRewrite) -> Option<String> {
        None
    }

    fn schema() -> Json {
        let parts = [("prefix", schema::string()), ("with", schema::string())];
        let mut part = schema::table(parts);
        part["required"] = json!(["prefix", "with"]);
        json!({ "anyOf": [schema::string(), part] })
    }
}

/// How often: `10/s`, `600/m`, `1000/h`.
pub(in crate::config) struct RateText;

impl TextKind for RateText {
    type Out = f64;
    const ACCEPTED: &str =
        "how many in a second, a minute or an hour, as in \"10/s\", \"600/m\" or \"1000/h\"";

    fn parse(text: &str) -> Result<f64, Option<String>> {
        let (number, unit) = text.split_once('/').ok_or(None)?;
        let seconds = match unit {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(None),
        };
        let number = number.parse::<u32>().map_err(|_invalid| None)?;
        let rate = f64::from(number) / seconds;
        if number == 0 { Err(None) } else { Ok(rate) }
    }

    fn show(value: &f64) -> String {
        format!("{value}/s")
    }
}
