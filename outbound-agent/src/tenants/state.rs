//! What was assigned while the agent ran, kept for the next one.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::error;

use super::Error;

/// One assignment that an operator asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    /// Whose it is.
    pub(super) tenant: String,
    /// The cgroup's directory.
    pub(super) cgroup: PathBuf,
    /// Its id: another cgroup of the same name is not meant.
    pub(super) cgroup_id: u64,
}

/// The file, as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    /// Cgroup ids begin anew with every boot.
    boot: String,
    assignments: Vec<Lease>,
}

/// The file.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
}

const VERSION: u32 = 1;
const NAME: &str = "assignments.json";

impl State {
    pub(super) fn within(directory: &Path) -> Self {
        Self {
            path: directory.join(NAME),
        }
    }

    /// What was assigned since the host was started; nothing where there is no file. Nor where
    /// it is not one of ours: what it said stays without egress then, and the rest is served.
    pub(super) fn load(&self) -> Result<Vec<Lease>, Error> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.failed("read", source)),
        };
        let boot = boot().map_err(|source| self.failed("date", source))?;
        match serde_json::from_slice::<Written>(&text) {
            Ok(written) if written.version == VERSION && written.boot == boot => {
                Ok(written.assignments)
            }
            Ok(written) if written.version == VERSION => Ok(Vec::new()),
            Ok(Written { version, .. }) => {
                let path = self.path.display();
                error!(%path, version, "assignments of another version; assign again");
                Ok(Vec::new())
            }
            Err(error) => {
                let path = self.path.display();
                error!(%path, %error, "assignments that cannot be read; assign again");
                Ok(Vec::new())
            }
        }
    }

    /// Replaces the file, whole or not at all.
    pub(super) fn save(&self, leases: Vec<Lease>) -> Result<(), Error> {
        self.replace(leases)
            .map_err(|source| self.failed("write", source))
    }

    /// Not synchronised with the disk: what is lost with the host's power means nothing after it.
    fn replace(&self, assignments: Vec<Lease>) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let written = Written {
            version: VERSION,
            boot: boot()?,
            assignments,
        };
        let unfinished = self.path.with_extension("json.new");
        let mut file = File::options()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        let mut text = serde_json::to_vec(&written)?;
        text.push(b'\n');
        file.write_all(&text)?;
        fs::rename(&unfinished, &self.path)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> Error {
        Error::State {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

fn boot() -> io::Result<String> {
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(id.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn lease() -> Lease {
        Lease {
            tenant: "acme".to_owned(),
            cgroup: "/sys/fs/cgroup/acme".into(),
            cgroup_id: 7,
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::within(&directory.path().join("state"));
        assert_eq!(state.load().unwrap(), []);
        state.save(vec![lease()]).unwrap();
        assert_eq!(state.load().unwrap(), [lease()]);
        let mode = fs::metadata(&state.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn ids_of_another_boot_mean_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::within(directory.path());
        state.save(vec![lease()]).unwrap();
        let text = fs::read_to_string(&state.path).unwrap();
        fs::write(&state.path, text.replace(&boot().unwrap(), "another")).unwrap();
        assert_eq!(state.load().unwrap(), []);
    }

    #[test]
    fn a_file_that_is_not_ours_assigns_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::within(directory.path());
        for text in ["{", "", "{\"version\":2,\"boot\":\"\",\"assignments\":[]}"] {
            fs::write(&state.path, text).unwrap();
            assert_eq!(state.load().unwrap(), []);
        }
    }
}
