//! Which files a configuration consists of.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::Error;

/// The files of a configuration as they are now: the main one first, then its drop-ins.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = vec![path.to_owned()];
    files.extend(drop_ins(path)?);
    Ok(files)
}

/// `conf.d/*.toml` beside a file, in the order of their names.
pub(super) fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let directory = path.with_file_name("conf.d");
    let failed = |source| Error::Read {
        path: directory.clone(),
        source,
    };
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        let is_hidden = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
            && !is_hidden
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
