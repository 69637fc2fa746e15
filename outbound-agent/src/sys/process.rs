//! Starting a process inside a cgroup.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io, mem, ptr};

use nix::libc;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

use super::{c_string, checked, owned};

/// libc's constant of this name does not fit its type.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A program to start inside a cgroup.
#[derive(Debug, Default)]
pub struct Launch {
    /// Path of the program; without a slash it is looked for in `PATH` of `environment`.
    pub program: OsString,
    /// Its arguments, without its name.
    pub arguments: Vec<OsString>,
    /// Its whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working directory; ours where `None`.
    pub directory: Option<PathBuf>,
    /// What becomes its descriptors 0, 1 and 2; ours where `None`.
    pub stdio: [Option<OwnedFd>; 3],
    /// Its network namespace; ours where `None`.
    pub netns: Option<OwnedFd>,
    /// Its mount namespace; ours where `None`. The directory is found in it by name.
    pub mounts: Option<OwnedFd>,
    /// User and group id; ours where `None`. Supplementary groups are given up.
    pub user: Option<(u32, u32)>,
}

/// A process started by [`spawn_in_cgroup`].
#[derive(Debug)]
pub struct Child {
    /// Its number, as this process counts.
    pub pid: u32,
    /// Readable once it has ended.
    pub pidfd: OwnedFd,
}

impl Child {
    /// Waits for its end; may be called once.
    pub fn wait(&self) -> io::Result<WaitStatus> {
        Ok(waitid(Id::PIDFd(self.pidfd.as_fd()), WaitPidFlag::WEXITED)?)
    }
}

/// Starts a program that is inside the cgroup before its first instruction (`clone3` with
/// `CLONE_INTO_CGROUP`, Linux 5.7), and that inherits no descriptor but its first three: there
/// is no moment at which it could hold a socket from outside.
///
/// The cgroup should be a fresh one: since 6.14 Linux compares how often the parent's cgroup and
/// the child's were killed by `cgroup.kill`, and kills the child at once where the numbers differ
/// (seen on 6.18).
pub fn spawn_in_cgroup(launch: &Launch, cgroup: BorrowedFd<'_>) -> io::Result<Child> {
    let image = Image::prepare(launch)?;
    let (failure, report) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
    let mut pidfd: RawFd = -1;
    // SAFETY: a struct of integers, for which zero means "not asked for".
    let mut arguments: libc::clone_args = unsafe { mem::zeroed() };
    arguments.flags = (libc::CLONE_PIDFD as u64) | CLONE_INTO_CGROUP;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.cgroup = cgroup.as_raw_fd() as u64;
    // SAFETY: without CLONE_VM this is fork: the child has a copy of this stack and returns
    // here. It is one thread of a process that may have more, so until `execve` it makes system
    // calls only, on what was prepared before.
    let pid = checked(unsafe {
        libc::syscall(
            libc::SYS_clone3,
            &raw mut arguments,
            size_of::<libc::clone_args>(),
        )
    })?;
    if pid == 0 {
        image.become_it(report.as_raw_fd());
    }
    drop(report);
    let child = Child {
        pid: pid as u32,
        pidfd: owned(pidfd.into()),
    };
    let mut errno = [0; 4];
    match nix::unistd::read(&failure, &mut errno)? {
        0 => Ok(child),
        _ => {
            let _exited = child.wait()?;
            Err(io::Error::from_raw_os_error(i32::from_ne_bytes(errno)))
        }
    }
}

/// All that the child needs, allocated before there is a child.
struct Image {
    program: CString,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    directory: Option<CString>,
    stdio: [Option<RawFd>; 3],
    netns: Option<RawFd>,
    mounts: Option<RawFd>,
    user: Option<(u32, u32)>,
    _strings: Vec<CString>,
}

impl Image {
    fn prepare(launch: &Launch) -> io::Result<Self> {
        let mut strings = Vec::new();
        let mut pointers = |items: &mut dyn Iterator<Item = io::Result<CString>>| {
            let mut pointers = Vec::new();
            for item in items {
                let item = item?;
                pointers.push(item.as_ptr());
                strings.push(item);
            }
            pointers.push(ptr::null());
            io::Result::Ok(pointers)
        };
        let words = std::iter::once(&launch.program).chain(&launch.arguments);
        let arguments = pointers(&mut words.map(|word| c_string(word)))?;
        let environment = pointers(&mut launch.environment.iter().map(|(name, value)| {
            let mut entry = name.clone();
            entry.push("=");
            entry.push(value);
            c_string(&entry)
        }))?;
        // Whoever enters a mount namespace stands at its root.
        let directory = match (&launch.directory, &launch.mounts) {
            (None, Some(_)) => Some(std::env::current_dir()?),
            (directory, _) => directory.clone(),
        };
        Ok(Self {
            program: c_string(resolve(launch)?.as_os_str())?,
            arguments,
            environment,
            directory: directory
                .map(|path| c_string(path.as_os_str()))
                .transpose()?,
            stdio: launch
                .stdio
                .each_ref()
                .map(|fd| fd.as_ref().map(|fd| fd.as_raw_fd())),
            netns: launch.netns.as_ref().map(|fd| fd.as_raw_fd()),
            mounts: launch.mounts.as_ref().map(|fd| fd.as_raw_fd()),
            user: launch.user,
            _strings: strings,
        })
    }

    /// In the child: becomes the program, or writes why not and exits.
    fn become_it(&self, report: RawFd) -> ! {
        let failure = self.try_become();
        let errno = failure.raw_os_error().unwrap_or(libc::EINVAL).to_ne_bytes();
        // SAFETY: four octets of a local. Should it fail, the exit status has to say it.
        let _written = unsafe { libc::write(report, errno.as_ptr().cast(), errno.len()) };
        // SAFETY: ends the child without running anything of the parent's.
        unsafe { libc::_exit(127) }
    }

    fn try_become(&self) -> io::Error {
        match self.set_up() {
            Err(error) => error,
            Ok(()) => {
                let (arguments, environment) = (self.arguments.as_ptr(), self.environment.as_ptr());
                // SAFETY: NUL-terminated strings in NULL-terminated lists, alive in `self`.
                unsafe { libc::execve(self.program.as_ptr(), arguments, environment) };
                io::Error::last_os_error()
            }
        }
    }

    fn set_up(&self) -> io::Result<()> {
        for (target, source) in (0..).zip(self.stdio) {
            if let Some(source) = source {
                // SAFETY: numbers only; the source is open in the parent, so here as well.
                checked(unsafe { libc::dup2(source, target) }.into())?;
            }
        }
        if let Some(netns) = self.netns {
            // SAFETY: numbers only.
            checked(unsafe { libc::setns(netns, libc::CLONE_NEWNET) }.into())?;
        }
        if let Some(mounts) = self.mounts {
            // SAFETY: numbers only.
            checked(unsafe { libc::setns(mounts, libc::CLONE_NEWNS) }.into())?;
        }
        if let Some(directory) = &self.directory {
            // SAFETY: a NUL-terminated string.
            checked(unsafe { libc::chdir(directory.as_ptr()) }.into())?;
        }
        if let Some((user, group)) = self.user {
            // SAFETY: an empty list. Raw calls: glibc's would look for other threads.
            checked(unsafe { libc::syscall(libc::SYS_setgroups, 0, ptr::null::<u32>()) })?;
            // SAFETY: numbers only.
            checked(unsafe { libc::syscall(libc::SYS_setresgid, group, group, group) })?;
            // SAFETY: numbers only.
            checked(unsafe { libc::syscall(libc::SYS_setresuid, user, user, user) })?;
        }
        // Rust's runtime ignores SIGPIPE, and whoever calls may have signals blocked.
        // SAFETY: the default action of a signal.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        let none = nix::sys::signal::SigSet::empty();
        none.thread_set_mask()?;
        // Closed by `execve`, so that the report can still be written if that fails.
        let (first, flags) = (3_u32, libc::CLOSE_RANGE_CLOEXEC);
        // SAFETY: marks descriptors, closes none.
        checked(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flags) }).map(drop)
    }
}

/// Finds the program as a shell would.
fn resolve(launch: &Launch) -> io::Result<PathBuf> {
    let program = Path::new(&launch.program);
    if launch.program.as_bytes().contains(&b'/') {
        return Ok(program.to_owned());
    }
    let path = launch.environment.iter().find(|(name, _)| name == "PATH");
    let path = path.map_or(OsStr::new("/usr/local/bin:/usr/bin:/bin"), |(_, path)| path);
    std::env::split_paths(path)
        .map(|directory| directory.join(program))
        .find(|candidate| {
            fs::metadata(candidate).is_ok_and(|found| found.is_file() && found.mode() & 0o111 != 0)
        })
        .ok_or_else(|| io::ErrorKind::NotFound.into())
}
