//! A source file, taken apart far enough to tell code from comments and strings.

/// A file of ours.
pub(super) struct Source {
    /// Relative to the workspace.
    pub(super) path: String,
    /// As it is.
    pub(super) text: String,
    /// The same length, comments and the insides of strings blanked.
    pub(super) code: String,
    /// The same length, everything but comments blanked.
    pub(super) comments: String,
}

/// A word of the code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub(super) text: &'a str,
    /// Where it starts, in octets.
    pub(super) start: usize,
}

impl Source {
    pub(super) fn new(path: String, text: String) -> Self {
        let (code, comments) = apart(&text);
        Self {
            path,
            text,
            code,
            comments,
        }
    }

    /// The line of an offset, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset]
            .iter()
            .filter(|octet| **octet == b'\n')
            .count()
    }

    /// A complaint about a place in it.
    pub(super) fn complaint(&self, offset: usize, text: &str) -> String {
        format!("{}:{}: {text}", self.path, self.line(offset))
    }

    /// The code without `#[cfg(test)] mod … { … }`.
    pub(super) fn production_code(&self) -> String {
        const TEST: &str = "#[cfg(test)]";
        let mut code = self.code.clone();
        let mut from = 0;
        while let Some(at) = code[from..].find(TEST).map(|at| from + at) {
            from = at + TEST.len();
            if !code[from..].trim_start().starts_with("mod ") {
                continue;
            }
            let Some(open) = code[from..].find(['{', ';']).map(|open| from + open) else {
                continue;
            };
            let end = closing(&code, open).unwrap_or(open);
            code.replace_range(at..end, &blank(&code[at..end]));
        }
        code
    }
}

/// Every identifier and keyword of `code`, in order.
pub(super) fn words(code: &str) -> impl Iterator<Item = Word<'_>> {
    let is_word = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'_';
    let octets = code.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < octets.len() && !is_word(octets[at]) {
            at += 1;
        }
        let start = at;
        while at < octets.len() && is_word(octets[at]) {
            at += 1;
        }
        (start < at).then(|| Word {
            text: &code[start..at],
            start,
        })
    })
}

/// Past the brace that closes the one at `open`.
pub(super) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, octet) in code.bytes().enumerate().skip(open) {
        match octet {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// Code and comments of a text, each with the other blanked.
fn apart(text: &str) -> (String, String) {
    let mut code = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let comment = comment_length(rest);
        if comment > 0 {
            let (taken, after) = rest.split_at(comment);
            comments.push_str(taken);
            code.push_str(&blank(taken));
            rest = after;
            continue;
        }
        let previous = code.chars().next_back();
        let literal = literal_length(rest, previous);
        let (taken, after) = rest.split_at(literal.unwrap_or_else(|| first_length(rest)));
        if literal.is_some() {
            code.push_str(&blank(taken));
        } else {
            code.push_str(taken);
        }
        comments.push_str(&blank(taken));
        rest = after;
    }
    (code, comments)
}

/// Spaces of the same length, lines kept.
fn blank(text: &str) -> String {
    text.bytes()
        .map(|octet| if octet == b'\n' { '\n' } else { ' ' })
        .collect()
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

/// How long the comment is that `text` starts with, or 0.
fn comment_length(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if !text.starts_with("/*") {
        return 0;
    }
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// How long the string or character literal is that `text` starts with.
fn literal_length(text: &str, previous: Option<char>) -> Option<usize> {
    let starts_word = !previous.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let prefix = ["br", "cr", "r"]
        .into_iter()
        .find(|prefix| text.starts_with(prefix));
    if let Some(prefix) = prefix.filter(|_prefix| starts_word) {
        let rest = &text[prefix.len()..];
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        if rest[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let body = prefix.len() + hashes + 1;
            let length = text[body..].find(&end).map(|at| body + at + end.len());
            return Some(length.unwrap_or(text.len()));
        }
    }
    if text.starts_with('"') {
        return Some(quoted_length(text, b'"'));
    }
    // A lifetime has no second quote after one character.
    let inner = text.strip_prefix('\'')?;
    let is_char = inner.starts_with('\\') || inner[first_length(inner)..].starts_with('\'');
    is_char.then(|| quoted_length(text, b'\''))
}

fn quoted_length(text: &str, quote: u8) -> usize {
    let octets = text.as_bytes();
    let mut at = 1;
    while at < octets.len() && octets[at] != quote {
        at += if octets[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(octets.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        Source::new(String::new(), text.to_owned()).code
    }

    #[test]
    fn strings_and_comments_are_not_code() {
        assert_eq!(code("a // b\nc"), "a     \nc");
        assert_eq!(code("a /* b /* c */ d */ e"), "a                   e");
        assert_eq!(code(r#"f("{ \" }")"#), "f(        )");
        assert_eq!(code("r#\"a\"b\"# c"), "         c");
    }

    #[test]
    fn lifetimes_are_code_and_characters_are_not() {
        assert_eq!(code("&'a str"), "&'a str");
        assert_eq!(code("'{' '\\'' 'ä'"), " ".repeat(13));
        assert_eq!(code("for r in b"), "for r in b");
    }

    #[test]
    fn comments_keep_their_place() {
        let source = Source::new(String::new(), "a\n// b\n".to_owned());
        assert_eq!(source.comments, " \n// b\n");
        assert_eq!(source.line(2), 2);
    }

    #[test]
    fn test_modules_are_left_out() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() {} }\nfn c() {}";
        let source = Source::new(String::new(), text.to_owned());
        let left: Vec<_> = words(&source.production_code())
            .map(|word| word.text.to_owned())
            .collect();
        assert_eq!(left, ["fn", "a", "fn", "c"]);
    }
}
