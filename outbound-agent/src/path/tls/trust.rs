//! What workloads have to trust, as files in the forms that their programs read.

mod java;
mod subject;

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::authority::Error;
use super::authority::files::publish;
use crate::model::tenant::TenantId;

/// A directory of such files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    directory: PathBuf,
}

impl Store {
    /// Of one tenant, or of all, below the agent's directory.
    pub(super) fn below(directory: &Path, tenant: Option<&TenantId>) -> Self {
        let all = directory.join("trust");
        Self {
            directory: match tenant {
                Some(tenant) => all.join(tenant.as_str()),
                None => all,
            },
        }
    }

    /// Where it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Writes `authority` alone, and beside the host's own roots (PEM), each file whole.
    pub(super) fn publish(
        &self,
        authority: &[CertificateDer<'_>],
        host_roots: &[u8],
    ) -> Result<(), Error> {
        let ours: String = authority
            .iter()
            .map(|certificate| pem(certificate))
            .collect();
        publish(&self.directory.join("ca.pem"), ours.as_bytes())?;
        let mut bundle = host_roots.to_vec();
        if !bundle.is_empty() && !bundle.ends_with(b"\n") {
            bundle.push(b'\n');
        }
        bundle.extend_from_slice(ours.as_bytes());
        publish(&self.directory.join("ca-bundle.pem"), &bundle)?;
        // What Java cannot read of the host's is not ours to mend.
        let roots: Vec<_> = CertificateDer::pem_slice_iter(&bundle).flatten().collect();
        publish(&self.directory.join("cacerts"), &java::key_store(&roots))?;
        for certificate in authority {
            if let Some(hash) = subject::hash(certificate) {
                let file = self.directory.join("certs").join(format!("{hash:08x}.0"));
                publish(&file, pem(certificate).as_bytes())?;
            }
        }
        Ok(())
    }
}

/// A certificate as PEM (RFC 7468).
fn pem(certificate: &[u8]) -> String {
    pem::encode(&pem::Pem::new("CERTIFICATE", certificate))
}

#[cfg(test)]
mod tests;
