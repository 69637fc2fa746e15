//! The values of expressions, and where they come from.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use http::HeaderMap;
use serde_json::{Map, Value as Json};

use super::super::condition::{Truth, pairs, values_of};
use super::Evaluation;
use crate::model::expression::{Constant, Expression, Fact, Failure, Relation};
use crate::model::host::Host;
use crate::model::worker::Values;

/// Why there is no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// What it depends on is not seen, or not yet.
    Unseen,
    /// There is none.
    Failed(Failure),
}

impl From<Lack> for Truth {
    fn from(lack: Lack) -> Self {
        match lack {
            Lack::Unseen => Self::Unknown,
            Lack::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<Failure> for Lack {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// A value.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Double(f64),
    Text(Cow<'a, str>),
    Texts(Vec<Cow<'a, str>>),
    Constants(&'a [Constant]),
    Headers(&'a HeaderMap),
    Query(Option<&'a str>),
    Array(&'a [Json]),
    Object(&'a Map<String, Json>),
}

impl<'a> From<&'a Constant> for Value<'a> {
    fn from(constant: &'a Constant) -> Self {
        match constant {
            Constant::Null => Self::Null,
            Constant::Bool(is_so) => Self::Bool(*is_so),
            Constant::Int(number) => Self::Int((*number).into()),
            Constant::Double(number) => Self::Double(*number),
            Constant::Text(text) => Self::Text(Cow::Borrowed(text)),
        }
    }
}

impl<'a> From<&'a Json> for Value<'a> {
    fn from(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(is_so) => Self::Bool(*is_so),
            Json::Number(number) => match number.as_i128() {
                Some(whole) => Self::Int(whole),
                None => number.as_f64().map_or(Self::Null, Self::Double),
            },
            Json::String(text) => Self::Text(Cow::Borrowed(text)),
            Json::Array(members) => Self::Array(members),
            Json::Object(members) => Self::Object(members),
        }
    }
}

impl Value<'_> {
    /// How much of it is text.
    pub(super) fn octets(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Texts(texts) => texts.iter().map(|text| text.len()).sum(),
            Self::Query(query) => query.map_or(0, str::len),
            Self::Array(members) => members.len(),
            Self::Object(members) => members.len(),
            Self::Headers(headers) => 16 * headers.len(),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Double(_) | Self::Constants(_) => 0,
        }
    }

    /// As numbers that can be compared.
    #[expect(
        clippy::cast_precision_loss,
        reason = "as CEL compares whole numbers with others"
    )]
    const fn number(&self) -> Option<f64> {
        match self {
            Self::Int(whole) => Some(*whole as f64),
            Self::Double(number) => Some(*number),
            _ => None,
        }
    }
}

/// Values of different types are not equal, and in no order.
pub(super) fn compare(
    relation: Relation,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Result<bool, Lack> {
    match relation {
        Relation::Equal => return Ok(is_equal(left, right)),
        Relation::Unequal => return Ok(!is_equal(left, right)),
        Relation::Less | Relation::AtMost | Relation::Greater | Relation::AtLeast => {}
    }
    let order = order(left, right).ok_or(Failure::WrongType)?;
    Ok(match relation {
        Relation::Less => order.is_lt(),
        Relation::AtMost => order.is_le(),
        Relation::Greater => order.is_gt(),
        Relation::AtLeast => order.is_ge(),
        Relation::Equal | Relation::Unequal => false,
    })
}

fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(one), Value::Text(other)) => Some(one.cmp(other)),
        (Value::Int(one), Value::Int(other)) => Some(one.cmp(other)),
        (Value::Bool(one), Value::Bool(other)) => Some(one.cmp(other)),
        _ => left.number()?.partial_cmp(&right.number()?),
    }
}

fn is_equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Array(one), Value::Array(other)) => one == other,
        (Value::Object(one), Value::Object(other)) => one == other,
        _ => order(left, right) == Some(Ordering::Equal),
    }
}

impl<'a> Evaluation<'a> {
    /// A fact, as far as it is known.
    pub(super) fn fact(self, fact: Fact) -> Result<Value<'a>, Lack> {
        let facts = self.reader.facts;
        let text = |text: &'a str| Ok(Value::Text(Cow::Borrowed(text)));
        let request = || facts.request.as_ref().ok_or(Lack::Unseen);
        let tenant = || facts.tenant.ok_or(Lack::Unseen);
        // A look-up is for every scheme and port.
        let is_lookup = facts.is_foreseen && facts.port == 0;
        match fact {
            Fact::Host => match facts.host {
                // Before its first byte a connection may be for any name.
                Host::Address(_) if facts.is_foreseen => Err(Lack::Unseen),
                Host::Name(name) => text(name),
                Host::Address(address) => Ok(Value::Text(address.to_string().into())),
            },
            Fact::Scheme | Fact::Port if is_lookup => Err(Lack::Unseen),
            Fact::Scheme => text(facts.scheme.label()),
            Fact::Port => Ok(Value::Int(facts.port.into())),
            Fact::Method => text(request()?.method.as_str()),
            Fact::Path => text(self.path.ok_or(Lack::Unseen)?),
            Fact::Query => Ok(Value::Query(request()?.query)),
            Fact::Headers => Ok(Value::Headers(request()?.headers)),
            Fact::Tenant => text(tenant()?.id.as_str()),
            Fact::Namespace => {
                let namespace = tenant()?.namespace.as_ref();
                text(namespace.map_or("", |namespace| &namespace.name))
            }
            Fact::Params => {
                static NONE: LazyLock<Values> = LazyLock::new(Values::new);
                let given = tenant()?.parameters.as_ref();
                Ok(Value::Object(given.map_or(&NONE, |given| given.values())))
            }
            Fact::Executable if facts.executable.is_empty() => Err(Lack::Unseen),
            Fact::Executable => text(facts.executable),
            // Only asked whether it is in a network.
            Fact::Address => Err(Lack::Unseen),
        }
    }

    /// What has to be a text.
    pub(super) fn text(
        self,
        expression: &'a Expression,
        scope: &mut Vec<Value<'a>>,
    ) -> Result<Cow<'a, str>, Lack> {
        match self.value(expression, scope)? {
            Value::Text(text) => Ok(text),
            _ => Err(Failure::WrongType.into()),
        }
    }

    /// A member by its name or number.
    pub(super) fn member(self, of: Value<'a>, key: &Value<'_>) -> Result<Value<'a>, Lack> {
        match (of, key) {
            (table @ (Value::Headers(_) | Value::Query(_)), Value::Text(key)) => {
                let values = self.values(&table, key)?;
                if values.is_empty() {
                    return Err(Failure::NoKey.into());
                }
                Ok(Value::Texts(values))
            }
            (Value::Object(members), Value::Text(key)) => {
                let found = members.get(&**key).ok_or(Failure::NoKey)?;
                Ok(found.into())
            }
            (Value::Texts(mut texts), Value::Int(number)) => {
                let number = place(*number, texts.len())?;
                Ok(Value::Text(texts.swap_remove(number)))
            }
            (Value::Array(members), Value::Int(number)) => {
                Ok((&members[place(*number, members.len())?]).into())
            }
            (Value::Constants(members), Value::Int(number)) => {
                Ok((&members[place(*number, members.len())?]).into())
            }
            _ => Err(Failure::WrongType.into()),
        }
    }

    /// The values of a header or of a key of the query.
    fn values(self, of: &Value<'a>, key: &str) -> Result<Vec<Cow<'a, str>>, Lack> {
        match of {
            Value::Query(query) => {
                self.reader.spend(of.octets())?;
                Ok(values_of(*query, key).collect())
            }
            Value::Headers(headers) => {
                let values = headers.get_all(key).iter().map(|value| {
                    self.reader.spend(value.len())?;
                    let text = value.to_str().map_err(|_no_text| Failure::NoText)?;
                    Ok(Cow::Borrowed(text))
                });
                values.collect()
            }
            _ => Err(Failure::WrongType.into()),
        }
    }

    pub(super) fn has(self, table: &Value<'a>, key: &str) -> Result<bool, Lack> {
        match table {
            Value::Headers(headers) => Ok(headers.contains_key(key)),
            Value::Query(query) => {
                self.reader.spend(table.octets())?;
                Ok(values_of(*query, key).next().is_some())
            }
            Value::Object(members) => Ok(members.contains_key(key)),
            _ => Err(Failure::WrongType.into()),
        }
    }

    pub(super) fn is_in(self, one: &Value<'a>, many: &Value<'a>) -> Result<bool, Lack> {
        self.reader.spend(many.octets())?;
        match (one, many) {
            (Value::Text(key), Value::Headers(_) | Value::Query(_) | Value::Object(_)) => {
                self.has(many, key)
            }
            (_, Value::Texts(_) | Value::Constants(_) | Value::Array(_)) => {
                let mut members = self.members(many.clone())?.into_iter();
                Ok(members.any(|member| is_equal(one, &member)))
            }
            _ => Err(Failure::WrongType.into()),
        }
    }

    pub(super) fn size(self, of: &Value<'a>) -> Result<Value<'a>, Lack> {
        self.reader.spend(of.octets())?;
        let size = match of {
            Value::Text(text) => text.chars().count(),
            Value::Texts(_)
            | Value::Constants(_)
            | Value::Array(_)
            | Value::Headers(_)
            | Value::Query(_) => self.members(of.clone())?.len(),
            Value::Object(members) => members.len(),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) => {
                return Err(Failure::WrongType.into());
            }
        };
        i128::try_from(size)
            .map(Value::Int)
            .map_err(|_too_large| Failure::TooMuch.into())
    }

    /// What a list has in it; of a table its keys, each once.
    pub(super) fn members(self, list: Value<'a>) -> Result<Vec<Value<'a>>, Lack> {
        self.reader.spend(list.octets())?;
        let borrowed = |key: &'a str| Value::Text(Cow::Borrowed(key));
        Ok(match list {
            Value::Texts(texts) => texts.into_iter().map(Value::Text).collect(),
            Value::Constants(constants) => constants.iter().map(Value::from).collect(),
            Value::Array(members) => members.iter().map(Value::from).collect(),
            Value::Object(members) => members.keys().map(|key| borrowed(key)).collect(),
            Value::Headers(headers) => headers.keys().map(|key| borrowed(key.as_str())).collect(),
            Value::Query(query) => {
                let keys: BTreeSet<_> = pairs(query).map(|(key, _value)| key).collect();
                keys.into_iter().map(Value::Text).collect()
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Double(_) | Value::Text(_) => {
                return Err(Failure::WrongType.into());
            }
        })
    }
}

fn place(number: i128, length: usize) -> Result<usize, Failure> {
    let number = usize::try_from(number).ok();
    number
        .filter(|number| *number < length)
        .ok_or(Failure::NoIndex)
}
