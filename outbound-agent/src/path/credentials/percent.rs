//! Percent-encoding (RFC 3986 section 2.1), as forms, signatures and query strings want it.

/// Encodes everything but unreserved characters (RFC 3986 section 2.3), and `keep`.
pub(super) fn encode(text: &[u8], keep: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) || keep.contains(byte) {
            encoded.push(char::from(*byte));
        } else {
            let digits = [byte >> 4, byte & 0xf].map(|digit| HEX[usize::from(digit)]);
            encoded.extend(['%', digits[0], digits[1]]);
        }
    }
    encoded
}

const HEX: [char; 16] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unreserved_characters_stay() {
        assert_eq!(encode("a-b._~/ü%".as_bytes(), b"/"), "a-b._~/%C3%BC%25");
    }
}
