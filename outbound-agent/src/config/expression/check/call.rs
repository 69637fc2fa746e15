//! Functions and macros.

use super::{Checker, Form, Literal, Syntax, Type, Typed, Wrong};
use crate::config::kind::TextKind as _;
use crate::config::kind::rule::NetworkText;
use crate::config::section::nearest;
use crate::model::expression::automaton::Automaton;
use crate::model::expression::{Expression, Fact, Quantifier, Test, limits};

/// Every function, as it is called.
pub(in crate::config::expression) const FUNCTIONS: [&str; 11] = [
    "startsWith",
    "endsWith",
    "contains",
    "matches",
    "lowerAscii",
    "size",
    "has",
    "exists",
    "all",
    "exists_one",
    "cidr",
];

impl Checker {
    pub(super) fn call(
        &mut self,
        at: usize,
        target: Option<&Syntax>,
        name: &str,
        arguments: &[Syntax],
    ) -> Result<Typed, Wrong> {
        let test = Test::ALL.iter().find(|test| test.label() == name);
        let quantifier = Quantifier::ALL.iter().find(|known| known.label() == name);
        match (target, name, arguments) {
            (None, "has", [of]) => self.presence(of),
            (None, "size", [of]) | (Some(of), "size", []) => self.size(of),
            (Some(of), "lowerAscii", []) => {
                let of = self.of_type(of, Type::Text, "what is put into lower case")?;
                Ok((Expression::Lower(Box::new(of)), Type::Text))
            }
            (Some(of), "matches", [pattern]) => self.matches(of, pattern),
            (Some(network), "containsIP", [address]) => self.contains(network, address),
            (Some(of), _, [text]) if let Some(test) = test => {
                let of = self.of_type(of, Type::Text, &format!("what `{name}` is asked of"))?;
                let text = self.of_type(text, Type::Text, &format!("what `{name}` asks for"))?;
                Ok((Expression::Test(*test, Box::new([of, text])), Type::Bool))
            }
            (Some(of), _, [variable, of_each]) if let Some(quantifier) = quantifier => {
                self.each(*quantifier, of, variable, of_each)
            }
            _ => Err(unknown(at, name)),
        }
    }

    fn presence(&mut self, of: &Syntax) -> Result<Typed, Wrong> {
        let Form::Select(table, key) = &of.form else {
            let why = "`has` is for what has a name in something, as in has(params.plan)";
            return Err(Wrong::new(of.at, why));
        };
        let (table, found) = self.expression(table)?;
        if !matches!(found, Type::Table | Type::Any) {
            let why = format!("{found} has no members with names");
            return Err(Wrong::new(of.at, why));
        }
        let has = Expression::Has(Box::new(table), key.as_str().into());
        Ok((has, Type::Bool))
    }

    fn size(&mut self, of: &Syntax) -> Result<Typed, Wrong> {
        let (value, found) = self.expression(of)?;
        if found.member().is_none() && found != Type::Text {
            return Err(Wrong::new(of.at, format!("{found} has no size")));
        }
        Ok((Expression::Size(Box::new(value)), Type::Int))
    }

    fn matches(&mut self, of: &Syntax, pattern: &Syntax) -> Result<Typed, Wrong> {
        let of = self.of_type(of, Type::Text, "what `matches` is asked of")?;
        let Form::Literal(Literal::Text(text)) = &pattern.form else {
            let why = "a regular expression is written as a text, so that it is compiled once";
            return Err(Wrong::new(pattern.at, why));
        };
        let automaton = Automaton::new(text).map_err(|why| Wrong::new(pattern.at, why))?;
        let matches = Expression::Matches(Box::new(of), Box::new(automaton));
        Ok((matches, Type::Bool))
    }

    /// `cidr('192.0.2.0/24').containsIP(address)`
    fn contains(&mut self, network: &Syntax, address: &Syntax) -> Result<Typed, Wrong> {
        let wrong = |at| {
            let why = "write cidr('192.0.2.0/24').containsIP(address)";
            Wrong::new(at, why)
        };
        let Form::Call(None, name, written) = &network.form else {
            return Err(wrong(network.at));
        };
        let [Syntax { at, form }] = written.as_slice() else {
            return Err(wrong(network.at));
        };
        let Form::Literal(Literal::Text(text)) = form else {
            return Err(wrong(*at));
        };
        let is_address = matches!(&address.form, Form::Name(name) if name == Fact::Address.label());
        if name != "cidr" || !is_address {
            return Err(wrong(address.at));
        }
        let Ok(network) = NetworkText::parse(text) else {
            let accepted = NetworkText::ACCEPTED;
            return Err(Wrong::new(*at, format!("{text:?} is not {accepted}")));
        };
        let known = self.networks.iter().position(|known| *known == network);
        let number = known.unwrap_or_else(|| {
            self.networks.push(network);
            self.networks.len() - 1
        });
        if self.networks.len() > limits::NETWORKS {
            let most = limits::NETWORKS;
            let why = format!("asks about more than {most} ranges; `addresses` takes any number");
            return Err(Wrong::new(*at, why));
        }
        self.ask(Fact::Address);
        Ok((Expression::Contains(number), Type::Bool))
    }

    fn each(
        &mut self,
        quantifier: Quantifier,
        of: &Syntax,
        variable: &Syntax,
        of_each: &Syntax,
    ) -> Result<Typed, Wrong> {
        let name = quantifier.label();
        let (list, found) = self.expression(of)?;
        let Some(member) = found.member() else {
            let why = format!("`{name}` goes through a list or the keys of a table, not {found}");
            return Err(Wrong::new(of.at, why));
        };
        let Form::Name(variable_name) = &variable.form else {
            let why = format!("`{name}` takes a name first, as in {name}(v, v == 'a')");
            return Err(Wrong::new(variable.at, why));
        };
        if self.variables.len() == limits::MACROS {
            let most = limits::MACROS;
            let why = format!("more than {most} of exists, all and exists_one in one another");
            return Err(Wrong::new(of.at, why));
        }
        self.variables.push((variable_name.clone(), member));
        let of_each = self.condition(of_each, &format!("what `{name}` asks of each"))?;
        self.variables.pop();
        let each = Expression::Each(quantifier, Box::new([list, of_each]));
        Ok((each, Type::Bool))
    }
}

fn unknown(at: usize, name: &str) -> Wrong {
    let why = match (FUNCTIONS.contains(&name), nearest(name, &FUNCTIONS)) {
        (true, _) => format!("`{name}` is not called so; see docs/conditions.md"),
        (false, Some(nearest)) => {
            format!("no function is called `{name}`; did you mean `{nearest}`?")
        }
        (false, None) => {
            let known = FUNCTIONS.join(", ");
            format!("no function is called `{name}`; there is {known}")
        }
    };
    Wrong::new(at, why)
}
