//! Java's own format of a trust store, JKS: every Java since 1.2 reads it, also where it looks
//! for PKCS #12 (`keystore.type.compat`).

use std::time::{SystemTime, UNIX_EPOCH};

use ring::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// A store of trusted certificates (DER). Its password is Java's own default, `changeit`: what
/// is in it is no secret, and its digest proves nothing that the file's owner does not.
pub(super) fn key_store(certificates: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX);
    let mut store = Vec::new();
    store.extend(MAGIC);
    store.extend(2_u32.to_be_bytes());
    store.extend(length(certificates.len()));
    for (number, certificate) in certificates.iter().enumerate() {
        let certificate = certificate.as_ref();
        store.extend(TRUSTED_CERTIFICATE.to_be_bytes());
        text(&mut store, &format!("outbound-{number}"));
        store.extend(now.to_be_bytes());
        text(&mut store, "X.509");
        store.extend(length(certificate.len()));
        store.extend(certificate);
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    let password: Vec<u8> = PASSWORD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    digest.update(&password);
    digest.update(b"Mighty Aphrodite");
    digest.update(&store);
    store.extend(digest.finish().as_ref());
    store
}

/// As Java's `DataOutput.writeUTF`; ASCII alone is written here.
fn text(store: &mut Vec<u8>, text: &str) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    store.extend(length.to_be_bytes());
    store.extend(text.as_bytes());
}

fn length(count: usize) -> [u8; 4] {
    u32::try_from(count).unwrap_or(u32::MAX).to_be_bytes()
}

const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const TRUSTED_CERTIFICATE: u32 = 2;
const PASSWORD: &str = "changeit";
