//! What was assigned and dispatched while the agent ran, kept for the next one.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::error;

use super::Error;
use crate::model::worker::Values;

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
    /// Whether it is there for a dispatch alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) for_dispatch: bool,
}

/// One dispatch, of a cgroup that is the tenant's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bound {
    /// Its name.
    pub(super) id: String,
    /// Of whom.
    pub(super) tenant: String,
    /// The cgroup's id.
    pub(super) cgroup_id: u64,
    /// The parameters, as they were given.
    pub(super) outbound: Values,
}

/// What is kept.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Kept {
    pub(super) assignments: Vec<Lease>,
    pub(super) dispatches: Vec<Bound>,
}

/// The file, as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    version: u32,
    /// Cgroup ids begin anew with every boot.
    boot: String,
    assignments: Vec<Lease>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dispatches: Vec<Bound>,
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
    pub(super) fn load(&self) -> Result<Kept, Error> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Kept::default()),
            Err(source) => return Err(self.failed("read", source)),
        };
        let boot = boot().map_err(|source| self.failed("date", source))?;
        match serde_json::from_slice::<Written>(&text) {
            Ok(written) if written.version == VERSION && written.boot == boot => Ok(Kept {
                assignments: written.assignments,
                dispatches: written.dispatches,
            }),
            Ok(written) if written.version == VERSION => Ok(Kept::default()),
            Ok(Written { version, .. }) => {
                let path = self.path.display();
                error!(%path, version, "assignments of another version; assign again");
                Ok(Kept::default())
            }
            Err(error) => {
                let path = self.path.display();
                error!(%path, %error, "assignments that cannot be read; assign again");
                Ok(Kept::default())
            }
        }
    }

    /// Replaces the file, whole or not at all.
    pub(super) fn save(&self, kept: Kept) -> Result<(), Error> {
        self.replace(kept)
            .map_err(|source| self.failed("write", source))
    }

    /// Not synchronised with the disk: what is lost with the host's power means nothing after it.
    fn replace(&self, kept: Kept) -> io::Result<()> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        let written = Written {
            version: VERSION,
            boot: boot()?,
            assignments: kept.assignments,
            dispatches: kept.dispatches,
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

    fn kept() -> Kept {
        let lease = Lease {
            tenant: "acme".to_owned(),
            cgroup: "/sys/fs/cgroup/acme".into(),
            cgroup_id: 7,
            for_dispatch: true,
        };
        let bound = Bound {
            id: "1".to_owned(),
            tenant: "acme".to_owned(),
            cgroup_id: 7,
            outbound: [("plan".to_owned(), "free".into())].into_iter().collect(),
        };
        Kept {
            assignments: vec![lease],
            dispatches: vec![bound],
        }
    }

    #[test]
    fn what_is_saved_is_loaded_and_nobody_else_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::within(&directory.path().join("state"));
        assert_eq!(state.load().unwrap(), Kept::default());
        state.save(kept()).unwrap();
        assert_eq!(state.load().unwrap(), kept());
        let mode = fs::metadata(&state.path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn ids_of_another_boot_mean_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::within(directory.path());
        state.save(kept()).unwrap();
        let text = fs::read_to_string(&state.path).unwrap();
        fs::write(&state.path, text.replace(&boot().unwrap(), "another")).unwrap();
        assert_eq!(state.load().unwrap(), Kept::default());
    }

    #[test]
    fn what_an_agent_without_dispatches_has_saved_is_loaded() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::within(directory.path());
        let lease = r#"{"tenant":"acme","cgroup":"/sys/fs/cgroup/acme","cgroup_id":7}"#;
        let boot = boot().unwrap();
        let text = format!(r#"{{"version":1,"boot":"{boot}","assignments":[{lease}]}}"#);
        fs::write(&state.path, text).unwrap();
        let kept = state.load().unwrap();
        assert!(!kept.assignments[0].for_dispatch);
        assert_eq!(kept.dispatches, []);
    }

    #[test]
    fn a_file_that_is_not_ours_assigns_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::within(directory.path());
        for text in ["{", "", "{\"version\":2,\"boot\":\"\",\"assignments\":[]}"] {
            fs::write(&state.path, text).unwrap();
            assert_eq!(state.load().unwrap(), Kept::default());
        }
    }
}
