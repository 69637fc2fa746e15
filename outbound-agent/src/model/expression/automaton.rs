//! `Automaton`: a regular expression as a table of states.

use std::fmt;

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Anchored, Input};

/// A regular expression in the syntax of RE2, octet by octet. Each octet of a text costs one
/// look-up in a table, whatever both are.
pub struct Automaton {
    text: Box<str>,
    table: dense::DFA<Vec<u32>>,
}

impl Automaton {
    /// Compiles one; says what is wrong with it where it gives none.
    pub fn new(text: &str) -> Result<Self, String> {
        let table = dense::Config::new()
            .start_kind(StartKind::Unanchored)
            .dfa_size_limit(Some(MAX_TABLE))
            .determinize_size_limit(Some(MAX_TABLE));
        let states = thompson::Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(MAX_TABLE));
        let built = dense::Builder::new()
            .configure(table)
            .thompson(states)
            .syntax(
                syntax::Config::new()
                    .unicode(false)
                    .utf8(false)
                    .nest_limit(MAX_NESTING),
            )
            .build(text);
        match built {
            Ok(table) => Ok(Self {
                text: text.into(),
                table,
            }),
            Err(error) => {
                let mut source: &dyn std::error::Error = &error;
                while let Some(cause) = source.source() {
                    source = cause;
                }
                // The parser draws the place below the pattern; its last line says what it is.
                let told = source.to_string();
                let told = told.lines().last().unwrap_or_default();
                let told = told.strip_prefix("error: ").unwrap_or(told);
                Err(format!(
                    "{text:?} is no regular expression that is taken: {told}"
                ))
            }
        }
    }

    /// Whether it is somewhere in a text.
    pub fn is_in(&self, text: &str) -> bool {
        let input = Input::new(text).anchored(Anchored::No).earliest(true);
        // No state gives up: none was told to, and the anchors are those that it was built for.
        matches!(self.table.try_search_fwd(&input), Ok(Some(_)))
    }
}

impl fmt::Debug for Automaton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

/// The most groups in one another.
const MAX_NESTING: u32 = 32;
/// The most memory that a table takes, and that making it takes.
const MAX_TABLE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_what_it_stands_for() {
        for (pattern, text, expected) in [
            ("^/v[0-9]+/", "/v12/x", true),
            ("^/v[0-9]+/", "/x/v12/", false),
            ("b+", "abc", true),
            (r"\d", "x7", true),
            (r"\w", "é", false),
            ("(?i)ABC$", "xabc", true),
            (".", "", false),
            ("", "", true),
            (r"\bid\b", "the id is", true),
        ] {
            let automaton = Automaton::new(pattern).unwrap();
            assert_eq!(automaton.is_in(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_is_wrong_or_too_large_is_refused() {
        for (pattern, why) in [
            ("(", "unclosed group"),
            ("a{2", "unclosed counted repetition"),
            ("(a*)*{1000}{1000}", "exceeded limit"),
            ("x.{0,300}y", "exceeded"),
            (r"(a)\1", "backreferences are not supported"),
        ] {
            let told = Automaton::new(pattern).unwrap_err();
            assert!(told.contains(why), "{pattern}: {told}");
        }
    }
}
