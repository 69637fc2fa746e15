//! Why an invocation, or a module, failed.

use std::fmt;

/// Why there is no response.
///
/// Texts are for the operator: none of them may reach the workload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WorkerError {
    /// The module does not load.
    #[error("{position}: {message}")]
    Load {
        /// Where in its source.
        position: Position,
        /// What the engine says.
        message: String,
    },
    /// The processor time of the invocation is used up.
    #[error("the processor time of the invocation is used up")]
    Cpu,
    /// There was no response in time.
    #[error("no response within the wall time of the invocation")]
    Timeout,
    /// The isolate's heap is full.
    #[error("the memory of the isolate is used up")]
    Memory,
    /// The handler threw, or its promise was rejected.
    #[error("{message}")]
    Exception {
        /// Name and message of the error.
        message: String,
        /// One line per frame, `at function (file:line:column)`; may be empty.
        stack: String,
    },
    /// The handler gave something else than a `Response`.
    #[error("the handler gave {given} instead of a Response")]
    NotAResponse {
        /// What it gave.
        given: String,
    },
    /// The handler's promise can no longer settle: nothing that it waits for is under way.
    #[error("the handler's promise never settles: nothing it waits for is under way")]
    NeverSettled,
    /// The module has no such handler.
    #[error("the module exports no {handler} handler")]
    NoHandler {
        /// `fetch` or `connect`.
        handler: &'static str,
    },
    /// Another invocation took the isolate with it, or the isolate was asked after that.
    #[error("the isolate was thrown away: {0}")]
    Poisoned(Poison),
    /// There are as many isolates as there may be, and each of them is in use.
    #[error("as many isolates as there may be are in use")]
    Crowded,
    /// The engine itself failed.
    #[error("engine: {message}")]
    Engine {
        /// What it says.
        message: String,
    },
}

/// Why an isolate can no longer be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    /// An invocation used up its processor time.
    Cpu,
    /// The heap is full.
    Memory,
}

impl fmt::Display for Poison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "an invocation used up its processor time",
            Self::Memory => "its memory was used up",
        })
    }
}

impl From<Poison> for WorkerError {
    fn from(poison: Poison) -> Self {
        match poison {
            Poison::Cpu => Self::Cpu,
            Poison::Memory => Self::Memory,
        }
    }
}

/// A place in a module's source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file, as it was named to [`Module::load`](crate::Module::load).
    pub file: String,
    /// From 1; 0 where the engine gives none.
    pub line: u32,
    /// From 1; 0 where the engine gives none.
    pub column: u32,
}

impl Position {
    /// The first position that a stack names; those of the prelude are none.
    pub(crate) fn in_stack(stack: &str) -> Option<Self> {
        stack.lines().find_map(|line| {
            let place = line.trim().strip_prefix("at ")?;
            let place = match place.rsplit_once('(') {
                Some((_function, place)) => place.trim_end_matches(')'),
                None => place,
            };
            let (rest, column) = place.rsplit_once(':')?;
            let (file, row) = rest.rsplit_once(':')?;
            let line = row.parse().ok().filter(|line| *line > 0)?;
            Some(Self {
                file: file.to_owned(),
                line,
                column: column.parse().ok()?,
            })
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}:{}", self.file, self.column),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_from_a_stack() {
        let found = Position::in_stack("    at <anonymous>\n    at fetch (lib/a.js:3:14)\n");
        assert_eq!(found.unwrap().to_string(), "lib/a.js:3:14");
        let found = Position::in_stack("    at egress.js:1:2");
        assert_eq!(found.unwrap().to_string(), "egress.js:1:2");
        let found = Position::in_stack("    at fail (<null>:0:1)\n    at egress.js:1:2");
        assert_eq!(found.unwrap().to_string(), "egress.js:1:2");
        assert_eq!(Position::in_stack("nothing"), None);
    }
}
