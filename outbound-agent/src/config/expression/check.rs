//! The types of expressions: every name, function and operand is checked when the file is read.

mod call;

use std::fmt;

use ipnet::IpNet;

#[cfg(test)]
pub(super) use self::call::FUNCTIONS;
use super::{Chain, Form, Literal, Syntax, Wrong};
use crate::config::section::nearest;
use crate::model::expression::{Constant, Expression, Fact, Relation, When};

/// Compiles an expression that is true or false.
pub(super) fn check(text: &str, syntax: &Syntax) -> Result<When, Wrong> {
    let mut checker = Checker::default();
    let root = checker.condition(syntax, "the whole expression")?;
    Ok(When {
        text: text.into(),
        root,
        facts: checker.facts.into(),
        networks: checker.networks.into(),
    })
}

/// What a value is known to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Null,
    Bool,
    Int,
    Double,
    Text,
    /// A list of texts.
    Texts,
    /// A list of numbers.
    Ints,
    /// A table from texts to lists of texts.
    Table,
    /// What a dispatch gave: of what type, only the request shows.
    Any,
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Int | Self::Double => "a number",
            Self::Text => "a text",
            Self::Texts => "a list of texts",
            Self::Ints => "a list of numbers",
            Self::Table => "a table of lists of texts",
            Self::Any => "a parameter",
        })
    }
}

impl Type {
    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    /// Whether it is this, as far as is known.
    fn may_be(self, wanted: Self) -> bool {
        self == wanted || self == Self::Any || (self.is_number() && wanted.is_number())
    }

    /// What a list or a table has in it: of a table its keys.
    const fn member(self) -> Option<Self> {
        match self {
            Self::Texts | Self::Table => Some(Self::Text),
            Self::Ints => Some(Self::Int),
            Self::Any => Some(Self::Any),
            Self::Null | Self::Bool | Self::Int | Self::Double | Self::Text => None,
        }
    }
}

/// The type of a fact; none of what only one function takes.
const fn type_of(fact: Fact) -> Option<Type> {
    match fact {
        Fact::Host
        | Fact::Scheme
        | Fact::Method
        | Fact::Path
        | Fact::Tenant
        | Fact::Namespace
        | Fact::Executable => Some(Type::Text),
        Fact::Port => Some(Type::Int),
        Fact::Query | Fact::Headers => Some(Type::Table),
        Fact::Params => Some(Type::Any),
        Fact::Address => None,
    }
}

type Typed = (Expression, Type);

#[derive(Default)]
struct Checker {
    facts: Vec<Fact>,
    networks: Vec<IpNet>,
    /// What macros look at, the outermost first.
    variables: Vec<(String, Type)>,
}

impl Checker {
    fn expression(&mut self, syntax: &Syntax) -> Result<Typed, Wrong> {
        let at = syntax.at;
        match &syntax.form {
            Form::Literal(literal) => Ok(self::literal(literal)),
            Form::Name(name) => self.name(at, name),
            Form::Select(of, name) => {
                let key = Expression::Constant(Constant::Text(name.as_str().into()));
                self.member(of, key, at)
            }
            Form::Index(of, index) => self.index(of, index),
            Form::Call(target, name, arguments) => {
                self.call(at, target.as_deref(), name, arguments)
            }
            Form::List(members) => list(at, members),
            Form::Not(of) => {
                let of = self.condition(of, "what stands behind `!`")?;
                Ok((Expression::Not(Box::new(of)), Type::Bool))
            }
            Form::Chain(Chain::Plus, members) => self.join(members),
            Form::Chain(chain, members) => {
                let side = format!("what stands beside `{chain}`");
                let members = members.iter().map(|member| self.condition(member, &side));
                let members: Box<[_]> = members.collect::<Result<_, _>>()?;
                let chained = match chain {
                    Chain::And | Chain::Plus => Expression::All(members),
                    Chain::Or => Expression::Any(members),
                };
                Ok((chained, Type::Bool))
            }
            Form::Compare(relation, left, right) => self.compare(at, *relation, left, right),
            Form::In(one, many) => self.membership(at, one, many),
            Form::If(parts) => self.choice(at, parts),
        }
    }

    /// What has to be true or false.
    fn condition(&mut self, syntax: &Syntax, what: &str) -> Result<Expression, Wrong> {
        self.of_type(syntax, Type::Bool, what)
    }

    fn of_type(&mut self, syntax: &Syntax, wanted: Type, what: &str) -> Result<Expression, Wrong> {
        let (expression, found) = self.expression(syntax)?;
        if found.may_be(wanted) {
            return Ok(expression);
        }
        let why = format!("{what} has to be {wanted}, and is {found}");
        Err(Wrong::new(syntax.at, why))
    }

    fn name(&mut self, at: usize, name: &str) -> Result<Typed, Wrong> {
        // What a macro names hides what is around it.
        let variable = self.variables.iter().rposition(|(known, _)| known == name);
        if let Some(depth) = variable {
            return Ok((Expression::Variable(depth), self.variables[depth].1));
        }
        let mut facts = Fact::ALL.iter();
        let Some(fact) = facts.find(|fact| fact.label() == name).copied() else {
            let known: Vec<_> = Fact::ALL.iter().map(|fact| fact.label()).collect();
            let hint = match nearest(name, &known) {
                Some(nearest) => format!("did you mean `{nearest}`?"),
                None => format!("there is {}", known.join(", ")),
            };
            return Err(Wrong::new(at, format!("`{name}` is not known; {hint}")));
        };
        let Some(known) = type_of(fact) else {
            let why = "`address` is only for cidr('192.0.2.0/24').containsIP(address)";
            return Err(Wrong::new(at, why));
        };
        self.ask(fact);
        Ok((Expression::Fact(fact), known))
    }

    fn ask(&mut self, fact: Fact) {
        if !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    fn member(&mut self, of: &Syntax, key: Expression, at: usize) -> Result<Typed, Wrong> {
        let (of, found) = self.expression(of)?;
        let member = match found {
            Type::Table => Type::Texts,
            Type::Any => Type::Any,
            Type::Null
            | Type::Bool
            | Type::Int
            | Type::Double
            | Type::Text
            | Type::Texts
            | Type::Ints => {
                return Err(Wrong::new(at, format!("{found} has no members with names")));
            }
        };
        Ok((Expression::Member(Box::new([of, key])), member))
    }

    fn index(&mut self, of: &Syntax, index: &Syntax) -> Result<Typed, Wrong> {
        let (list, found) = self.expression(of)?;
        let (wanted, member) = match found {
            Type::Table => (Type::Text, Type::Texts),
            Type::Texts => (Type::Int, Type::Text),
            Type::Ints => (Type::Int, Type::Int),
            Type::Any => {
                let (index, kind) = self.expression(index)?;
                let is_index = kind.may_be(Type::Text) || kind == Type::Int;
                if !is_index {
                    let why = format!("an index has to be a text or a number, and is {kind}");
                    return Err(Wrong::new(of.at, why));
                }
                return Ok((Expression::Member(Box::new([list, index])), Type::Any));
            }
            Type::Null | Type::Bool | Type::Int | Type::Double | Type::Text => {
                return Err(Wrong::new(of.at, format!("{found} has no members")));
            }
        };
        let index = self.of_type(index, wanted, "the index")?;
        Ok((Expression::Member(Box::new([list, index])), member))
    }

    /// Texts one behind the other.
    fn join(&mut self, members: &[Syntax]) -> Result<Typed, Wrong> {
        let members = members.iter();
        let members =
            members.map(|member| self.of_type(member, Type::Text, "what is put together"));
        let members = members.collect::<Result<_, _>>()?;
        Ok((Expression::Join(members), Type::Text))
    }

    fn compare(
        &mut self,
        at: usize,
        relation: Relation,
        left: &Syntax,
        right: &Syntax,
    ) -> Result<Typed, Wrong> {
        let (left, one) = self.expression(left)?;
        let (right, other) = self.expression(right)?;
        let is_scalar = |of: Type| of.member().is_none() || of == Type::Any;
        let is_ordered = |of: Type| of.may_be(Type::Text) || of.may_be(Type::Int);
        let fits = one.may_be(other) || other.may_be(one);
        let is_taken = match relation {
            Relation::Equal | Relation::Unequal => fits && is_scalar(one) && is_scalar(other),
            Relation::Less | Relation::AtMost | Relation::Greater | Relation::AtLeast => {
                fits && is_ordered(one) && is_ordered(other)
            }
        };
        if !is_taken {
            let sign = relation.sign();
            let why = format!("`{sign}` compares two texts or two numbers, not {one} and {other}");
            return Err(Wrong::new(at, why));
        }
        Ok((
            Expression::Compare(relation, Box::new([left, right])),
            Type::Bool,
        ))
    }

    fn membership(&mut self, at: usize, one: &Syntax, many: &Syntax) -> Result<Typed, Wrong> {
        let (one, kind) = self.expression(one)?;
        let (many, found) = self.expression(many)?;
        let fits = found.member().is_some_and(|member| {
            kind.may_be(member) || (member == Type::Any && kind.member().is_none())
        });
        if !fits {
            let why = format!(
                "`in` asks whether a list has a value or a table a key, not {kind} in {found}"
            );
            return Err(Wrong::new(at, why));
        }
        Ok((Expression::In(Box::new([one, many])), Type::Bool))
    }

    fn choice(&mut self, at: usize, parts: &[Syntax; 3]) -> Result<Typed, Wrong> {
        let [condition, yes, no] = parts;
        let condition = self.condition(condition, "what stands before `?`")?;
        let ((yes, one), (no, other)) = (self.expression(yes)?, self.expression(no)?);
        let kind = match (one, other) {
            _ if one == other => one,
            (Type::Any, other) => other,
            (one, Type::Any) => one,
            _ => {
                let why = format!("both sides of `:` have to be alike, not {one} and {other}");
                return Err(Wrong::new(at, why));
            }
        };
        // What only may be of that type is not known to be.
        let kind = if one == other { kind } else { Type::Any };
        Ok((Expression::If(Box::new([condition, yes, no])), kind))
    }
}

fn literal(literal: &Literal) -> Typed {
    let kind = match literal {
        Constant::Null => Type::Null,
        Constant::Bool(_) => Type::Bool,
        Constant::Int(_) => Type::Int,
        Constant::Double(_) => Type::Double,
        Constant::Text(_) => Type::Text,
    };
    (Expression::Constant(literal.clone()), kind)
}

fn list(at: usize, members: &[Syntax]) -> Result<Typed, Wrong> {
    let mut constants = Vec::new();
    for member in members {
        match &member.form {
            Form::Literal(constant @ (Constant::Int(_) | Constant::Text(_))) => {
                constants.push(constant.clone());
            }
            _ => {
                let why = "a list has texts or whole numbers in it, as they are";
                return Err(Wrong::new(member.at, why));
            }
        }
    }
    let is_text = |constant: &Constant| matches!(constant, Constant::Text(_));
    let texts = constants
        .iter()
        .filter(|constant| is_text(constant))
        .count();
    let kind = match texts {
        _ if constants.is_empty() => {
            return Err(Wrong::new(
                at,
                "a list without members has nothing to ask for",
            ));
        }
        0 => Type::Ints,
        all if all == constants.len() => Type::Texts,
        _ => {
            return Err(Wrong::new(
                at,
                "a list has texts or numbers in it, not both",
            ));
        }
    };
    Ok((Expression::List(constants.into()), kind))
}
