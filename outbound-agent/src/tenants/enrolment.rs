//! What was connected in a cgroup before it was a tenant's is ended before it becomes one.
//!
//! Between the hooks' attachment and the publication of the identity no socket can be made or
//! connected in the cgroup, so whatever is found there then is a stranger: made in it before, or
//! made elsewhere and held by a process of it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Error;
use super::place::children;
use crate::redirect::{self, Cut, Strangers};
use crate::sys;

/// Ends every socket that is in one of these cgroups or below, in every network namespace that
/// their processes are in, and in the agent's own.
pub(super) fn cut_strangers<P: AsRef<Path>>(
    cgroups: impl Iterator<Item = P>,
) -> Result<Cut, Error> {
    cut(cgroups).map_err(|source| Error::Strangers { source })
}

fn cut<P: AsRef<Path>>(cgroups: impl Iterator<Item = P>) -> io::Result<Cut> {
    let mut strangers = Strangers::default();
    let mut namespaces = HashMap::new();
    for cgroup in cgroups.filter(|cgroup| is_populated(cgroup.as_ref())) {
        collect(cgroup.as_ref(), &mut strangers, &mut namespaces);
    }
    if strangers.cgroups.is_empty() {
        return Ok(Cut::default());
    }
    let own = fs::metadata("/proc/self/ns/net")?.ino();
    let mut cut = redirect::cut(&strangers)?;
    namespaces.remove(&own);
    for path in namespaces.into_values() {
        match File::open(path) {
            Ok(netns) => {
                cut.add(sys::within_netns(netns.as_fd(), || {
                    redirect::cut(&strangers)
                })??);
            }
            // Its process has ended; what else lives there was found by another or has nobody.
            Err(error) if is_gone(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(cut)
}

/// Whether a process is in the cgroup or below it. Where the kernel does not say, it may be.
fn is_populated(cgroup: &Path) -> bool {
    let events = fs::read_to_string(cgroup.join("cgroup.events"));
    !events.is_ok_and(|events| events.lines().any(|line| line == "populated 0"))
}

/// Cgroup ids, inodes of sockets, and network namespaces with a path to each.
fn collect(cgroup: &Path, strangers: &mut Strangers, namespaces: &mut HashMap<u64, PathBuf>) {
    let mut waiting = vec![cgroup.to_owned()];
    while let Some(directory) = waiting.pop() {
        strangers.cgroups.extend(sys::cgroup_id(&directory));
        waiting.extend(children(&directory).unwrap_or_default());
        let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        for pid in listed.lines() {
            strangers.inodes.extend(sockets_of(pid));
            let netns = PathBuf::from(format!("/proc/{pid}/ns/net"));
            if let Ok(found) = fs::metadata(&netns) {
                namespaces.insert(found.ino(), netns);
            }
        }
    }
}

/// The sockets that a process has open, by their inodes.
fn sockets_of(pid: &str) -> Vec<u32> {
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter();
    let targets = descriptors
        .flatten()
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    targets
        .filter_map(|target| {
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            inode.strip_suffix(']')?.parse().ok()
        })
        .collect()
}

fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(nix::libc::ESRCH)
}
