//! Directories covered by copies in memory, files covered by other files. In the mount namespace
//! of the calling thread.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::stat::Mode;

use super::{Error, at};

/// A directory whose content is ours.
pub(super) struct Covered {
    path: PathBuf,
}

impl Covered {
    /// Covers a directory by a copy of itself: its files, links and directories, and no sockets.
    pub(super) fn copy(directory: &Path) -> Result<Self, Error> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let below = open(directory, flags, Mode::empty()).map_err(at("open", directory))?;
        let covered = Self::empty(directory)?;
        let below = PathBuf::from(format!("/proc/thread-self/fd/{}", below.as_raw_fd()));
        copy_all(&below, directory, DEPTH).map_err(io_at("copy", directory))?;
        Ok(covered)
    }

    /// Covers a directory by an empty one.
    pub(super) fn empty(directory: &Path) -> Result<Self, Error> {
        let mode = fs::metadata(directory).map_err(io_at("look at", directory))?;
        let options = format!("size=64m,mode={:o}", mode.permissions().mode() & 0o7777);
        let memory = Some("tmpfs");
        mount(memory, directory, memory, HARMLESS, Some(options.as_str()))
            .map_err(at("cover", directory))?;
        Ok(Self {
            path: directory.to_owned(),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a copy of a file into it.
    pub(super) fn add(&self, name: &Path, file: &Path) -> Result<(), Error> {
        let target = self.path.join(name);
        let copied = fs::copy(file, &target).map(drop);
        copied.map_err(io_at("write", &target))
    }

    /// From now on nothing is written there.
    pub(super) fn seal(self) -> Result<(), Error> {
        read_only(&self.path)
    }

    /// Takes the cover off; what was put elsewhere from it stays.
    pub(super) fn uncover(self) -> Result<(), Error> {
        umount2(&self.path, MntFlags::MNT_DETACH).map_err(at("uncover", &self.path))
    }
}

/// Covers a file, or a socket, by a file that cannot be written.
pub(super) fn cover_file(file: &Path, by: &Path) -> Result<(), Error> {
    let none = None::<&str>;
    mount(Some(by), file, none, MsFlags::MS_BIND, none).map_err(at("cover", file))?;
    read_only(file)
}

fn read_only(path: &Path) -> Result<(), Error> {
    let none = None::<&str>;
    let flags = HARMLESS | MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
    mount(none, path, none, flags, none).map_err(at("seal", path))
}

fn copy_all(from: &Path, to: &Path, depth: u8) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, source) = (entry.file_type()?, entry.path());
        let target = to.join(entry.file_name());
        if kind.is_symlink() {
            symlink(fs::read_link(source)?, target)?;
        } else if kind.is_file() {
            fs::copy(source, target)?;
        } else if kind.is_dir() && depth > 0 {
            fs::create_dir(&target)?;
            fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy_all(&source, &target, depth - 1)?;
        }
    }
    Ok(())
}

fn io_at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::Path {
        action,
        path,
        source,
    }
}

const HARMLESS: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);
/// How far down directories are copied.
const DEPTH: u8 = 8;
