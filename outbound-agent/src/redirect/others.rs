//! Programs of others on the hooks that ours need.

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
