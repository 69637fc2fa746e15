//! Texts and claims with places that each tenant fills: `{tenant}` and `{params.NAME}`.

use std::fmt;

use serde_json::{Map, Value};

use super::tenant::TenantId;

/// Whose request it is, as far as a template may say it.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// Its dispatch parameters.
    pub parameters: &'a Map<String, Value>,
}

/// A text with places to fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Tenant,
    Parameter(Parameter),
}

/// `params.a.b`: the member `b` of the parameter `a`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Parameter(Box<str>);

/// A value with places to fill.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// The same for everybody.
    Fixed(Value),
    /// A text; one that is a single place takes the parameter as it is, also a number or a table.
    Text(Template),
    /// A list of them.
    List(Vec<Self>),
    /// A table of them.
    Table(Claims),
}

/// Names and values with places to fill.
pub type Claims = Vec<(Box<str>, Claim)>;

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// What stands in braces means nothing.
    #[error(
        "`{{{0}}}` is no place to fill; write {{tenant}} or {{params.NAME}}, and {{{{ for a brace"
    )]
    Unknown(String),
    /// A brace without the other.
    #[error("a brace stands alone; write {{{{ or }}}} for one that is meant")]
    Brace,
}

/// Why a template cannot be filled for a tenant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The tenant has no such parameter.
    #[error("the tenant has no parameter `params.{0}`")]
    Missing(Box<str>),
    /// The parameter is no text.
    #[error("the parameter `params.{0}` is a list or a table, which no text can take")]
    NoText(Box<str>),
}

impl Template {
    /// Reads a text with `{tenant}` and `{params.NAME}` in it; `{{` and `}}` are braces.
    pub fn new(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(behind) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = behind;
                continue;
            }
            let Some((name, behind)) = rest.split_once('}').filter(|_| brace == "{") else {
                return Err(TemplateError::Brace);
            };
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain).into()));
            }
            pieces.push(Piece::named(name)?);
            rest = behind;
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.into()));
        }
        Ok(Self(pieces))
    }

    /// The text for one tenant.
    pub fn fill(&self, subject: Subject<'_>) -> Result<String, FillError> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Tenant => filled.push_str(subject.tenant.as_str()),
                Piece::Parameter(parameter) => filled.push_str(&parameter.text(subject)?),
            }
        }
        Ok(filled)
    }
}

impl fmt::Display for Template {
    /// As it would be written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => f.write_str(&text.replace('{', "{{").replace('}', "}}"))?,
                Piece::Tenant => f.write_str("{tenant}")?,
                Piece::Parameter(Parameter(path)) => write!(f, "{{params.{path}}}")?,
            }
        }
        Ok(())
    }
}

impl Piece {
    fn named(name: &str) -> Result<Self, TemplateError> {
        match (name, name.strip_prefix("params.")) {
            ("tenant", _) => Ok(Self::Tenant),
            (_, Some(path)) if path.split('.').all(|part| !part.is_empty()) => {
                Ok(Self::Parameter(Parameter(path.into())))
            }
            _ => Err(TemplateError::Unknown(name.to_owned())),
        }
    }
}

impl Parameter {
    fn value<'a>(&self, subject: Subject<'a>) -> Result<&'a Value, FillError> {
        let mut parts = self.0.split('.');
        let first = parts.next().and_then(|name| subject.parameters.get(name));
        let found = parts.fold(first, |value, name| value?.get(name));
        found.ok_or_else(|| FillError::Missing(self.0.clone()))
    }

    fn text(&self, subject: Subject<'_>) -> Result<String, FillError> {
        match self.value(subject)? {
            Value::String(text) => Ok(text.clone()),
            scalar @ (Value::Number(_) | Value::Bool(_)) => Ok(scalar.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => {
                Err(FillError::NoText(self.0.clone()))
            }
        }
    }
}

impl Claim {
    /// The value for one tenant.
    pub fn fill(&self, subject: Subject<'_>) -> Result<Value, FillError> {
        match self {
            Self::Fixed(value) => Ok(value.clone()),
            Self::Text(template) => match &template.0[..] {
                [Piece::Parameter(parameter)] => parameter.value(subject).cloned(),
                _ => template.fill(subject).map(Value::String),
            },
            Self::List(claims) => claims.iter().map(|claim| claim.fill(subject)).collect(),
            Self::Table(claims) => fill(claims, subject).map(Value::Object),
        }
    }
}

/// The values for one tenant.
pub fn fill(claims: &Claims, subject: Subject<'_>) -> Result<Map<String, Value>, FillError> {
    let filled = |(name, claim): &(Box<str>, Claim)| Ok((name.to_string(), claim.fill(subject)?));
    claims.iter().map(filled).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(text: &str) -> Result<Value, FillError> {
        let parameters = json!({ "a": { "b": "x", "n": 7, "l": [1] }, "t": true });
        let subject = Subject {
            tenant: &TenantId::new("acme").unwrap(),
            parameters: parameters.as_object().unwrap(),
        };
        Claim::Text(Template::new(text).unwrap()).fill(subject)
    }

    #[test]
    fn places_are_filled_from_tenant_and_parameters() {
        for (text, expected) in [
            ("{tenant}", json!("acme")),
            ("t-{tenant}/{params.a.b}", json!("t-acme/x")),
            ("{params.a.n}", json!(7)),
            ("n{params.a.n}{params.t}", json!("n7true")),
            ("{params.a}", json!({ "b": "x", "n": 7, "l": [1] })),
            ("{{tenant}} }}", json!("{tenant} }")),
            ("", json!("")),
        ] {
            assert_eq!(filled(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_parameter_that_is_not_there_fills_nothing() {
        assert_eq!(
            filled("{params.a.c}"),
            Err(FillError::Missing("a.c".into()))
        );
        assert_eq!(
            filled("{params.t.x}"),
            Err(FillError::Missing("t.x".into()))
        );
        assert_eq!(
            filled("x{params.a.l}"),
            Err(FillError::NoText("a.l".into()))
        );
    }

    #[test]
    fn what_means_nothing_is_no_template() {
        for (text, error) in [
            ("{host}", TemplateError::Unknown("host".to_owned())),
            ("{params.}", TemplateError::Unknown("params.".to_owned())),
            ("a}b", TemplateError::Brace),
            ("{tenant", TemplateError::Brace),
        ] {
            assert_eq!(Template::new(text), Err(error), "{text}");
        }
    }
}
