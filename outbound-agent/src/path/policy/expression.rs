//! What a rule's `when` says of a decision.
//!
//! What is not known of it, as the path before its request is seen, is neither yes nor no, as
//! with a rule's other keys; so it is with what two servers may read in two ways, which is
//! evaluated in each. Where the address is not known yet, the expression is evaluated for every
//! answer that it may get about it.

mod value;

use std::cell::Cell;
use std::net::IpAddr;

use super::condition::Truth;
use super::{Facts, special};
use crate::model::expression::{Expression, Fact, Failure, Quantifier, Test, When, limits};
use crate::model::host::Host;
use crate::model::rule::{Action, Clause};

use self::value::{Lack, Value};

/// Whether conditions hold: one answer, or one for each way in which the address may lie in the
/// networks that they ask about.
#[derive(Clone, Debug)]
pub(super) struct Answers(Box<[Truth]>);

impl From<Truth> for Answers {
    fn from(truth: Truth) -> Self {
        Self([truth].into())
    }
}

impl Answers {
    /// The best of them: nothing is ruled out that an address may still bring about.
    pub(super) fn at_best(&self) -> Truth {
        self.0.iter().copied().fold(Truth::No, Truth::or)
    }

    /// The same, where something else has to hold as well.
    pub(super) fn after(mut self, other: Truth) -> Self {
        self.0
            .iter_mut()
            .for_each(|truth| *truth = other.and(*truth));
        self
    }

    /// The same, with what is not known taken for this.
    pub(super) fn settled(mut self, unknown: Truth) -> Self {
        for truth in &mut self.0 {
            if *truth == Truth::Unknown {
                *truth = unknown;
            }
        }
        self
    }

    /// The answer for an address: of a deny for one of its forms, of an allow for all of them.
    pub(super) fn at(&self, clause: &Clause, address: IpAddr) -> Truth {
        // What there should be and is not, closes.
        let closed = Truth::from(clause.action == Action::Deny);
        let when = match (&*self.0, &clause.conditions.when) {
            ([one], _) => return *one,
            (_, None) => return closed,
            (_, Some(when)) => when,
        };
        let forms = special::forms(address).map(|form| self.0.get(within(when, form)).copied());
        let forms = forms.map(|truth| truth.unwrap_or(closed));
        let also = |one: Truth, other| one.also(other, clause.action);
        forms.reduce(also).unwrap_or(closed)
    }
}

/// Which of an expression's networks have an address: a bit for each.
fn within(when: &When, address: IpAddr) -> usize {
    let networks = when.networks.iter().enumerate();
    let bits = networks.map(|(bit, network)| usize::from(network.contains(&address)) << bit);
    bits.sum()
}

/// Evaluates an expression.
pub(super) fn answers(when: &When, action: Action, facts: &Facts<'_>) -> Answers {
    let reader = Reader {
        when,
        action,
        facts,
        paths: paths(when, facts),
        steps: Cell::new(limits::STEPS),
    };
    let questions = when.networks.len();
    match facts.host {
        _ if questions == 0 || facts.is_foreseen => reader.read(None).into(),
        Host::Address(address) => {
            let forms = special::forms(*address);
            let each = forms.map(|form| reader.read(Some(within(when, form))));
            let told = each.reduce(|one, other| one.also(other, action));
            told.unwrap_or(Truth::Unknown).into()
        }
        Host::Name(_) => Answers(
            (0..1 << questions)
                .map(|bits| reader.read(Some(bits)))
                .collect(),
        ),
    }
}

/// The path in each of its readings, where that is asked for and seen.
fn paths(when: &When, facts: &Facts<'_>) -> Vec<String> {
    let request = facts.request.as_ref().filter(|_| when.asks(Fact::Path));
    let readings = request.into_iter().flat_map(|request| request.path.each());
    readings
        .map(|segments| format!("/{}", segments.join("/")))
        .collect()
}

/// One decision, as an expression sees it.
struct Reader<'a> {
    when: &'a When,
    action: Action,
    facts: &'a Facts<'a>,
    paths: Vec<String>,
    /// How many are left.
    steps: Cell<u32>,
}

impl Reader<'_> {
    fn read(&self, within: Option<usize>) -> Truth {
        let evaluate = |path| Evaluation {
            reader: self,
            path,
            within,
        };
        let Some(request) = self
            .facts
            .request
            .as_ref()
            .filter(|_| !self.paths.is_empty())
        else {
            return evaluate(None).truth(&self.when.root, &mut Vec::new());
        };
        let readings = self.paths.iter();
        let readings =
            readings.map(|path| evaluate(Some(path)).truth(&self.when.root, &mut Vec::new()));
        let told = readings.reduce(|one, other| one.also(other, self.action));
        let told = told.unwrap_or(Truth::Unknown);
        match (request.path.are_all(), told) {
            (true, told) => told,
            // There are readings of which nothing is known.
            (false, told) => told.also(Truth::Unknown, self.action),
        }
    }

    /// Takes steps for a part of an expression and for so many octets.
    fn spend(&self, octets: usize) -> Result<(), Lack> {
        let steps = u32::try_from(1 + octets / 16).unwrap_or(u32::MAX);
        match self.steps.get().checked_sub(steps) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => {
                // Whatever comes cannot be evaluated either.
                self.steps.set(0);
                Err(Lack::Failed(Failure::TooMuch))
            }
        }
    }
}

/// Whether it is so, where that is known.
const fn known(truth: Truth) -> Result<bool, Lack> {
    match truth {
        Truth::Yes => Ok(true),
        Truth::No => Ok(false),
        Truth::Unknown => Err(Lack::Unseen),
        Truth::Failed(why) => Err(Lack::Failed(why)),
    }
}

/// One reading of it.
#[derive(Clone, Copy)]
struct Evaluation<'a> {
    reader: &'a Reader<'a>,
    path: Option<&'a str>,
    within: Option<usize>,
}

impl<'a> Evaluation<'a> {
    /// What is true or false.
    fn truth(self, expression: &'a Expression, scope: &mut Vec<Value<'a>>) -> Truth {
        match expression {
            Expression::Not(of) => self.truth(of, scope).not(),
            Expression::All(members) => {
                self.fold(members, Truth::Yes, |member| self.truth(member, scope))
            }
            Expression::Any(members) => self
                .fold(members, Truth::Yes, |member| {
                    self.truth(member, scope).not()
                })
                .not(),
            Expression::Each(quantifier, parts) => {
                let told = self.each(*quantifier, parts, scope);
                told.unwrap_or_else(Truth::from)
            }
            Expression::Contains(network) => match self.within {
                None => Truth::Unknown,
                Some(bits) => Truth::from(bits >> network & 1 == 1),
            },
            other => match self.value(other, scope) {
                Ok(Value::Bool(is_so)) => Truth::from(is_so),
                Ok(_) => Truth::Failed(Failure::WrongType),
                Err(lack) => lack.into(),
            },
        }
    }

    /// All of them, as far as it has to be looked.
    fn fold<T>(
        self,
        members: impl IntoIterator<Item = T>,
        first: Truth,
        mut truth: impl FnMut(T) -> Truth,
    ) -> Truth {
        let mut told = first;
        for member in members {
            if self.reader.spend(0).is_err() {
                return told.and(Truth::Failed(Failure::TooMuch));
            }
            told = told.and(truth(member));
            if told == Truth::No {
                break;
            }
        }
        told
    }

    fn each(
        self,
        quantifier: Quantifier,
        [list, of_each]: &'a [Expression; 2],
        scope: &mut Vec<Value<'a>>,
    ) -> Result<Truth, Lack> {
        let members = self.members(self.value(list, scope)?)?;
        let mut truth = |member: Value<'a>| {
            scope.push(member);
            let told = self.truth(of_each, scope);
            scope.pop();
            told
        };
        Ok(match quantifier {
            Quantifier::All => self.fold(members, Truth::Yes, truth),
            Quantifier::Exists => self
                .fold(members, Truth::Yes, |member| truth(member).not())
                .not(),
            Quantifier::One => {
                let mut holding = 0;
                let mut told = Truth::Yes;
                for member in members {
                    self.reader.spend(0)?;
                    match truth(member) {
                        Truth::Yes => holding += 1,
                        Truth::No => {}
                        open @ (Truth::Unknown | Truth::Failed(_)) => told = told.and(open),
                    }
                }
                // What cannot be told of one cannot be told of how many.
                if told == Truth::Yes {
                    Truth::from(holding == 1)
                } else {
                    told
                }
            }
        })
    }

    fn value(
        self,
        expression: &'a Expression,
        scope: &mut Vec<Value<'a>>,
    ) -> Result<Value<'a>, Lack> {
        self.reader.spend(0)?;
        match expression {
            Expression::Constant(constant) => Ok(constant.into()),
            Expression::List(constants) => Ok(Value::Constants(constants)),
            Expression::Fact(fact) => self.fact(*fact),
            Expression::Variable(depth) => {
                let value = scope.get(*depth).cloned().ok_or(Lack::Unseen)?;
                self.reader.spend(value.octets())?;
                Ok(value)
            }
            Expression::Member(parts) => {
                let [of, key] = &**parts;
                let (of, key) = (self.value(of, scope)?, self.value(key, scope)?);
                self.member(of, &key)
            }
            Expression::Has(of, key) => {
                let table = self.value(of, scope)?;
                self.has(&table, key).map(Value::Bool)
            }
            Expression::If(parts) => {
                let [condition, yes, no] = &**parts;
                let is_so = known(self.truth(condition, scope))?;
                self.value(if is_so { yes } else { no }, scope)
            }
            Expression::Compare(relation, parts) => {
                let [left, right] = &**parts;
                let (left, right) = (self.value(left, scope)?, self.value(right, scope)?);
                self.reader.spend(left.octets().min(right.octets()))?;
                value::compare(*relation, &left, &right).map(Value::Bool)
            }
            Expression::In(parts) => {
                let [one, many] = &**parts;
                let (one, many) = (self.value(one, scope)?, self.value(many, scope)?);
                self.is_in(&one, &many).map(Value::Bool)
            }
            Expression::Join(_)
            | Expression::Test(..)
            | Expression::Matches(..)
            | Expression::Lower(_) => self.of_texts(expression, scope),
            Expression::Size(of) => {
                let of = self.value(of, scope)?;
                self.size(&of)
            }
            Expression::Not(_)
            | Expression::All(_)
            | Expression::Any(_)
            | Expression::Each(..)
            | Expression::Contains(_) => known(self.truth(expression, scope)).map(Value::Bool),
        }
    }

    /// What is made of texts.
    fn of_texts(
        self,
        expression: &'a Expression,
        scope: &mut Vec<Value<'a>>,
    ) -> Result<Value<'a>, Lack> {
        match expression {
            Expression::Join(members) => {
                let mut joined = String::new();
                for member in members {
                    let text = self.text(member, scope)?;
                    self.reader.spend(text.len())?;
                    joined.push_str(&text);
                }
                Ok(Value::Text(joined.into()))
            }
            Expression::Test(test, parts) => {
                let [of, text] = &**parts;
                let (of, text) = (self.text(of, scope)?, self.text(text, scope)?);
                self.reader.spend(of.len())?;
                Ok(Value::Bool(match test {
                    Test::Starts => of.starts_with(&*text),
                    Test::Ends => of.ends_with(&*text),
                    Test::Contains => of.contains(&*text),
                }))
            }
            Expression::Matches(of, automaton) => {
                let of = self.text(of, scope)?;
                self.reader.spend(of.len())?;
                Ok(Value::Bool(automaton.is_in(&of)))
            }
            Expression::Lower(of) => {
                let of = self.text(of, scope)?;
                self.reader.spend(of.len())?;
                Ok(Value::Text(of.to_ascii_lowercase().into()))
            }
            _ => Err(Failure::WrongType.into()),
        }
    }
}
