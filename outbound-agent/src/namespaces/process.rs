//! Processes, as `/proc` and the cgroup hierarchy show them.

use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::libc;
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

use super::Error;

/// Every process in a cgroup and below it. Those that come and go meanwhile may be missing.
pub(super) fn all_in(cgroup: &Path) -> Vec<u32> {
    let mut found = Vec::new();
    let mut waiting = vec![cgroup.to_owned()];
    while let Some(directory) = waiting.pop() {
        // In a threaded cgroup this fails; its domain above it has the process.
        let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        found.extend(listed.lines().filter_map(|line| line.parse::<u32>().ok()));
        waiting.extend(children(&directory));
    }
    found
}

fn children(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The threads of a process, it itself among them.
pub(super) fn threads(pid: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{pid}/task")).into_iter();
    let names = entries.flatten().flatten().map(|entry| entry.file_name());
    names
        .filter_map(|name| name.to_str().and_then(|name| name.parse().ok()))
        .collect()
}

/// Where the network namespace of a process or thread is opened.
pub(super) fn netns(pid: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/ns/net"))
}

/// Opens what may be a namespace without the effects that opening something else might have.
pub(super) fn open_namespace(path: &Path) -> Result<File, Error> {
    let look = |source| Error::Look {
        path: path.to_owned(),
        source,
    };
    let named = File::options()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(path)
        .map_err(look)?;
    let is_namespace = fstatfs(&named).is_ok_and(|found| found.filesystem_type() == NSFS_MAGIC);
    if !is_namespace {
        return Err(Error::NotANamespace {
            path: path.to_owned(),
        });
    }
    File::open(format!("/proc/self/fd/{}", named.as_raw_fd())).map_err(look)
}
