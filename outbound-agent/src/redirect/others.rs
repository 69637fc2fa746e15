//! Programs of others on the hooks that ours need.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::attach::{AGENT, SENTINEL, WORKLOAD, attach_type_name};
use super::{Error, file_error, pins};
use crate::sys::bpf;

/// `BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI`
const ALLOWS_OTHERS: u32 = 1 | 2;
/// Its programs are counted over all hooks of all modules, and none is ever exclusive.
const LSM_CGROUP: u32 = 43;

/// A program that allows no other beside it, on its cgroup and on all below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exclusive {
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// The hook, in the kernel's words.
    pub attach_type: &'static str,
}

/// A hook of a cgroup of ours on which programs of others run as well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SharedHook {
    /// The cgroup's directory.
    pub cgroup: PathBuf,
    /// The hook, in the kernel's words.
    pub attach_type: &'static str,
    /// In the order in which they run. One that refuses keeps none of the later from running.
    pub programs: Vec<Runs>,
}

/// A program that runs on a hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Runs {
    /// Its name, or its number where it was given none.
    pub name: String,
    /// Whether it is ours.
    pub is_ours: bool,
}

/// Every hook of a cgroup that we attached to on which others are, too.
pub fn shared(pin_dir: &Path, cgroup_root: &Path) -> Result<Vec<SharedHook>, Error> {
    let attached = pins::attachments(pin_dir)?;
    let ours: HashSet<u32> = attached.iter().map(|one| one.program_id).collect();
    let hooks: BTreeSet<(&Path, u32)> = [WORKLOAD, AGENT, SENTINEL]
        .into_iter()
        .flatten()
        .filter(|hook| hook.attach_type != LSM_CGROUP)
        .flat_map(|hook| {
            let of_hook = attached.iter().filter(|one| one.program == hook.program);
            of_hook.filter_map(|one| Some((one.path.as_deref()?, hook.attach_type)))
        })
        .collect();
    let mut found = Vec::new();
    for (path, attach_type) in hooks {
        let Ok(cgroup) = File::open(path) else {
            continue;
        };
        let programs = bpf::cgroup_programs(cgroup.as_fd(), attach_type)
            .map_err(file_error("list the programs of", path))?;
        if programs.iter().all(|id| ours.contains(id)) || path == cgroup_root {
            continue;
        }
        let runs = |&id: &u32| Runs {
            // A program may have been taken off since.
            name: match bpf::program_name(id) {
                Ok(name) if !name.is_empty() => name,
                Ok(_) | Err(_) => id.to_string(),
            },
            is_ours: ours.contains(&id),
        };
        found.push(SharedHook {
            cgroup: path.to_owned(),
            attach_type: attach_type_name(attach_type),
            programs: programs.iter().map(runs).collect(),
        });
    }
    Ok(found)
}

/// Every program that keeps ours off, wherever in the hierarchy.
pub fn exclusive(cgroup_root: &Path) -> Result<Vec<Exclusive>, Error> {
    let mut hooks: Vec<u32> = [WORKLOAD, AGENT, SENTINEL]
        .into_iter()
        .flatten()
        .map(|hook| hook.attach_type)
        .filter(|&attach_type| attach_type != LSM_CGROUP)
        .collect();
    hooks.sort_unstable();
    hooks.dedup();
    let mut found = Vec::new();
    for path in pins::cgroup_directories(cgroup_root).into_values() {
        // Cgroups that go meanwhile have no programs.
        let Ok(cgroup) = File::open(&path) else {
            continue;
        };
        for &attach_type in &hooks {
            let hook = bpf::cgroup_hook(cgroup.as_fd(), attach_type)
                .map_err(file_error("list the programs of", &path))?;
            if hook.programs > 0 && hook.flags & ALLOWS_OTHERS == 0 {
                found.push(Exclusive {
                    cgroup: path.clone(),
                    attach_type: attach_type_name(attach_type),
                });
            }
        }
    }
    found.sort_by(|a, b| (&a.cgroup, a.attach_type).cmp(&(&b.cgroup, b.attach_type)));
    Ok(found)
}
