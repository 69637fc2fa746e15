//! The cgroups that the patterns of the configuration give to tenants, and where more of them
//! may appear.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use tracing::warn;

use super::place::children;
use crate::config::TenantSpec;
use crate::config::cgroups::{Cgroups, Name, Pattern};
use crate::model::tenant::CgroupId;
use crate::sys;

/// Directories in which a cgroup of one of these names would be a tenant's, or lead to one.
pub type Nurseries = HashMap<PathBuf, HashSet<Name>>;

/// What the patterns match now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matched {
    /// Directory and index of the tenant's specification.
    pub(super) cgroups: HashMap<CgroupId, (PathBuf, usize)>,
    pub(super) nurseries: Nurseries,
}

/// Looks at the patterns of all tenants. A cgroup that the configuration gives to a tenant by its
/// path is no pattern's, nor is one that the agent itself is in; one that two tenants' patterns
/// match is neither's.
pub(super) fn find(
    root: &Path,
    specs: &[TenantSpec],
    own: &Path,
    contested: &mut HashSet<PathBuf>,
) -> Matched {
    let mut matched = Matched::default();
    let mut owners: HashMap<PathBuf, usize> = HashMap::new();
    let mut disputed = HashSet::new();
    let by_path: HashSet<PathBuf> = specs
        .iter()
        .filter_map(|spec| match &spec.cgroups {
            Cgroups::One(path) => Some(root.join(path)),
            Cgroups::Matching(_) => None,
        })
        .collect();
    for (index, spec) in specs.iter().enumerate() {
        let Some(pattern) = spec.cgroups.pattern() else {
            continue;
        };
        for directory in expand(root, pattern, &mut matched.nurseries) {
            if by_path.contains(&directory) || own.starts_with(&directory) {
                continue;
            }
            if let Some(first) = owners.insert(directory.clone(), index) {
                if contested.insert(directory.clone()) {
                    let (one, other) = (&specs[first].tenant.id, &spec.tenant.id);
                    let cgroup = directory.display();
                    warn!(%cgroup, %one, %other, "patterns of two tenants match a cgroup; it is neither's");
                }
                disputed.insert(directory);
            }
        }
    }
    contested.retain(|directory| disputed.contains(directory));
    for (directory, index) in owners {
        if disputed.contains(&directory) {
            continue;
        }
        // Gone meanwhile, else.
        if let Ok(id) = sys::cgroup_id(&directory) {
            matched.cgroups.insert(CgroupId(id), (directory, index));
        }
    }
    matched
}

fn expand(root: &Path, pattern: &Pattern, nurseries: &mut Nurseries) -> Vec<PathBuf> {
    let mut directories = vec![root.to_owned()];
    for name in pattern.names() {
        let mut below = Vec::new();
        for directory in directories {
            match name.literal() {
                Some(literal) => {
                    let child = directory.join(literal);
                    below.extend(child.is_dir().then_some(child));
                }
                None => below.extend(matching(&directory, name)),
            }
            nurseries.entry(directory).or_default().insert(name.clone());
        }
        directories = below;
    }
    directories
}

fn matching(directory: &Path, name: &Name) -> impl Iterator<Item = PathBuf> {
    let found = children(directory).unwrap_or_default().into_iter();
    found.filter(|child| {
        let found = child.file_name().and_then(|found| found.to_str());
        found.is_some_and(|found| name.matches(found))
    })
}
