//! As much DER as a SubjectPublicKeyInfo needs (RFC 5280, section 4.1; RFC 5480; RFC 8410).

/// The algorithm of a public key, and its bits.
pub(super) struct PublicKeyInfo<'a> {
    /// The content of the object identifier.
    pub(super) algorithm: &'a [u8],
    /// The curve's, where the algorithm names one.
    pub(super) curve: Option<&'a [u8]>,
    pub(super) key: &'a [u8],
}

/// `None` where this is not exactly one SubjectPublicKeyInfo.
pub(super) fn public_key_info(input: &[u8]) -> Option<PublicKeyInfo<'_>> {
    let (info, rest) = element(input, SEQUENCE)?;
    let (identifier, bits) = element(info, SEQUENCE)?;
    let (algorithm, parameters) = element(identifier, OBJECT_IDENTIFIER)?;
    let curve = element(parameters, OBJECT_IDENTIFIER).map(|(curve, _rest)| curve);
    let (bits, end) = element(bits, BIT_STRING)?;
    let (unused, key) = bits.split_first()?;
    (rest.is_empty() && end.is_empty() && *unused == 0).then_some(PublicKeyInfo {
        algorithm,
        curve,
        key,
    })
}

/// The two numbers of an RSAPublicKey (RFC 8017, appendix A.1.1), without leading zeros.
pub(super) fn rsa_numbers(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let (numbers, rest) = element(input, SEQUENCE)?;
    let (modulus, numbers) = element(numbers, INTEGER)?;
    let (exponent, end) = element(numbers, INTEGER)?;
    (rest.is_empty() && end.is_empty()).then(|| (without_zeros(modulus), without_zeros(exponent)))
}

/// A number as its octets, most significant first, without leading zeros.
pub(super) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|octet| **octet == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The content of the element that begins here, and what follows it.
fn element(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (first, rest) = input.split_first()?;
    let (length, rest) = rest.split_first()?;
    if *first != tag {
        return None;
    }
    let (length, rest) = match length {
        short @ ..=0x7f => (usize::from(*short), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => {
            let (octets, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*octets)), rest)
        }
        _longer => return None,
    };
    rest.split_at_checked(length)
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OBJECT_IDENTIFIER: u8 = 0x06;
const SEQUENCE: u8 = 0x30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ed25519_key_is_found() {
        let mut input = vec![
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        input.extend([7; 32]);
        let info = public_key_info(&input).unwrap();
        assert_eq!(info.algorithm, [0x2b, 0x65, 0x70]);
        assert_eq!(info.key, [7; 32]);
        assert!(public_key_info(&input[..input.len() - 1]).is_none());
        input.push(0);
        assert!(public_key_info(&input).is_none());
    }
}
