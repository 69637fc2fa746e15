//! Who signs for whom: one authority for all tenants, or one for each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::sign::CertifiedKey;

use super::authority::{Authority, Error};
use super::leaf::Leaves;
use super::trust::Store;
use crate::model::host::Host;
use crate::model::tenant::TenantId;

/// The authorities, their leaves, and what the workloads of each have to trust.
pub struct Issuers {
    directory: PathBuf,
    host_roots: Vec<u8>,
    issuing: Issuing,
}

enum Issuing {
    Shared(Box<Leaves>),
    /// Grows with the tenants, which the operator names.
    PerTenant(Mutex<HashMap<TenantId, Arc<Leaves>>>),
}

impl Issuers {
    /// One authority for all. What workloads have to trust is written below `directory`, beside
    /// `host_roots` (PEM).
    pub fn shared(
        authority: Authority,
        directory: &Path,
        host_roots: Vec<u8>,
    ) -> Result<Self, Error> {
        Store::below(directory, None).publish(authority.certificates(), &host_roots)?;
        Ok(Self {
            directory: directory.to_owned(),
            host_roots,
            issuing: Issuing::Shared(Box::new(Leaves::new(authority, MOST_SHARED))),
        })
    }

    /// An authority for each tenant, below `directory`: what one tenant's workloads trust signs
    /// for no other's.
    pub fn per_tenant(directory: &Path, host_roots: Vec<u8>) -> Self {
        Self {
            directory: directory.to_owned(),
            host_roots,
            issuing: Issuing::PerTenant(Mutex::default()),
        }
    }

    /// What the workloads of a tenant have to trust, once its files are there. Without a tenant:
    /// what everybody's have to, where that is one thing.
    pub fn store(&self, tenant: Option<&TenantId>) -> Result<Option<Store>, Error> {
        match (&self.issuing, tenant) {
            (Issuing::Shared(_), _) => Ok(Some(Store::below(&self.directory, None))),
            (Issuing::PerTenant(_), None) => Ok(None),
            (Issuing::PerTenant(known), Some(tenant)) => {
                self.leaves_of(known, tenant)?;
                Ok(Some(Store::below(&self.directory, Some(tenant))))
            }
        }
    }

    /// The certificate that a tenant's workload is shown for a host.
    pub(super) fn leaf(&self, tenant: &TenantId, host: &Host) -> Result<Arc<CertifiedKey>, Error> {
        match &self.issuing {
            Issuing::Shared(leaves) => leaves.leaf(host),
            Issuing::PerTenant(known) => self.leaves_of(known, tenant)?.leaf(host),
        }
    }

    fn leaves_of(
        &self,
        known: &Mutex<HashMap<TenantId, Arc<Leaves>>>,
        tenant: &TenantId,
    ) -> Result<Arc<Leaves>, Error> {
        // Held while one is made: two at once would make two of the same name.
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(leaves) = known.get(tenant) {
            return Ok(Arc::clone(leaves));
        }
        let own = self.directory.join("tenants").join(tenant.as_str());
        let authority = Authority::load_or_make(&own, Some(tenant))?;
        let leaves = Arc::new(Leaves::new(authority, MOST_OF_A_TENANT));
        let store = Store::below(&self.directory, Some(tenant));
        store.publish(leaves.authority().certificates(), &self.host_roots)?;
        known.insert(tenant.clone(), Arc::clone(&leaves));
        Ok(leaves)
    }
}

/// How many leaves are kept: a tenant that asks for ever new names costs minting, not memory.
const MOST_SHARED: usize = 4096;
const MOST_OF_A_TENANT: usize = 1024;
