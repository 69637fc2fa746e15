//! Tenants, and the snapshot that maps cgroups to them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::credential::Credential;
use super::limits::Limits;
use super::policy::Policy;
use super::worker::{Namespace, Parameters};

/// The kernel's 64-bit number of a cgroup: the inode of its directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CgroupId(pub u64);

impl fmt::Display for CgroupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tenant's name: 1 to 63 letters, digits, `.`, `_` or `-`, the first a letter or a digit
/// (a leading `_` marks the labels that metrics use for "no tenant" and "the rest").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TenantId(Arc<str>);

impl TenantId {
    /// Takes a name, gives `None` where it is not one.
    pub fn new(name: &str) -> Option<Self> {
        let fits = (1..=63).contains(&name.len())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && !name.starts_with(['.', '_', '-']);
        fits.then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who is charged, limited and ruled as one.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// What it may reach.
    pub policy: Arc<Policy>,
    /// What is added for it.
    pub credentials: Vec<Arc<Credential>>,
    /// Whose outbound worker its requests pass, if it is in a namespace.
    pub namespace: Option<Arc<Namespace>>,
    /// What its dispatch gave to that worker; `None` where nobody has dispatched it.
    pub parameters: Option<Arc<Parameters>>,
    /// Which dispatch that was; `None` where the configuration says it, or nobody.
    pub dispatch: Option<Arc<str>>,
    /// What it may take of what all share.
    pub limits: Limits,
}

/// Which cgroup is whose: one immutable whole, replaced at once.
#[derive(Clone, Debug, Default)]
pub struct Tenants {
    by_cgroup: HashMap<CgroupId, Arc<Tenant>>,
}

impl Tenants {
    /// The tenant of a cgroup that was assigned; never one guessed from a parent.
    pub fn of(&self, cgroup: CgroupId) -> Option<&Arc<Tenant>> {
        self.by_cgroup.get(&cgroup)
    }

    /// Every assigned cgroup with its tenant.
    pub fn iter(&self) -> impl Iterator<Item = (CgroupId, &Arc<Tenant>)> {
        self.by_cgroup
            .iter()
            .map(|(cgroup, tenant)| (*cgroup, tenant))
    }
}

impl FromIterator<(CgroupId, Arc<Tenant>)> for Tenants {
    fn from_iter<I: IntoIterator<Item = (CgroupId, Arc<Tenant>)>>(entries: I) -> Self {
        Self {
            by_cgroup: entries.into_iter().collect(),
        }
    }
}
