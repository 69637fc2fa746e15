//! `When`: what a rule asks in an expression of CEL, checked and compiled. How much one costs is
//! bounded by its size and by what it is asked about; [`LIMITS`](limits) says what is too much.

pub mod automaton;

use std::fmt;

use ipnet::IpNet;

use self::automaton::Automaton;
use super::reason::closed_list;

closed_list! {
    /// What an expression may ask about.
    Fact {
        /// With whom, in canonical form.
        Host = "host",
        /// On which port.
        Port = "port",
        /// What is spoken.
        Scheme = "scheme",
        /// The request's method.
        Method = "method",
        /// The request's path, decoded, without its query.
        Path = "path",
        /// The request's query: of each key its values.
        Query = "query",
        /// The request's headers: of each name its values.
        Headers = "headers",
        /// What is dialled.
        Address = "address",
        /// Whose it is.
        Tenant = "tenant",
        /// The namespace that its tenant is in; `namespace` is a reserved word of CEL.
        Namespace = "dispatch_namespace",
        /// What the dispatch of its tenant gave.
        Params = "params",
        /// The name of the process.
        Executable = "executable",
    }
}

impl Fact {
    /// Whether only a request has it.
    pub const fn needs_request(self) -> bool {
        match self {
            Self::Method | Self::Path | Self::Query | Self::Headers => true,
            Self::Host
            | Self::Port
            | Self::Scheme
            | Self::Address
            | Self::Tenant
            | Self::Namespace
            | Self::Params
            | Self::Executable => false,
        }
    }
}

/// What a rule asks beside its other keys.
#[derive(Debug)]
pub struct When {
    /// As it is written.
    pub text: Box<str>,
    /// What it says, of a type that can be true.
    pub root: Expression,
    /// Every fact that it asks about.
    pub facts: Box<[Fact]>,
    /// What it asks of the address, which is known last: whether it is in these.
    pub networks: Box<[IpNet]>,
}

impl When {
    /// Whether only a request can meet it.
    pub fn needs_request(&self) -> bool {
        self.facts.iter().any(|fact| fact.needs_request())
    }

    /// Whether it asks about this.
    pub fn asks(&self, fact: Fact) -> bool {
        self.facts.contains(&fact)
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// One that was checked: what cannot be so, as a sum of truths, is not there.
#[derive(Debug)]
pub enum Expression {
    /// A value.
    Constant(Constant),
    /// Values of one type.
    List(Box<[Constant]>),
    /// What it is asked about.
    Fact(Fact),
    /// What the macro of this depth looks at, the outermost first.
    Variable(usize),
    /// `a[b]`, and `a.b`.
    Member(Box<[Self; 2]>),
    /// `has(a.b)`.
    Has(Box<Self>, Box<str>),
    /// `!a`.
    Not(Box<Self>),
    /// `a && b && …`.
    All(Box<[Self]>),
    /// `a || b || …`.
    Any(Box<[Self]>),
    /// `a ? b : c`.
    If(Box<[Self; 3]>),
    /// `a == b` and the others.
    Compare(Relation, Box<[Self; 2]>),
    /// `a in b`.
    In(Box<[Self; 2]>),
    /// `a + b + …`.
    Join(Box<[Self]>),
    /// `size(a)`.
    Size(Box<Self>),
    /// `a.startsWith(b)` and the others.
    Test(Test, Box<[Self; 2]>),
    /// `a.matches('…')`.
    Matches(Box<Self>, Box<Automaton>),
    /// `a.lowerAscii()`.
    Lower(Box<Self>),
    /// `cidr('…').containsIP(address)`, by its place among the networks.
    Contains(usize),
    /// `a.exists(v, b)` and the others.
    Each(Quantifier, Box<[Self; 2]>),
}

/// A value that is written.
#[derive(Clone, Debug, PartialEq)]
pub enum Constant {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// `443`
    Int(i64),
    /// `0.5`
    Double(f64),
    /// `'text'`
    Text(Box<str>),
}

/// How two values stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
}

impl Relation {
    /// As it is written.
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Greater => ">",
            Self::AtLeast => ">=",
        }
    }
}

closed_list! {
    /// What is asked of a text.
    Test {
        /// How it begins.
        Starts = "startsWith",
        /// How it ends.
        Ends = "endsWith",
        /// What is somewhere in it.
        Contains = "contains",
    }
}

closed_list! {
    /// Of how many members something has to hold.
    Quantifier {
        /// Of one at least.
        Exists = "exists",
        /// Of every one.
        All = "all",
        /// Of one and no more.
        One = "exists_one",
    }
}

closed_list! {
    /// Why an expression cannot be evaluated.
    Failure {
        /// A header, a key of the query, a parameter or a member of one.
        NoKey = "a key that is not there",
        /// A list is shorter.
        NoIndex = "an index behind the end of a list",
        /// A parameter is of another type than what it is used as.
        WrongType = "a parameter of another type",
        /// A header's value has octets that no text has.
        NoText = "a header whose value is no text",
        /// It would take too long.
        TooMuch = "more steps than an expression may take",
    }
}

/// What an expression may be.
pub mod limits {
    /// The longest, in octets.
    pub const LENGTH: usize = 2048;
    /// The most that stand in one another.
    pub const DEPTH: usize = 24;
    /// The most macros that stand in one another.
    pub const MACROS: usize = 2;
    /// The most networks that one asks about: the answer for each of them, and for none, is
    /// worked out before the address is known.
    pub const NETWORKS: usize = 4;
    /// The most steps that one may take for one decision: a step is a part of the expression, or
    /// 16 octets of a text.
    pub const STEPS: u32 = 100_000;
}
