//! Which cgroup is meant: by its path, by a process in it, by the name of its unit.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Error;
use crate::model::tenant::CgroupId;
use crate::redirect;
use crate::sys;

/// How an operator names a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Its path, from the cgroup root or absolute.
    Cgroup(PathBuf),
    /// The cgroup that this process is in.
    Process(u32),
    /// The cgroup of a unit of the service manager; `.service` where the name has no type.
    Unit(String),
}

/// A cgroup that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its directory.
    pub directory: PathBuf,
    /// Its id.
    pub id: CgroupId,
}

/// The kernel side looks for a tenant this far below the root.
const DEEPEST: usize = 16;

impl Named {
    /// Finds it below the cgroup root.
    pub fn find(&self, root: &Path) -> Result<Place, Error> {
        let directory = match self {
            Self::Cgroup(path) => below(root, path)?,
            Self::Process(pid) => {
                redirect::cgroup_of(*pid, root).map_err(|_gone| Error::NoProcess { pid: *pid })?
            }
            Self::Unit(unit) => find_unit(root, unit)?,
        };
        let id = sys::cgroup_id(&directory).map_err(|source| Error::NoCgroup {
            path: directory.clone(),
            source,
        })?;
        if directory
            .strip_prefix(root)
            .is_ok_and(|path| path.components().count() > DEEPEST)
        {
            return Err(Error::TooDeep { path: directory });
        }
        Ok(Place {
            directory,
            id: CgroupId(id),
        })
    }
}

fn below(root: &Path, path: &Path) -> Result<PathBuf, Error> {
    let outside = || Error::Outside {
        path: path.to_owned(),
        root: root.to_owned(),
    };
    let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    if !path.components().all(is_plain) {
        return Err(outside());
    }
    let directory = if path.starts_with(root) {
        path.to_owned()
    } else {
        root.join(path.strip_prefix("/").unwrap_or(path))
    };
    if directory == root {
        return Err(outside());
    }
    Ok(directory)
}

/// Units are cgroups of their names, somewhere below the root.
fn find_unit(root: &Path, unit: &str) -> Result<PathBuf, Error> {
    const TYPES: [&str; 3] = [".service", ".scope", ".slice"];
    let name = if TYPES.iter().any(|kind| unit.ends_with(kind)) {
        unit.to_owned()
    } else {
        format!("{unit}.service")
    };
    let missing = || Error::NoUnit { unit: name.clone() };
    if name.contains('/') {
        return Err(missing());
    }
    let mut found = Vec::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for child in children(&directory).unwrap_or_default() {
            if child.file_name().is_some_and(|found| *found == *name) {
                found.push(child);
            } else {
                waiting.push(child);
            }
        }
    }
    let first = found.pop().ok_or_else(missing)?;
    if let Some(second) = found.pop() {
        return Err(Error::Ambiguous {
            unit: name,
            one: first,
            other: second,
        });
    }
    Ok(first)
}

/// The cgroups directly below one.
pub(super) fn children(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(root: &Path, named: Named) -> Result<PathBuf, Error> {
        named.find(root).map(|place| place.directory)
    }

    #[test]
    fn a_path_is_taken_from_the_cgroup_root() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("a/b")).unwrap();
        for path in [Path::new("/a/b"), Path::new("a/b"), &root.join("a/b")] {
            assert_eq!(
                find(root, Named::Cgroup(path.into())).unwrap(),
                root.join("a/b")
            );
        }
        for path in ["/", "", "/a/../..", "../etc"] {
            let error = find(root, Named::Cgroup(path.into())).unwrap_err();
            assert!(matches!(error, Error::Outside { .. }), "{path}: {error}");
        }
        let error = find(root, Named::Cgroup("/c".into())).unwrap_err();
        assert!(matches!(error, Error::NoCgroup { .. }), "{error}");
    }

    #[test]
    fn a_unit_is_found_by_its_name_where_there_is_one_of_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let unit = root.join("system.slice/web.service");
        fs::create_dir_all(unit.join("web.service")).unwrap();
        for name in ["web", "web.service"] {
            assert_eq!(find(root, Named::Unit(name.to_owned())).unwrap(), unit);
        }
        let missing = find(root, Named::Unit("db".to_owned())).unwrap_err();
        assert!(matches!(missing, Error::NoUnit { .. }), "{missing}");
        fs::create_dir_all(root.join("user.slice/web.service")).unwrap();
        let several = find(root, Named::Unit("web".to_owned())).unwrap_err();
        assert!(matches!(several, Error::Ambiguous { .. }), "{several}");
    }

    #[test]
    fn a_process_that_has_ended_is_no_place() {
        let error = find(Path::new("/"), Named::Process(u32::MAX)).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("there is no process {}", u32::MAX)
        );
    }

    #[test]
    fn what_the_kernel_side_would_not_find_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let deep: PathBuf = std::iter::repeat_n("d", DEEPEST + 1).collect();
        fs::create_dir_all(root.path().join(&deep)).unwrap();
        let error = find(root.path(), Named::Cgroup(deep)).unwrap_err();
        assert!(matches!(error, Error::TooDeep { .. }), "{error}");
    }
}
