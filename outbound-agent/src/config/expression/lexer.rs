//! The words of an expression.

use super::Wrong;

/// A word, and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) word: Word,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Word {
    Name(String),
    Int(i64),
    Double(f64),
    Text(Box<str>),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Every sign of CEL, the longer ones first.
const SIGNS: [&str; 24] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", "{", "}", ",", ".", "?",
    ":", "+", "-", "*", "/", "%",
];

/// Takes a text apart; the last word is its end.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Wrong> {
    let mut tokens = Vec::new();
    let mut at = 0;
    loop {
        at += blank(&text[at..]);
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            let word = Word::End;
            tokens.push(Token { at, word });
            return Ok(tokens);
        };
        let (word, length) = if first == '\'' || first == '"' {
            quoted(rest, at, false)?
        } else if first.is_ascii_digit() {
            number(rest, at)?
        } else if first == '_' || first.is_ascii_alphabetic() {
            named(rest, at)?
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| {
                Wrong::new(at, format!("{first:?} is not part of any expression"))
            })?;
            (Word::Sign(sign), sign.len())
        };
        tokens.push(Token { at, word });
        at += length;
    }
}

/// How much of it is space and comments.
fn blank(text: &str) -> usize {
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '\r', '\n', '\x0c']);
        match rest.strip_prefix("//") {
            Some(comment) => rest = comment.trim_start_matches(|c| c != '\n'),
            None => return text.len() - rest.len(),
        }
    }
}

fn named(text: &str, at: usize) -> Result<(Word, usize), Wrong> {
    let is_part = |c: char| c == '_' || c.is_ascii_alphanumeric();
    let length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    let (name, behind) = text.split_at(length);
    if behind.starts_with(['\'', '"']) {
        return match name {
            "r" | "R" => {
                let (word, length) = quoted(behind, at + 1, true)?;
                Ok((word, length + 1))
            }
            _ => Err(Wrong::new(at, "octets are not accepted; write a text, '…'")),
        };
    }
    Ok((Word::Name(name.to_owned()), length))
}

fn number(text: &str, at: usize) -> Result<(Word, usize), Wrong> {
    let is_part = |c: char| c == '.' || c.is_ascii_alphanumeric();
    let mut length = text.find(|c| !is_part(c)).unwrap_or(text.len());
    // `1e-3`
    if text[..length].ends_with(['e', 'E'])
        && !text.starts_with("0x")
        && text[length..].starts_with(['-', '+'])
    {
        let digits = &text[length + 1..];
        let end = digits.find(|c: char| !c.is_ascii_digit());
        length += 1 + end.unwrap_or(digits.len());
    }
    let digits = &text[..length];
    let word = if let Some(hex) = digits.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok().map(Word::Int)
    } else if digits.contains(['.', 'e', 'E']) {
        let number = digits.parse::<f64>().ok();
        number.filter(|number| number.is_finite()).map(Word::Double)
    } else {
        digits.parse().ok().map(Word::Int)
    };
    let wrong = || {
        let why = "is no number; write a whole number, as in 443, or one with a point, as in 0.5";
        Wrong::new(at, format!("{digits} {why}"))
    };
    word.map(|word| (word, length)).ok_or_else(wrong)
}

/// A text in quotes, with the escapes of CEL where it is not raw.
fn quoted(text: &str, at: usize, is_raw: bool) -> Result<(Word, usize), Wrong> {
    let mut characters = text.char_indices();
    let quote = characters.next().map_or('\'', |(_, quote)| quote);
    let mut read = String::new();
    while let Some((place, character)) = characters.next() {
        match character {
            '\n' => {
                return Err(Wrong::new(
                    at + place,
                    "a text ends in the line it begins in",
                ));
            }
            '\\' if is_raw => read.push('\\'),
            '\\' => {
                let (escaped, length) = escape(&text[place + 1..])
                    .ok_or_else(|| Wrong::new(at + place, "is no escape of CEL; write \\\\"))?;
                read.push(escaped);
                for _ in 0..length {
                    characters.next();
                }
            }
            other if other == quote => return Ok((Word::Text(read.into()), place + 1)),
            other => read.push(other),
        }
    }
    Err(Wrong::new(at, "this text has no end"))
}

/// What stands behind `\`: the character, and how many characters say it.
fn escape(text: &str) -> Option<(char, usize)> {
    let coded = |from: usize, digits: usize, radix| {
        let number = u32::from_str_radix(text.get(from..from + digits)?, radix).ok()?;
        Some((char::from_u32(number)?, from + digits))
    };
    let plain = match text.chars().next()? {
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        same @ ('\\' | '\'' | '"' | '`' | '?') => same,
        'x' | 'X' => return coded(1, 2, 16),
        'u' => return coded(1, 4, 16),
        'U' => return coded(1, 8, 16),
        '0'..='3' => return coded(0, 3, 8),
        _ => return None,
    };
    Some((plain, 1))
}
