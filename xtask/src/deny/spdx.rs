//! Licence expressions (SPDX 2.3 annex D), with crates.io's older `/` for `OR`.

/// Whether the allowed licences satisfy the expression.
pub(super) fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = Words {
        words: spaced.split_whitespace().collect(),
        next: 0,
        allowed,
    };
    let verdict = words.either();
    words.next == words.words.len() && verdict == Some(true)
}

struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
    allowed: &'a [String],
}

impl Words<'_> {
    fn either(&mut self) -> Option<bool> {
        let mut verdict = self.both()?;
        while self.take("OR") {
            verdict |= self.both()?;
        }
        Some(verdict)
    }

    fn both(&mut self) -> Option<bool> {
        let mut verdict = self.one()?;
        while self.take("AND") {
            verdict &= self.one()?;
        }
        Some(verdict)
    }

    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let verdict = self.either()?;
            return self.take(")").then_some(verdict);
        }
        let mut license = (*self.words.get(self.next)?).to_owned();
        self.next += 1;
        if self.take("WITH") {
            license = format!("{license} WITH {}", self.words.get(self.next)?);
            self.next += 1;
        }
        Some(self.allowed.contains(&license))
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.next) == Some(&word);
        self.next += usize::from(is_next);
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::is_allowed;

    #[track_caller]
    fn check(expression: &str, expected: bool) {
        let allowed = ["MIT".to_owned(), "ISC".to_owned()];
        assert_eq!(is_allowed(expression, &allowed), expected, "{expression}");
    }

    #[test]
    fn one_of_a_choice_is_enough() {
        check("MIT", true);
        check("GPL-3.0-only OR MIT", true);
        check("Apache-2.0/MIT", true);
        check("Apache-2.0 WITH LLVM-exception OR MIT", true);
        check("GPL-3.0-only", false);
    }

    #[test]
    fn all_of_a_conjunction_are_needed() {
        check("MIT AND ISC", true);
        check("MIT AND GPL-3.0-only", false);
        check("(MIT OR GPL-3.0-only) AND ISC", true);
    }

    #[test]
    fn what_is_no_expression_is_not_allowed() {
        check("", false);
        check("(MIT", false);
        check("MIT ISC", false);
        check("MIT OR", false);
    }
}
