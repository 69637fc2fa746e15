//! What the doctor leaves on the host while it runs, and takes away.

use std::fs;
use std::path::{Path, PathBuf};

use crate::redirect;

/// Followed by the process id.
const NAME: &str = "outbound-doctor-";
const BPFFS: &str = "/sys/fs/bpf";

/// Cgroups below the root.
pub(super) struct Scratch {
    root: PathBuf,
    /// Nothing is on it: for controls.
    pub(super) free: PathBuf,
    /// As a tenant's.
    pub(super) fenced: PathBuf,
    /// To become a tenant's while something runs in it.
    pub(super) late: PathBuf,
}

impl Scratch {
    pub(super) fn make(cgroup_root: &Path) -> anyhow::Result<Self> {
        let root = cgroup_root.join(format!("{NAME}{}", std::process::id()));
        let scratch = Self {
            free: root.join("free"),
            fenced: root.join("fenced"),
            late: root.join("late"),
            root,
        };
        for cgroup in [&scratch.free, &scratch.fenced, &scratch.late] {
            fs::create_dir_all(cgroup)?;
        }
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove_cgroup(&self.root);
    }
}

/// The directory of pins.
pub(super) struct Pins(PathBuf);

impl Pins {
    pub(super) fn new() -> Self {
        Self(Path::new(BPFFS).join(format!("{NAME}{}", std::process::id())))
    }

    pub(super) fn directory(&self) -> &Path {
        &self.0
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        detach(&self.0);
    }
}

/// Takes away what a doctor has left that was killed.
pub(super) fn sweep(cgroup_root: &Path) {
    for left in left_in(Path::new(BPFFS)) {
        detach(&left);
    }
    for left in left_in(cgroup_root) {
        remove_cgroup(&left);
    }
}

/// Directories of doctors that run no more.
fn left_in(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| {
            let name = entry.file_name();
            let pid = name.to_str().and_then(|name| name.strip_prefix(NAME));
            pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        })
        .map(|entry| entry.path())
        .collect()
}

fn detach(pins: &Path) {
    if let Err(error) = redirect::detach(pins) {
        tracing::warn!(pins = %pins.display(), %error, "not everything came off");
    }
}

fn remove_cgroup(cgroup: &Path) {
    let children = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for child in children.filter(|child| child.path().is_dir()) {
        remove_cgroup(&child.path());
    }
    if let Err(error) = fs::remove_dir(cgroup) {
        tracing::warn!(cgroup = %cgroup.display(), %error, "the cgroup stays");
    }
}
