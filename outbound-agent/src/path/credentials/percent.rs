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

/// Takes the encoding off; what is no encoding stays as it is.
pub(super) fn decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let pair = bytes.get(at + 1..at + 3);
        let value = pair
            .filter(|pair| *byte == b'%' && pair.iter().all(u8::is_ascii_hexdigit))
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        decoded.push(value.unwrap_or(*byte));
        at += if value.is_some() { 3 } else { 1 };
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded() {
        assert_eq!(encode("a-b._~/ü%".as_bytes(), b"/"), "a-b._~/%C3%BC%25");
        assert_eq!(decode("%2F%zz%2fa%"), b"/%zz/a%");
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&all, b"")), all);
    }
}
