//! The only unsafe of the agent: system calls that neither std, nix nor aya offers.
#![expect(unsafe_code, reason = "raw system calls")]

pub mod bpf;
pub mod confine;
mod process;
mod socket;

use std::ffi::{CString, OsStr};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::{fs, io, mem, thread};

use nix::libc;
use tokio::io::unix::AsyncFd;

pub use process::{Child, Launch, spawn_in_cgroup};
pub use socket::{send_frame, set_option};

/// Cookie of the network namespace that a socket lives in (`SO_NETNS_COOKIE`, Linux 5.14).
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: both pointers are to locals of the sizes that the call is told.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    checked(result.into()).map(|_zero| cookie)
}

/// Runs something inside a network namespace, on a thread that ends with it.
pub fn within_netns<T: Send>(
    netns: BorrowedFd<'_>,
    inside: impl FnOnce() -> T + Send,
) -> io::Result<T> {
    thread::scope(|scope| {
        let entered = thread::Builder::new()
            .name("within-netns".to_owned())
            .spawn_scoped(scope, || {
                nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET)?;
                Ok(inside())
            })?;
        entered
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A new network namespace, in which `lo` is up and nothing else is.
pub fn new_netns() -> io::Result<OwnedFd> {
    let made = thread::Builder::new()
        .name("new-netns".to_owned())
        .spawn(|| {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET)?;
            bring_loopback_up()?;
            Ok(fs::File::open("/proc/thread-self/ns/net")?.into())
        })?;
    made.join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Brings the loopback interface of this thread's network namespace up; a new namespace has it
/// down, and a redirected connect then fails with ENETUNREACH.
pub fn bring_loopback_up() -> io::Result<()> {
    let socket = nix::sys::socket::socket(
        nix::sys::socket::AddressFamily::Inet,
        nix::sys::socket::SockType::Datagram,
        nix::sys::socket::SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    // SAFETY: a struct of integers, for which zero is a value.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    // SAFETY: the request is of the type that this ioctl takes.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGIFFLAGS, &raw mut request) }.into())?;
    // SAFETY: the ioctl has just filled in this member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | libc::IFF_UP as libc::c_short;
    // SAFETY: as above.
    checked(unsafe { libc::ioctl(socket.as_raw_fd(), SIOCSIFFLAGS, &raw mut request) }.into())?;
    Ok(())
}

const SIOCGIFFLAGS: libc::Ioctl = libc::SIOCGIFFLAGS as libc::Ioctl;
const SIOCSIFFLAGS: libc::Ioctl = libc::SIOCSIFFLAGS as libc::Ioctl;

/// The user namespace that owns another namespace.
pub fn owner_of_namespace(namespace: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: numbers only; the kernel checks that the descriptor is a namespace's.
    let owner = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    checked(owner.into()).map(owned)
}

/// `_IO(0xb7, 0x1)`, linux/nsfs.h.
const NS_GET_USERNS: libc::Ioctl = 0xb701;

/// Keeps what this process holds out of core dumps, and from every process that may not read any
/// other's memory: neither it nor what it starts writes a core (`RLIMIT_CORE`), and it may not be
/// traced (`PR_SET_DUMPABLE`, which a program that it starts does not inherit). Its own
/// `/proc/self` stays open to it; the entries below `/proc/PID` belong to root from then on.
pub fn keep_memory_private() -> io::Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

/// Lets a task wait for a descriptor.
pub fn readiness(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` keeps its descriptor open, and the same, for as long as it lives.
    let registered = unsafe { AsyncFd::register(descriptor) };
    registered.map_err(io::Error::from)
}

/// The kernel's number of a cgroup: the inode of its directory, on 64-bit kernels.
pub fn cgroup_id(directory: &Path) -> io::Result<u64> {
    fs::metadata(directory).map(|metadata| metadata.ino())
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

fn checked(result: libc::c_long) -> io::Result<libc::c_long> {
    match result {
        0.. => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

fn owned(fd: libc::c_long) -> OwnedFd {
    // SAFETY: callers pass what a system call has just given them.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

#[cfg(test)]
mod tests {
    use nix::sys::resource::{Resource, getrlimit};

    #[test]
    fn memory_that_is_private_is_in_no_core() {
        super::keep_memory_private().unwrap();
        assert!(!nix::sys::prctl::get_dumpable().unwrap());
        assert_eq!(getrlimit(Resource::RLIMIT_CORE).unwrap(), (0, 0));
        // What the agent needs of itself is still there.
        assert!(std::fs::File::open("/proc/thread-self/ns/net").is_ok());
        assert!(std::fs::read_dir("/proc/self/fd").is_ok());
    }
}
