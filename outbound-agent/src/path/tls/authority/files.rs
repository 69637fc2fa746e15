//! Files of an authority: made once, or replaced whole.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::Error;

/// Writes a file for everybody to read, whole or not at all, and makes its directory.
pub fn publish(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).map_err(file("make", directory))?;
        fs::set_permissions(directory, Permissions::from_mode(0o755))
            .map_err(file("open up", directory))?;
    }
    let new = path.with_extension("new");
    drop(fs::remove_file(&new));
    write(&new, bytes, 0o644)?;
    fs::rename(&new, path).map_err(file("replace", path))
}

/// Writes a file that is not there yet, with this very mode, whatever the umask.
pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut opened = options.open(path).map_err(file("make", path))?;
    opened
        .set_permissions(Permissions::from_mode(mode))
        .and_then(|()| opened.write_all(bytes))
        .and_then(|()| opened.sync_all())
        .map_err(file("write", path))
}

pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File {
        action,
        path,
        source,
    }
}
