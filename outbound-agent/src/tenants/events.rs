//! Word from the kernel when tenants' cgroups fill, empty, go and come back.
//!
//! One inotify descriptor for all of them. What it misses (its queue is bounded) is found by
//! whoever looks at every cgroup from time to time.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::io::unix::AsyncFd;

use super::{Homes, Nurseries};
use crate::config::cgroups::Name;
use crate::model::tenant::CgroupId;
use crate::sys;

/// What has happened since it was last asked for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Happened {
    /// These have got their first process, or lost their last.
    pub filled_or_emptied: HashSet<CgroupId>,
    /// A cgroup that is a tenant's, or would be, has come or gone.
    pub come_or_gone: bool,
}

/// The kernel's word.
pub struct Events {
    inotify: Inotify,
    readable: AsyncFd<OwnedFd>,
    watches: HashMap<WatchDescriptor, Watched>,
    homes: HashMap<CgroupId, WatchDescriptor>,
    parents: HashMap<PathBuf, WatchDescriptor>,
}

enum Watched {
    /// `cgroup.events` of a tenant's cgroup.
    Home(CgroupId),
    /// A directory, the names in it that are tenants' cgroups, and those that may become some.
    Parent(HashSet<OsString>, HashSet<Name>),
}

impl Events {
    /// Hears nothing yet. Must be called within a runtime.
    pub fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let readable = sys::readiness(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Self {
            inotify,
            readable,
            watches: HashMap::new(),
            homes: HashMap::new(),
            parents: HashMap::new(),
        })
    }

    /// Hears of these cgroups from now on, of those that appear in the nurseries, and of no
    /// others. A cgroup that goes meanwhile is heard of as gone.
    pub fn follow(&mut self, homes: &Homes, nurseries: &Nurseries) -> io::Result<()> {
        self.homes.retain(|cgroup, watch| {
            let stays = homes.contains_key(cgroup);
            if !stays {
                self.watches.remove(watch);
                // Ended with the file, if that is gone.
                let _gone = self.inotify.rm_watch(*watch);
            }
            stays
        });
        let mut names: HashMap<&Path, HashSet<OsString>> = HashMap::new();
        for (cgroup, directory) in homes {
            if let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) {
                names.entry(parent).or_default().insert(name.to_owned());
            }
            if self.homes.contains_key(cgroup) {
                continue;
            }
            let events = directory.join("cgroup.events");
            if let Some(watch) = self.watch(&events, AddWatchFlags::IN_MODIFY)? {
                self.watches.insert(watch, Watched::Home(*cgroup));
                self.homes.insert(*cgroup, watch);
            }
        }
        self.follow_parents(names, nurseries)
    }

    fn follow_parents<'a>(
        &mut self,
        mut names: HashMap<&'a Path, HashSet<OsString>>,
        nurseries: &'a Nurseries,
    ) -> io::Result<()> {
        for nursery in nurseries.keys() {
            names.entry(nursery).or_default();
        }
        self.parents.retain(|parent, watch| {
            let stays = names.contains_key(&**parent);
            if !stays {
                self.watches.remove(watch);
                let _gone = self.inotify.rm_watch(*watch);
            }
            stays
        });
        for (parent, names) in names {
            let flags = AddWatchFlags::IN_CREATE | AddWatchFlags::IN_DELETE;
            // The same directory has the same watch; one that was made anew has another.
            if let Some(watch) = self.watch(parent, flags)? {
                let patterns = nurseries.get(parent).cloned().unwrap_or_default();
                self.watches.insert(watch, Watched::Parent(names, patterns));
                self.parents.insert(parent.to_owned(), watch);
            }
        }
        Ok(())
    }

    /// `None` where the file has gone.
    fn watch(&self, path: &Path, flags: AddWatchFlags) -> io::Result<Option<WatchDescriptor>> {
        match self.inotify.add_watch(path, flags) {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::ENOENT | Errno::ENODEV) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// What has happened, once something has. Safe to cancel.
    pub async fn next(&mut self) -> io::Result<Happened> {
        loop {
            let happened = self.take()?;
            if happened != Happened::default() {
                return Ok(happened);
            }
            let mut ready = self.readable.readable().await?;
            // Before anything is waited for, the queue is looked at again.
            ready.clear_ready();
        }
    }

    fn take(&mut self) -> io::Result<Happened> {
        let mut happened = Happened::default();
        loop {
            match self.inotify.read_events() {
                Ok(events) => events
                    .iter()
                    .for_each(|event| self.sort(event, &mut happened)),
                Err(Errno::EAGAIN) => return Ok(happened),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn sort(&mut self, event: &InotifyEvent, happened: &mut Happened) {
        if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
            happened.come_or_gone = true;
            return;
        }
        match self.watches.get(&event.wd) {
            Some(Watched::Home(cgroup)) => {
                happened.filled_or_emptied.insert(*cgroup);
            }
            Some(Watched::Parent(names, patterns)) => {
                let may_match = |name: &OsString| {
                    let name = name.to_str().unwrap_or_default();
                    patterns.iter().any(|pattern| pattern.matches(name))
                };
                let is_ours = |name| names.contains(name) || may_match(name);
                happened.come_or_gone |= event.name.as_ref().is_some_and(is_ours);
            }
            // Of a watch that was taken away meanwhile.
            None => return,
        }
        if event.mask.contains(AddWatchFlags::IN_IGNORED) {
            happened.come_or_gone = true;
            match self.watches.remove(&event.wd) {
                Some(Watched::Home(cgroup)) => drop(self.homes.remove(&cgroup)),
                Some(Watched::Parent(..)) | None => {
                    self.parents.retain(|_, watch| *watch != event.wd);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;

    fn home(parent: &Path, name: &str, id: u64) -> (CgroupId, Arc<Path>) {
        let directory = parent.join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("cgroup.events"), "populated 0\n").unwrap();
        (CgroupId(id), directory.into())
    }

    #[tokio::test]
    async fn a_cgroup_is_heard_when_it_fills() {
        let root = tempfile::tempdir().unwrap();
        let homes = Homes::from([home(root.path(), "a", 1), home(root.path(), "b", 2)]);
        let mut events = Events::new().unwrap();
        events.follow(&homes, &Nurseries::new()).unwrap();
        fs::write(root.path().join("b/cgroup.events"), "populated 1\n").unwrap();
        let happened = events.next().await.unwrap();
        assert_eq!(happened.filled_or_emptied, HashSet::from([CgroupId(2)]));
        assert!(!happened.come_or_gone);
    }

    #[tokio::test]
    async fn a_cgroup_is_heard_when_it_goes_and_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let homes = Homes::from([home(root.path(), "a", 1)]);
        let mut events = Events::new().unwrap();
        events.follow(&homes, &Nurseries::new()).unwrap();
        fs::create_dir(root.path().join("other")).unwrap();
        fs::remove_dir_all(root.path().join("a")).unwrap();
        assert!(events.next().await.unwrap().come_or_gone);
        fs::create_dir(root.path().join("a")).unwrap();
        assert!(events.next().await.unwrap().come_or_gone);
    }

    #[tokio::test]
    async fn what_is_no_longer_followed_is_not_heard() {
        let root = tempfile::tempdir().unwrap();
        let both = Homes::from([home(root.path(), "a", 1), home(root.path(), "b", 2)]);
        let mut events = Events::new().unwrap();
        events.follow(&both, &Nurseries::new()).unwrap();
        let one = Homes::from([home(root.path(), "b", 2)]);
        events.take().unwrap();
        events.follow(&one, &Nurseries::new()).unwrap();
        fs::write(root.path().join("a/cgroup.events"), "populated 1\n").unwrap();
        assert_eq!(events.take().unwrap(), Happened::default());
        assert_eq!(events.watches.len(), 2);
    }
}
