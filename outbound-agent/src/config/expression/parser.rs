//! The grammar of expressions: that of CEL, without what no rule needs.

use super::lexer::{Token, Word};
use super::{Chain, Form, Literal, Syntax, Wrong};
use crate::model::expression::{Relation, limits};

/// Reads a whole expression. How deep it goes is bounded before it goes there.
pub(super) fn parse(tokens: Vec<Token>) -> Result<Syntax, Wrong> {
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
    };
    let syntax = parser.expression()?;
    match parser.peek() {
        Token {
            word: Word::End, ..
        } => Ok(syntax),
        token => Err(unexpected(token, "an operator, as in && or ==")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

const RELATIONS: [Relation; 6] = [
    Relation::Equal,
    Relation::Unequal,
    Relation::Less,
    Relation::AtMost,
    Relation::Greater,
    Relation::AtLeast,
];

fn unexpected(token: &Token, wanted: &str) -> Wrong {
    let found = match &token.word {
        Word::End => "it ends".to_owned(),
        Word::Name(name) => format!("`{name}` stands"),
        Word::Sign(sign) => format!("`{sign}` stands"),
        Word::Int(_) | Word::Double(_) => "a number stands".to_owned(),
        Word::Text(_) => "a text stands".to_owned(),
    };
    Wrong::new(token.at, format!("{found} where {wanted} is expected"))
}

/// Words that stand for nothing, and may not be names.
const RESERVED: [&str; 18] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "in",
    "let",
    "loop",
    "namespace",
    "package",
    "return",
    "var",
    "void",
    "while",
];

fn reserved_word(word: &str) -> String {
    let hint = match word {
        "namespace" => "; did you mean `dispatch_namespace`?",
        _ => "",
    };
    format!("`{word}` is a reserved word of CEL{hint}")
}

impl Parser {
    /// The word that comes next: behind the last is the end, again and again.
    fn peek(&self) -> &Token {
        const END: &Token = &Token {
            at: 0,
            word: Word::End,
        };
        self.tokens
            .get(self.next)
            .or(self.tokens.last())
            .unwrap_or(END)
    }

    fn at(&self) -> usize {
        self.peek().at
    }

    /// Takes a sign where it comes next.
    fn takes(&mut self, sign: &str) -> bool {
        let is_next = matches!(self.peek().word, Word::Sign(next) if next == sign);
        self.next += usize::from(is_next);
        is_next
    }

    fn expect(&mut self, sign: &str) -> Result<(), Wrong> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(unexpected(self.peek(), &format!("`{sign}`")))
    }

    /// One more that stands in another.
    fn deeper(&mut self) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth <= limits::DEPTH {
            return Ok(());
        }
        let most = limits::DEPTH;
        Err(Wrong::new(
            self.at(),
            format!("more than {most} parts stand in one another; split it into several rules"),
        ))
    }

    fn expression(&mut self) -> Result<Syntax, Wrong> {
        self.deeper()?;
        let at = self.at();
        let mut read = self.any()?;
        if self.takes("?") {
            let yes = self.any()?;
            self.expect(":")?;
            let no = self.expression()?;
            let form = Form::If(Box::new([read, yes, no]));
            read = Syntax { at, form };
        }
        self.depth -= 1;
        Ok(read)
    }

    fn any(&mut self) -> Result<Syntax, Wrong> {
        self.chain(Chain::Or, Self::all)
    }

    fn all(&mut self) -> Result<Syntax, Wrong> {
        self.chain(Chain::And, Self::relation)
    }

    fn sum(&mut self) -> Result<Syntax, Wrong> {
        let read = self.chain(Chain::Plus, Self::unary)?;
        if let Token {
            at,
            word: Word::Sign(sign @ ("-" | "*" | "/" | "%")),
        } = *self.peek()
        {
            let why = format!("`{sign}` is not accepted; of the arithmetic only `+` is, for texts");
            return Err(Wrong::new(at, why));
        }
        Ok(read)
    }

    /// One or more, with one sign between them: however many, they do not stand in one another.
    fn chain(
        &mut self,
        chain: Chain,
        member: fn(&mut Self) -> Result<Syntax, Wrong>,
    ) -> Result<Syntax, Wrong> {
        let at = self.at();
        let first = member(self)?;
        let mut members = vec![first];
        while self.takes(&chain.to_string()) {
            members.push(member(self)?);
        }
        if members.len() > 1 {
            let form = Form::Chain(chain, members);
            return Ok(Syntax { at, form });
        }
        members
            .pop()
            .ok_or_else(|| unexpected(self.peek(), "a value"))
    }

    fn relation(&mut self) -> Result<Syntax, Wrong> {
        let at = self.at();
        let left = self.sum()?;
        let relation = RELATIONS
            .into_iter()
            .find(|relation| self.takes(relation.sign()));
        let is_in =
            relation.is_none() && matches!(&self.peek().word, Word::Name(name) if name == "in");
        self.next += usize::from(is_in);
        let form = match relation {
            Some(relation) => {
                let right = self.sum()?;
                Form::Compare(relation, Box::new(left), Box::new(right))
            }
            None if is_in => Form::In(Box::new(left), Box::new(self.sum()?)),
            None => return Ok(left),
        };
        // `a == b == c` is CEL, and hardly ever what is meant.
        match &self.peek().word {
            Word::Sign("==" | "!=" | "<" | "<=" | ">" | ">=") => Err(unexpected(
                self.peek(),
                "&& or ||, or brackets around what is compared first,",
            )),
            Word::Sign(_)
            | Word::End
            | Word::Name(_)
            | Word::Int(_)
            | Word::Double(_)
            | Word::Text(_) => Ok(Syntax { at, form }),
        }
    }

    fn unary(&mut self) -> Result<Syntax, Wrong> {
        let at = self.at();
        if self.takes("!") {
            self.deeper()?;
            let form = Form::Not(Box::new(self.unary()?));
            self.depth -= 1;
            return Ok(Syntax { at, form });
        }
        if self.takes("-") {
            let negative = match self.peek().word {
                Word::Int(number) => Literal::Int(-number),
                Word::Double(number) => Literal::Double(-number),
                Word::Name(_) | Word::Text(_) | Word::Sign(_) | Word::End => {
                    return Err(unexpected(self.peek(), "a number"));
                }
            };
            self.next += 1;
            let form = Form::Literal(negative);
            return Ok(Syntax { at, form });
        }
        self.member()
    }

    fn member(&mut self) -> Result<Syntax, Wrong> {
        let mut read = self.primary()?;
        let depth = self.depth;
        loop {
            let at = self.at();
            let form = if self.takes(".") {
                let name = self.name()?;
                match self.arguments()? {
                    Some(arguments) => Form::Call(Some(Box::new(read)), name, arguments),
                    None => Form::Select(Box::new(read), name),
                }
            } else if self.takes("[") {
                let index = self.expression()?;
                self.expect("]")?;
                Form::Index(Box::new(read), Box::new(index))
            } else {
                self.depth = depth;
                return Ok(read);
            };
            // Each stands around what is before it.
            self.deeper()?;
            read = Syntax { at, form };
        }
    }

    fn name(&mut self) -> Result<String, Wrong> {
        let Word::Name(name) = &self.peek().word else {
            return Err(unexpected(self.peek(), "a name"));
        };
        let name = name.clone();
        self.next += 1;
        Ok(name)
    }

    /// What stands in brackets behind a name, where they do.
    fn arguments(&mut self) -> Result<Option<Vec<Syntax>>, Wrong> {
        if self.takes("(") {
            return self.several(")").map(Some);
        }
        Ok(None)
    }

    /// Expressions with commas between them, up to a bracket.
    fn several(&mut self, end: &str) -> Result<Vec<Syntax>, Wrong> {
        let mut read = Vec::new();
        while !self.takes(end) {
            if !read.is_empty() {
                self.expect(",")?;
            }
            read.push(self.expression()?);
        }
        Ok(read)
    }

    fn primary(&mut self) -> Result<Syntax, Wrong> {
        let token = self.peek().clone();
        let Token { at, word } = &token;
        self.next += 1;
        let form = match word {
            Word::Int(number) => Form::Literal(Literal::Int(*number)),
            Word::Double(number) => Form::Literal(Literal::Double(*number)),
            Word::Text(text) => Form::Literal(Literal::Text(text.clone())),
            Word::Sign("(") => {
                let read = self.expression()?;
                self.expect(")")?;
                return Ok(read);
            }
            Word::Sign("[") => Form::List(self.several("]")?),
            Word::Sign("{") => {
                return Err(Wrong::new(
                    *at,
                    "tables are not accepted; write a list, […]",
                ));
            }
            Word::Name(name) => match (name.as_str(), self.arguments()?) {
                (_, Some(arguments)) => Form::Call(None, name.clone(), arguments),
                ("true", None) => Form::Literal(Literal::Bool(true)),
                ("false", None) => Form::Literal(Literal::Bool(false)),
                ("null", None) => Form::Literal(Literal::Null),
                (reserved, None) if RESERVED.contains(&reserved) => {
                    return Err(Wrong::new(*at, reserved_word(reserved)));
                }
                (_, None) => Form::Name(name.clone()),
            },
            Word::Sign(_) | Word::End => return Err(unexpected(&token, "a value")),
        };
        Ok(Syntax { at: *at, form })
    }
}
