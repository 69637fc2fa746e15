//! JSON with comments and trailing commas, as the same tree.

use std::path::Path;

use jsonc_parser::ast::{Object, Value as Parsed};
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{Entry, Node, Source, Table, Value};
use crate::config::problem::{KeyPath, Problems};

impl Table {
    /// Reads one file of JSON.
    pub(in crate::config) fn parse_jsonc(text: &str, file: &Path, problems: &mut Problems) -> Self {
        let source = Source::new(text, file);
        let parsed = parse_to_ast(text, &CollectOptions::default(), &JSONC);
        let place = |range: jsonc_parser::common::Range| source.place(&(range.start..range.end));
        match parsed {
            Err(error) => {
                let message = error.kind().to_string();
                problems.add(&place(error.range()), KeyPath::Top, message);
                Self::default()
            }
            Ok(parsed) => match parsed.value {
                Some(Parsed::Object(object)) => source.object(&object, &KeyPath::Top, problems),
                Some(other) => {
                    let message = "the file has to be one object";
                    problems.add(&place(other.range()), KeyPath::Top, message);
                    Self::default()
                }
                None => Self::default(),
            },
        }
    }
}

/// Comments and trailing commas, as Wrangler reads them; otherwise JSON.
const JSONC: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_trailing_commas: true,
    allow_loose_object_property_names: false,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
};

impl Source<'_> {
    fn object(&self, object: &Object<'_>, path: &KeyPath<'_>, problems: &mut Problems) -> Table {
        let mut table = Table::default();
        for property in &object.properties {
            let name = property.name.as_str().to_owned();
            let range = property.name.range();
            let place = self.place(&(range.start..range.end));
            let path = KeyPath::Key(path, &name);
            let node = self.parsed(&property.value, &path, problems);
            let entry = Entry {
                place: place.clone(),
                node,
            };
            if let Some(first) = table.0.insert(name.clone(), entry) {
                let message = format!("is also written at {}; write it once", first.place);
                problems.add(&place, path, message);
            }
        }
        table
    }

    fn parsed(&self, parsed: &Parsed<'_>, path: &KeyPath<'_>, problems: &mut Problems) -> Node {
        let range = parsed.range();
        let value = match parsed {
            Parsed::StringLit(text) => Value::Text(text.value.to_string()),
            Parsed::NumberLit(number) => match number.value.parse() {
                Ok(number) => Value::Integer(number),
                Err(_fraction) => Value::Other(number.value.to_owned()),
            },
            Parsed::BooleanLit(literal) => Value::Boolean(literal.value),
            Parsed::Object(object) => Value::Table(self.object(object, path, problems)),
            Parsed::Array(array) => {
                let nodes = array.elements.iter().enumerate().map(|(index, element)| {
                    self.parsed(element, &KeyPath::Index(path, index), problems)
                });
                Value::Array(nodes.collect())
            }
            Parsed::NullKeyword(_) => Value::Other("null".to_owned()),
        };
        Node {
            place: self.place(&(range.start..range.end)),
            value,
        }
    }
}
