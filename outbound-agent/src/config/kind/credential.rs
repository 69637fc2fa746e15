//! Kinds that credentials are written with.

use http::uri::PathAndQuery;
use http::{Method, Uri};
use serde_json::{Number, Value as Json};

use super::{Kind, TextKind, refuse};
use crate::config::document::{Node, Table, Value};
use crate::config::problem::{KeyPath, Problems};
use crate::config::schema;
use crate::model::credential::Endpoint;
use crate::model::host::Host;
use crate::model::pattern::PathPattern;
use crate::model::template::{Claim, Claims, Template};

/// A method of HTTP.
pub(in crate::config) struct MethodText;

impl TextKind for MethodText {
    type Out = Method;
    const ACCEPTED: &str = "a method in capitals, as in \"GET\"";

    fn parse(text: &str) -> Result<Method, Option<String>> {
        // Methods are compared with their case (RFC 9110 section 9.1): `get` would never match.
        if text.bytes().any(|b| b.is_ascii_lowercase()) {
            return Err(None);
        }
        Method::from_bytes(text.as_bytes()).map_err(|_invalid| None)
    }

    fn show(value: &Method) -> String {
        value.to_string()
    }
}

/// A pattern of paths.
pub(in crate::config) struct PathPatternText;

impl TextKind for PathPatternText {
    type Out = PathPattern;
    const ACCEPTED: &str = "a path from `/` on, in which `*` is any part of a segment and `**` any number of segments, as in \"/repos/**\"";

    fn parse(text: &str) -> Result<PathPattern, Option<String>> {
        PathPattern::new(text).ok_or(None)
    }

    fn show(value: &PathPattern) -> String {
        value.to_string()
    }
}

/// The user of Basic.
pub(in crate::config) struct UsernameText;

impl TextKind for UsernameText {
    type Out = String;
    const ACCEPTED: &str = "a user's name without `:` and control characters (RFC 7617)";

    fn parse(text: &str) -> Result<String, Option<String>> {
        if text.contains(':') || text.chars().any(char::is_control) {
            return Err(None);
        }
        Ok(text.to_owned())
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

/// What a tenant holds in a secret's place.
pub(in crate::config) struct PlaceholderText;

impl TextKind for PlaceholderText {
    type Out = String;
    const ACCEPTED: &str = "8 to 256 letters, digits, `-`, `.`, `_` or `~`, which nothing encodes";

    fn parse(text: &str) -> Result<String, Option<String>> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
        let fits = (8..=256).contains(&text.len()) && text.bytes().all(is_plain);
        if fits { Ok(text.to_owned()) } else { Err(None) }
    }

    fn show(value: &String) -> String {
        value.clone()
    }
}

/// A text that each tenant fills.
pub(in crate::config) struct TemplateText;

impl TextKind for TemplateText {
    type Out = Template;
    const ACCEPTED: &str = "a string, which may have {tenant} and {params.NAME} in it";

    fn parse(text: &str) -> Result<Template, Option<String>> {
        Template::new(text).map_err(|why| Some(why.to_string()))
    }

    fn show(value: &Template) -> String {
        value.to_string()
    }
}

/// A URL that the agent itself asks.
pub(in crate::config) struct EndpointText;

impl TextKind for EndpointText {
    type Out = Endpoint;
    const ACCEPTED: &str =
        "a URL of https without user and fragment, as in \"https://login.example.com/token\"";

    fn parse(text: &str) -> Result<Endpoint, Option<String>> {
        let url: Uri = text.parse().map_err(|_invalid| None)?;
        let (Some("https"), Some(authority)) = (url.scheme_str(), url.authority()) else {
            return Err(None);
        };
        if authority.as_str().contains('@') || text.contains('#') {
            return Err(None);
        }
        let host = authority.host().parse::<Host>();
        let path = url.path_and_query().cloned();
        Ok(Endpoint {
            host: host.map_err(|why| Some(why.to_string()))?,
            port: authority.port_u16().unwrap_or(443),
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }

    fn show(value: &Endpoint) -> String {
        format!("https://{}:{}{}", value.host, value.port, value.path)
    }
}

/// The claims of a token.
pub(in crate::config) struct ClaimTable;

impl Kind for ClaimTable {
    type Out = Claims;

    fn accepted() -> String {
        "a table, as in { sub = \"{tenant}\", customer = \"{params.customer}\" }".to_owned()
    }

    fn read(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Claims> {
        let Value::Table(table) = &node.value else {
            refuse::<Self>(node, path, problems);
            return None;
        };
        for name in ["iat", "exp"] {
            if let Some(entry) = table.0.get(name) {
                let message = "is the agent's: it follows from `ttl`";
                problems.add(&entry.place, KeyPath::Key(path, name), message);
            }
        }
        claims(table, path, problems)
    }

    fn show(value: &Claims) -> Option<String> {
        value.is_empty().then(|| "{}".to_owned())
    }

    fn schema() -> Json {
        schema::table_of(true.into())
    }
}

fn claims(table: &Table, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Claims> {
    let read = |(name, entry): (&String, &crate::config::document::Entry)| {
        let claim = claim(&entry.node, &KeyPath::Key(path, name), problems)?;
        Some((name.as_str().into(), claim))
    };
    // All of them first: each says what is wrong with it.
    let read: Vec<_> = table.0.iter().map(read).collect();
    read.into_iter().collect()
}

fn claim(node: &Node, path: &KeyPath<'_>, problems: &mut Problems) -> Option<Claim> {
    match &node.value {
        Value::Text(text) => match Template::new(text) {
            Ok(template) => Some(Claim::Text(template)),
            Err(why) => {
                problems.add(&node.place, path, format!("{text:?}: {why}"));
                None
            }
        },
        Value::Integer(number) => Some(Claim::Fixed((*number).into())),
        Value::Boolean(value) => Some(Claim::Fixed((*value).into())),
        Value::Array(nodes) => {
            let nodes = nodes.iter().enumerate();
            let read: Vec<_> = nodes
                .map(|(index, node)| claim(node, &KeyPath::Index(path, index), problems))
                .collect();
            read.into_iter().collect::<Option<_>>().map(Claim::List)
        }
        Value::Table(table) => claims(table, path, problems).map(Claim::Table),
        Value::Other(text) => {
            let number = text.parse().ok().and_then(Number::from_f64);
            if number.is_none() {
                let message = format!("{text} is no value of a token; write it as a string");
                problems.add(&node.place, path, message);
            }
            number.map(|number| Claim::Fixed(Json::Number(number)))
        }
    }
}
