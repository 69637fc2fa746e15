//! The name under which OpenSSL looks for a certificate in a directory: `X509_NAME_hash`.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use rustls::pki_types::CertificateDer;
use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::AttributeTypeAndValue;

/// The hash of its subject: the first four octets, the lowest first, of the SHA-1 of the subject
/// in OpenSSL's canonical form (`x509_name_canon` in crypto/x509/x_name.c).
pub(super) fn hash(certificate: &CertificateDer<'_>) -> Option<u32> {
    let (_rest, certificate) = X509Certificate::from_der(certificate).ok()?;
    let mut canonical = Vec::new();
    for set in certificate.subject().iter_rdn() {
        let mut members: Vec<Vec<u8>> = set.iter().map(attribute).collect();
        members.sort();
        canonical.extend(encoded(0x31, &members.concat()));
    }
    let digest = digest(&SHA1_FOR_LEGACY_USE_ONLY, &canonical);
    digest
        .as_ref()
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> Vec<u8> {
    let value = attribute.attr_value();
    let text = match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::VisibleString => {
            Some(String::from_utf8_lossy(value.data).into_owned())
        }
        Tag::T61String => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let units = value.data.as_chunks::<2>().0.iter();
            let units: Vec<u16> = units.map(|unit| u16::from_be_bytes(*unit)).collect();
            Some(String::from_utf16_lossy(&units))
        }
        _ => None,
    };
    let value = match text {
        Some(text) => encoded(0x0c, canonical(&text).as_bytes()),
        None => encoded(u8::try_from(value.tag().0).unwrap_or_default(), value.data),
    };
    let kind = encoded(0x06, attribute.attr_type().as_bytes());
    encoded(0x30, &[kind, value].concat())
}

/// One space between words, none around them, lower case; both of ASCII alone.
fn canonical(text: &str) -> String {
    let words: Vec<&str> = text
        .split(|c: char| c.is_ascii_whitespace() || c == '\x0b')
        .filter(|word| !word.is_empty())
        .collect();
    words.join(" ").to_ascii_lowercase()
}

/// DER: tag, length, content.
fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short @ ..0x80) => der.push(short),
        Ok(_) | Err(_) => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|octet| **octet == 0).count();
            let length = &length[zeros..];
            der.push(0x80 | u8::try_from(length.len()).unwrap_or_default());
            der.extend(length);
        }
    }
    der.extend(content);
    der
}
