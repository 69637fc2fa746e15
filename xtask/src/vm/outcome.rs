//! What a machine had to say.

/// Read from its output as it comes, and from its answer at the end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    passed: u32,
    failed: u32,
    skipped: u32,
    names: Vec<String>,
    doctor: Option<String>,
    trouble: Option<String>,
}

impl Outcome {
    /// Takes note of a line of output.
    pub(super) fn read(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            let count = |what: &str| {
                let words: Vec<&str> = counts.split([' ', ';', '.']).collect();
                let at = words.iter().position(|word| *word == what)?;
                words.get(at.checked_sub(1)?)?.parse().ok()
            };
            self.passed += count("passed").unwrap_or(0);
            self.failed += count("failed").unwrap_or(0);
        } else if line.starts_with("skipped: ") {
            self.skipped += 1;
        } else if let Some(name) = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"))
        {
            self.names.push(name.to_owned());
        } else if line.contains(" passed, ") && line.contains(" failed") {
            self.doctor = Some(line.to_owned());
        }
    }

    /// It has ended, with these exit codes or without.
    pub(super) fn ended(&mut self, answer: Option<&str>, otherwise: &str) {
        let codes: Vec<&str> = answer.unwrap_or_default().split_whitespace().collect();
        self.trouble = match codes[..] {
            ["0", "0"] if self.failed == 0 && self.passed > 0 => None,
            ["0", "0"] => Some("no test ran".to_owned()),
            ["0", code] => Some(format!("outbound doctor ended with {code}")),
            [code, _] => Some(format!("the tests ended with {code}")),
            _ => Some(otherwise.to_owned()),
        };
    }

    pub(super) fn is_success(&self) -> bool {
        self.trouble.is_none()
    }

    /// A test that was skipped has passed as well, as the test runner counts.
    pub(super) fn summary(&self) -> String {
        let passed = self.passed.saturating_sub(self.skipped);
        let mut text = format!(
            "{passed} tests passed, {} failed, {} skipped",
            self.failed, self.skipped
        );
        if !self.names.is_empty() {
            text.push_str(&format!(" ({})", self.names.join(", ")));
        }
        if let Some(doctor) = &self.doctor {
            text.push_str(&format!("; doctor: {doctor}"));
        }
        if let Some(trouble) = &self.trouble {
            text.push_str(&format!("; {trouble}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str], answer: &str) -> Outcome {
        let mut outcome = Outcome::default();
        for line in lines {
            outcome.read(line);
        }
        outcome.ended(Some(answer), "gone");
        outcome
    }

    const RESULT: &str = "test result: ok. 76 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out; finished in 1s";

    #[test]
    fn both_exit_codes_must_be_zero() {
        assert!(outcome(&[RESULT], "0 0\n").is_success());
        for answer in ["101 0", "0 1", "", "0"] {
            assert!(!outcome(&[RESULT], answer).is_success(), "{answer}");
        }
    }

    #[test]
    fn nothing_that_ran_proves_nothing() {
        assert!(!outcome(&[], "0 0").is_success());
    }

    #[test]
    fn skipped_tests_are_not_counted_as_passed() {
        let doctor = "57 passed, 0 failed, 4 open";
        let outcome = outcome(&[RESULT, "skipped: no such thing", doctor], "0 0");
        assert_eq!(
            outcome.summary(),
            format!("75 tests passed, 0 failed, 1 skipped; doctor: {doctor}")
        );
    }

    #[test]
    fn what_failed_is_named() {
        let line = "test bypass::a_ping_socket_stays_inside ... FAILED";
        let result = RESULT.replace("0 failed", "1 failed");
        let summary = outcome(&[line, &result], "101 0").summary();
        assert!(
            summary.contains("(bypass::a_ping_socket_stays_inside)"),
            "{summary}"
        );
        assert!(summary.ends_with("the tests ended with 101"), "{summary}");
    }
}
