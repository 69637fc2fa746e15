//! What stands in the certificates that the agent makes (RFC 5280).

use std::ops::Range;
use std::time::SystemTime;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType, SerialNumber,
};
use rustls::crypto::ring;
use time::{Duration, OffsetDateTime};

use crate::model::host::Host;
use crate::model::tenant::TenantId;

/// An authority that signs leaves and no further authority.
pub(super) fn authority(tenant: Option<&TenantId>) -> CertificateParams {
    let mut params = CertificateParams::default();
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "Outbound local authority");
    // Whoever looks at a trust store sees whose it is.
    name.push(
        DnType::CommonName,
        tenant.map_or("all tenants", TenantId::as_str),
    );
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = serial_number();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + AUTHORITY_LIFETIME;
    params
}

/// A leaf, and the time in which it may be handed out: it has to outlive the connection.
pub(super) fn leaf(
    host: &Host,
    authority_expires: SystemTime,
) -> Result<(CertificateParams, Range<SystemTime>), rcgen::Error> {
    let mut params = CertificateParams::default();
    let name = match host {
        Host::Name(name) => SanType::DnsName(name.to_string().try_into()?),
        Host::Address(address) => SanType::IpAddress(*address),
    };
    params.subject_alt_names = vec![name];
    // A common name holds 64 characters (RFC 5280 appendix A.1), a name up to 253; what counts
    // is the subject alternative name.
    let common_name = Some(host.to_string()).filter(|name| name.len() <= 64);
    params.distinguished_name.push(
        DnType::CommonName,
        common_name.as_deref().unwrap_or("Outbound"),
    );
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = serial_number();
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = (now + LEAF_LIFETIME).min(authority_expires.into());
    let renewal: OffsetDateTime = now + (params.not_after - now) / 2;
    Ok((params, now.into()..renewal.into()))
}

/// Without one rcgen takes a digest of the public key, which all leaves share, and the same
/// number twice from one authority is what some clients refuse (RFC 5280 section 4.1.2.2).
fn serial_number() -> Option<SerialNumber> {
    let mut number = [0; 16];
    ring::default_provider()
        .secure_random
        .fill(&mut number)
        .ok()?;
    // Positive, and of its full length.
    number[0] = number[0] & 0x7f | 0x40;
    Some(SerialNumber::from_slice(&number))
}

const AUTHORITY_LIFETIME: Duration = Duration::days(3650);
/// Short: a leaf is minted anew whenever it is needed.
const LEAF_LIFETIME: Duration = Duration::days(7);
/// Workloads whose clock is a little behind.
const CLOCK_SKEW: Duration = Duration::hours(1);
