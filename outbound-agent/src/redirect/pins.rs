//! What is pinned, as a table, and the way to take it all off; both without an agent.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};

use super::attach::attach_type_name;
use super::{Error, cgroup_root, file_error};
use crate::model::tenant::CgroupId;
use crate::sys::{self, bpf};

/// One program on one cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// The cgroup, `None` once it is removed.
    pub cgroup: Option<CgroupId>,
    /// Its directory, where it is found below the cgroup root.
    pub path: Option<PathBuf>,
    /// The program's name.
    pub program: String,
    /// The hook, in the kernel's words.
    pub attach_type: &'static str,
    /// The kernel's number of the program.
    pub program_id: u32,
}

/// What is attached where; empty where nothing is pinned.
pub fn attachments(pin_dir: &Path) -> Result<Vec<Attachment>, Error> {
    let directories = match cgroup_root() {
        Ok(root) => cgroup_directories(&root),
        Err(_no_cgroup2) => HashMap::new(),
    };
    let mut found = Vec::new();
    for group in groups(pin_dir)? {
        for path in entries(&group)? {
            let mut attachment = attachment(&path)?;
            attachment.path = attachment
                .cgroup
                .and_then(|cgroup| directories.get(&cgroup.0).cloned());
            found.push(attachment);
        }
    }
    Ok(found)
}

/// Takes every program off, forgets every map, and removes the directory. Gives what was attached.
pub fn detach(pin_dir: &Path) -> Result<Vec<Attachment>, Error> {
    let found = attachments(pin_dir)?;
    for group in groups(pin_dir)? {
        detach_group(&group)?;
    }
    if !pin_dir.exists() {
        return Ok(found);
    }
    for map in entries(pin_dir)? {
        fs::remove_file(&map).map_err(file_error("remove", &map))?;
    }
    fs::remove_dir(pin_dir).map_err(file_error("remove", pin_dir))?;
    Ok(found)
}

/// Takes one set of links off.
pub(super) fn detach_group(group: &Path) -> Result<(), Error> {
    for path in entries(group)? {
        detach_pin(&path)?;
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result.map_err(file_error("remove", group)),
    }
}

/// Takes one link off, even where a forked process still holds it.
pub(super) fn detach_pin(path: &Path) -> Result<(), Error> {
    let link = bpf::get(path).map_err(file_error("open", path))?;
    match bpf::link_detach(link.as_fd()) {
        // The cgroup is gone, and the program with it.
        Err(error) if error.raw_os_error() == Some(nix::libc::ENOLINK) => {}
        Err(error) => return Err(file_error("detach", path)(error)),
        Ok(()) => {}
    }
    fs::remove_file(path).map_err(file_error("remove", path))
}

/// The directories of links below the directory of pins.
pub(super) fn groups(pin_dir: &Path) -> Result<Vec<PathBuf>, Error> {
    listing(pin_dir, true)
}

/// The pins directly below a directory.
pub(super) fn entries(directory: &Path) -> Result<Vec<PathBuf>, Error> {
    listing(directory, false)
}

fn listing(directory: &Path, directories: bool) -> Result<Vec<PathBuf>, Error> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() == directories {
                paths.push(entry.path());
            }
        }
        paths.sort();
        Ok(paths)
    };
    match list() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        result => result.map_err(file_error("list", directory)),
    }
}

fn attachment(path: &Path) -> Result<Attachment, Error> {
    let link = bpf::get(path).map_err(file_error("open", path))?;
    let info = bpf::link_info(link.as_fd()).map_err(file_error("read", path))?;
    let name = path.file_name().unwrap_or_default();
    Ok(Attachment {
        cgroup: (info.cgroup != 0).then_some(CgroupId(info.cgroup)),
        path: None,
        program: name.to_string_lossy().into_owned(),
        attach_type: attach_type_name(info.attach_type),
        program_id: info.program,
    })
}

/// Every cgroup by its id. Those that come and go meanwhile may be missing.
pub(super) fn cgroup_directories(root: &Path) -> HashMap<u64, PathBuf> {
    let mut found = HashMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        waiting.extend(listing(&directory, true).unwrap_or_default());
        if let Ok(id) = sys::cgroup_id(&directory) {
            found.insert(id, directory);
        }
    }
    found
}
