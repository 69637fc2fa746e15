//! JSON with comments and trailing commas, as Wrangler reads it.

/// The same without them.
pub(super) fn to_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        if let Some(comment) = rest.strip_prefix("//") {
            rest = comment.find('\n').map_or("", |end| &comment[end..]);
        } else if let Some(comment) = rest.strip_prefix("/*") {
            rest = comment.find("*/").map_or("", |end| &comment[end + 2..]);
        } else if character == '"' {
            let (string, behind) = rest.split_at(string_length(rest));
            json.push_str(string);
            rest = behind;
        } else {
            if matches!(character, '}' | ']') {
                let kept = json.trim_end();
                let kept = kept.strip_suffix(',').map(str::len);
                json.truncate(kept.unwrap_or(json.len()));
            }
            json.push(character);
            rest = &rest[character.len_utf8()..];
        }
    }
    json
}

/// How long the string is that a text begins with, quotes included.
fn string_length(text: &str) -> usize {
    let mut is_escaped = false;
    for (at, character) in text.char_indices().skip(1) {
        match character {
            '"' if !is_escaped => return at + 1,
            '\\' => is_escaped = !is_escaped,
            _ => is_escaped = false,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::to_json;

    #[test]
    fn comments_and_trailing_commas_go_and_strings_stay() {
        let text = r#"// first
        { "a": "http://x, ]", /* a
          comment */ "b": ["\"//", 2, ], // last
        }"#;
        let value: Value = serde_json::from_str(&to_json(text)).unwrap();
        assert_eq!(value, json!({ "a": "http://x, ]", "b": ["\"//", 2] }));
    }

    #[test]
    fn what_is_broken_stays_broken() {
        for text in ["{\"a", "/* {}", "{,,}"] {
            assert!(serde_json::from_str::<Value>(&to_json(text)).is_err(), "{text}");
        }
    }
}
