//! How long a file and a function may be.

use super::source::{Source, closing, words};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;

pub(super) fn complaints(source: &Source) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = source.text.lines().count();
    if lines > FILE_LINES {
        let text = format!("{lines} lines; a file has at most {FILE_LINES}: find the missing noun");
        complaints.push(source.complaint(0, &text));
    }
    for (name, start, end) in functions(&source.code) {
        let lines = 1 + source.line(end) - source.line(start);
        if lines > FUNCTION_LINES && !is_table(&source.code[start..end]) {
            let text = format!("{name} has {lines} lines; a function has at most {FUNCTION_LINES}");
            complaints.push(source.complaint(start, &text));
        }
    }
    complaints
}

/// Name, start and end of every function that has a body.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    let mut words = words(code).peekable();
    while let Some(word) = words.next() {
        let Some(name) = words.peek().filter(|_name| word.text == "fn") else {
            continue;
        };
        // A pointer type has a parenthesis in between.
        let after = word.start + word.text.len();
        if !code[after..name.start].trim().is_empty() {
            continue;
        }
        if let Some(end) = body(code, name.start).and_then(|open| closing(code, open)) {
            found.push((name.text, word.start, end));
        }
    }
    found
}

/// A body that is one `match` is read by its row; what bounds it is the list it goes over.
fn is_table(function: &str) -> bool {
    let Some(open) = body(function, 0) else {
        return false;
    };
    let mut inside = function[open + 1..].trim_start();
    while let Some((_names, rest)) = inside
        .strip_prefix("use ")
        .and_then(|use_| use_.split_once(';'))
    {
        inside = rest.trim_start();
    }
    let Some(arms) = inside.strip_prefix("match ") else {
        return false;
    };
    let rest = arms
        .find('{')
        .and_then(|start| Some(&arms[closing(arms, start)?..]));
    rest.is_some_and(|rest| rest.trim() == "}")
}

/// Where the body opens, unless the signature ends without one.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, octet) in code.bytes().enumerate().skip(from) {
        match octet {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(at),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn count(text: String) -> usize {
        complaints(&Source::new("a.rs".to_owned(), text)).len()
    }

    fn function(lines: usize) -> String {
        format!(
            "fn long(a: [u8; 2]) {{\n{}}}\n",
            "    a();\n".repeat(lines - 2)
        )
    }

    #[test]
    fn a_function_has_a_limit() {
        assert_eq!(count(function(60)), 0);
        assert_eq!(count(function(61)), 1);
    }

    #[test]
    fn a_table_is_as_long_as_its_list() {
        let arms = "        A => 1,\n".repeat(70);
        let table =
            format!("fn table(a: A) -> u8 {{\n    use A as B;\n    match a {{\n{arms}    }}\n}}\n");
        assert_eq!(count(table.clone()), 0);
        assert_eq!(count(table.replace("    match", "    a();\n    match")), 1);
    }

    #[test]
    fn a_file_has_a_limit() {
        assert_eq!(count("\n".repeat(400)), 0);
        assert_eq!(count("\n".repeat(401)), 1);
    }

    #[test]
    fn what_has_no_body_has_no_length() {
        assert!(functions("trait A { fn a(&self); }  type F = fn(u8);").is_empty());
    }
}
