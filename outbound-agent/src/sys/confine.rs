//! A process gives up what it will not need: for code that somebody else has written.

use std::io;
use std::os::fd::{FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use super::checked;

/// Nobody.
const NOBODY: u32 = 65534;
/// More than any module's isolates together may need.
const MOST_ADDRESS_SPACE: u64 = 8 << 30;

/// Takes descriptor 0 over, and closes every other but 2. To be called once, first of all.
pub fn take_stdin() -> io::Result<OwnedFd> {
    let close = |first: u32, last: u32| {
        // SAFETY: numbers only; nothing in this process holds these yet.
        checked(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
    };
    close(3, u32::MAX)?;
    // SAFETY: a number only; a new descriptor is ours.
    let taken = checked(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 3) }.into())?;
    close(0, 1)?;
    // SAFETY: just made, and known to nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(taken as i32) })
}

/// Gives up what this process could do to the host: every capability for good, its user where
/// that may be changed, core dumps, files, memory without end. Ends with its parent.
pub fn give_up_rights() -> io::Result<()> {
    // Who takes memory at an operator's wish goes first where there is none; a host that does
    // not let it say so loses nothing else.
    let _told = std::fs::write("/proc/self/oom_score_adj", "500");
    for (resource, most) in [
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_FSIZE, 0),
        (Resource::RLIMIT_NOFILE, 64),
        (Resource::RLIMIT_AS, MOST_ADDRESS_SPACE),
    ] {
        setrlimit(resource, most, most)?;
    }
    become_nobody()?;
    drop_capabilities()?;
    // Changing the user takes it back.
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    prctl::set_dumpable(false)?;
    prctl::set_no_new_privs()?;
    Ok(())
}

/// An agent that is root but may not change its user leaves a user without capabilities.
fn become_nobody() -> nix::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    let changed = setgroups(&[])
        .and_then(|()| setresgid(group, group, group))
        .and_then(|()| setresuid(user, user, user));
    match changed {
        Err(Errno::EPERM) => Ok(()),
        other => other,
    }
}

fn drop_capabilities() -> io::Result<()> {
    // struct __user_cap_header_struct and two of __user_cap_data_struct, linux/capability.h.
    let header: [u32; 2] = [CAPABILITY_VERSION_3, 0];
    let none = [0_u32; 6];
    // SAFETY: both live through the call and are as long as version 3 says.
    checked(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) })?;
    Ok(())
}

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

/// From here on this thread may compute, wait, and use the descriptors that it has. It opens
/// nothing, connects nowhere, starts and signals nobody: any other system call fails.
pub fn allow_few_system_calls() -> io::Result<()> {
    let rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, architecture);
    let program: BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(io::Error::other)?;
    seccompiler::apply_filter(&program).map_err(io::Error::other)
}

const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_epoll_wait,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_mmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_recvfrom,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sendto,
    libc::SYS_shutdown,
    libc::SYS_sigaltstack,
    libc::SYS_write,
    libc::SYS_writev,
];

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::{Ipv4Addr, UdpSocket};
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// The filter is that of one thread.
    #[test]
    fn who_is_allowed_few_system_calls_opens_nothing_and_starts_nothing() {
        let confined = std::thread::spawn(|| {
            prctl::set_no_new_privs().unwrap();
            allow_few_system_calls().unwrap();
            [
                File::open("/proc/self/status").map(drop),
                UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map(drop),
                UnixStream::pair().map(drop),
                Command::new("/bin/true").spawn().map(drop),
            ]
            .map(|opened| opened.unwrap_err().raw_os_error())
        });
        let refused = Some(Errno::EPERM as i32);
        assert_eq!(confined.join().unwrap(), [refused; 4]);
    }

    /// Each fails for its arguments alone where it is let through.
    #[test]
    fn what_reaches_out_is_no_allowed_call() {
        const REACHES_OUT: &[i64] = &[
            libc::SYS_accept4,
            libc::SYS_bind,
            libc::SYS_bpf,
            libc::SYS_clone3,
            libc::SYS_connect,
            libc::SYS_dup,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_fcntl,
            libc::SYS_io_uring_setup,
            libc::SYS_ioctl,
            libc::SYS_kill,
            libc::SYS_memfd_create,
            libc::SYS_mkdirat,
            libc::SYS_mount,
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_perf_event_open,
            libc::SYS_pidfd_open,
            libc::SYS_prctl,
            libc::SYS_prlimit64,
            libc::SYS_process_vm_readv,
            libc::SYS_ptrace,
            libc::SYS_recvmsg,
            libc::SYS_seccomp,
            libc::SYS_sendmsg,
            libc::SYS_setns,
            libc::SYS_setresuid,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_tgkill,
            libc::SYS_tkill,
            libc::SYS_unlinkat,
            libc::SYS_unshare,
            libc::SYS_userfaultfd,
        ];
        let call = |number: i64| {
            // SAFETY: no argument is a thing that there is, so that nothing can be done to it.
            let called = checked(unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) });
            called.map(drop).map_err(|error| error.raw_os_error())
        };
        let confined = std::thread::spawn(move || {
            prctl::set_no_new_privs().unwrap();
            allow_few_system_calls().unwrap();
            REACHES_OUT
                .iter()
                .map(|number| (*number, call(*number)))
                .collect::<Vec<_>>()
        });
        for (number, called) in confined.join().unwrap() {
            assert_eq!(
                called,
                Err(Some(Errno::EPERM as i32)),
                "system call {number}"
            );
        }
    }
}
