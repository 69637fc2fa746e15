//! Expressions of rules, in CEL (the Common Expression Language): read, checked and compiled.
//!
//! Taken is the part of the language that a rule needs. What is taken means what it means in
//! CEL; whatever else CEL has is refused here, with what is accepted instead.

mod check;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::fmt;

use crate::model::expression::{When, limits};

/// What is wrong with an expression, and where.
#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    /// Which octet of it.
    at: usize,
    why: String,
}

impl Wrong {
    fn new(at: usize, why: impl Into<String>) -> Self {
        let why = why.into();
        Self { at, why }
    }
}

/// Compiles one; says what is wrong with it where it gives none.
pub(super) fn compile(text: &str) -> Result<When, String> {
    if text.len() > limits::LENGTH {
        let most = limits::LENGTH;
        return Err(format!(
            "is longer than {most} octets; split it into several rules"
        ));
    }
    let compiled = lexer::tokens(text)
        .and_then(parser::parse)
        .and_then(|syntax| check::check(text, &syntax));
    compiled.map_err(|Wrong { at, why }| {
        let character = text.get(..at).map_or(0, |before| before.chars().count()) + 1;
        format!("at character {character}: {why}")
    })
}

/// An expression as it is written.
#[derive(Debug)]
struct Syntax {
    at: usize,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Literal(Literal),
    Name(String),
    /// `a.b`
    Select(Box<Syntax>, String),
    /// `a[b]`
    Index(Box<Syntax>, Box<Syntax>),
    /// `f(…)`, `a.f(…)`
    Call(Option<Box<Syntax>>, String, Vec<Syntax>),
    List(Vec<Syntax>),
    Not(Box<Syntax>),
    /// Two or more, with the same sign between them.
    Chain(Chain, Vec<Syntax>),
    Compare(crate::model::expression::Relation, Box<Syntax>, Box<Syntax>),
    In(Box<Syntax>, Box<Syntax>),
    If(Box<[Syntax; 3]>),
}

type Literal = crate::model::expression::Constant;

/// What stands between the members of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chain {
    And,
    Or,
    Plus,
}

impl fmt::Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::And => "&&",
            Self::Or => "||",
            Self::Plus => "+",
        })
    }
}
