//! The cgroups of `outbound run`, one below its tenant's for each command.
//!
//! Whoever runs a command holds a lock on its cgroup's directory, and removes it afterwards. What
//! the command has left running keeps it; once that has ended as well, nobody holds the lock, and
//! the agent removes it.

use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::sys;

/// The cgroup of one run; removed when dropped, unless something of the command lives on in it.
pub struct RunCgroup {
    path: PathBuf,
    directory: File,
}

const PREFIX: &str = "run-";

impl RunCgroup {
    /// Makes one below a tenant's cgroup.
    pub fn make(tenant: &Path) -> io::Result<Self> {
        let path = tenant.join(format!("{PREFIX}{}", std::process::id()));
        loop {
            match fs::create_dir(&path) {
                Ok(()) => {}
                // Left behind by a run with our process id; what lives in it is the same tenant's.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            if let Some(directory) = held(&path)? {
                return Ok(Self { path, directory });
            }
        }
    }

    /// Its directory's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where a process is to start.
    pub const fn directory(&self) -> &File {
        &self.directory
    }
}

/// The directory, locked; `None` where the agent took it for an abandoned one meanwhile.
fn held(path: &Path) -> io::Result<Option<File>> {
    let found = File::open(path).and_then(|directory| {
        directory.lock_shared()?;
        let is_there = sys::cgroup_id(path)? == directory.metadata()?.ino();
        Ok(is_there.then_some(directory))
    });
    match found {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found,
    }
}

impl Drop for RunCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the cgroup of the run stays");
        }
    }
}

/// Removes the cgroups below a tenant's in which commands were run of which nothing is left.
pub fn clear(tenant: &Path) {
    let Ok(children) = super::place::children(tenant) else {
        return;
    };
    for path in children {
        let name = path.file_name().and_then(|name| name.to_str());
        let is_run = name
            .and_then(|name| name.strip_prefix(PREFIX))
            .is_some_and(|pid| pid.parse::<u32>().is_ok());
        if is_run && let Err(error) = remove_abandoned(&path) {
            tracing::debug!(path = %path.display(), %error, "the cgroup of a run stays");
        }
    }
}

fn remove_abandoned(path: &Path) -> io::Result<()> {
    let directory = File::open(path)?;
    match directory.try_lock() {
        // Fails as long as it has a process.
        Ok(()) => fs::remove_dir(path),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_holds_is_cleared_and_what_is_held_stays() {
        let tenant = tempfile::tempdir().unwrap();
        let held = RunCgroup::make(tenant.path()).unwrap();
        for name in ["run-1", "run-1.scope", "web"] {
            fs::create_dir(tenant.path().join(name)).unwrap();
        }
        clear(tenant.path());
        let mut left: Vec<_> = super::super::place::children(tenant.path()).unwrap();
        left.sort();
        let mut expected = ["run-1.scope", "web"]
            .map(|name| tenant.path().join(name))
            .to_vec();
        expected.insert(0, held.path.clone());
        expected.sort();
        assert_eq!(left, expected);
        drop(held);
        assert_eq!(
            super::super::place::children(tenant.path()).unwrap().len(),
            2
        );
    }
}
