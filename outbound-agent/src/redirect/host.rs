//! What the host must offer: capabilities, kernel, cgroup v2, bpffs. Each lack has a name and a
//! remedy.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aya::util::KernelVersion;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::mount::MsFlags;
use nix::sys::statfs::{BPF_FS_MAGIC, CGROUP2_SUPER_MAGIC, FsType, statfs};
use nix::time::{ClockId, clock_gettime};

use super::{Error, file_error};

/// Held as long as the pins are in use.
pub type DirectoryLock = Flock<File>;

const BPFFS: &str = "/sys/fs/bpf";
const OLDEST: KernelVersion = KernelVersion::new(5, 15, 0);

/// Bits of capabilities(7).
const CAP_NET_ADMIN: u32 = 12;
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// Mount point of the cgroup v2 hierarchy: all of `/sys/fs/cgroup`, or beside version 1 a
/// directory in it.
pub fn cgroup_root() -> Result<PathBuf, Error> {
    const MOUNTS: &str = "/proc/self/mountinfo";
    let mounts = fs::read_to_string(MOUNTS).map_err(file_error("read", Path::new(MOUNTS)))?;
    // proc(5): id, parent, device, root, mount point, options, optional fields, "-", type, ...
    let found = mounts.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (root, mount_point) = (fields.next()?, fields.next()?);
        (after.starts_with("cgroup2 ") && root == "/").then(|| PathBuf::from(mount_point))
    });
    found.ok_or_else(|| Error::NoCgroup2 {
        path: "/sys/fs/cgroup".into(),
    })
}

/// The directory of the cgroup that this process is in.
pub fn own_cgroup(cgroup_root: &Path) -> Result<PathBuf, Error> {
    cgroup_of(std::process::id(), cgroup_root)
}

/// Where an agent goes that was started in the root cgroup, below it.
pub const AGENTS_CGROUP: &str = "outbound-agent";

/// Leaves the root cgroup for one of the agent's own: its end of the hand-over is attached to
/// the cgroup that it is in, and on the root would be run for every socket of the host.
pub fn leave_root(cgroup_root: &Path) -> Result<(), Error> {
    if own_cgroup(cgroup_root)? != cgroup_root {
        return Ok(());
    }
    let own = cgroup_root.join(AGENTS_CGROUP);
    let made = DirBuilder::new().recursive(true).create(&own);
    made.map_err(file_error("create", &own))?;
    let processes = own.join("cgroup.procs");
    fs::write(&processes, "0").map_err(file_error("write", &processes))
}

/// The directory of the cgroup that a process or thread is in.
pub fn cgroup_of(pid: u32, cgroup_root: &Path) -> Result<PathBuf, Error> {
    let listed = PathBuf::from(format!("/proc/{pid}/cgroup"));
    let cgroups = fs::read_to_string(&listed).map_err(file_error("read", &listed))?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::/"));
    let path = path.ok_or_else(|| Error::NoCgroup2 {
        path: cgroup_root.to_owned(),
    })?;
    Ok(cgroup_root.join(path))
}

/// What `bpf_ktime_get_ns` counts from.
pub(super) fn monotonic_now() -> Duration {
    // The clock always exists.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

pub(super) fn check_capabilities() -> Result<(), Error> {
    match missing_capabilities()?.first() {
        None => Ok(()),
        Some(&capability) => Err(Error::Capability { capability }),
    }
}

/// Which of the capabilities that are needed this process does not have.
pub fn missing_capabilities() -> Result<Vec<&'static str>, Error> {
    const STATUS: &str = "/proc/self/status";
    let status = fs::read_to_string(STATUS).map_err(file_error("read", Path::new(STATUS)))?;
    let effective = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let has = |capability: u32| effective & (1 << capability) != 0;
    let needed = [
        (CAP_BPF, "CAP_BPF"),
        (CAP_NET_ADMIN, "CAP_NET_ADMIN"),
        // Without it the verifier refuses pointer arithmetic.
        (CAP_PERFMON, "CAP_PERFMON"),
    ];
    Ok(needed
        .into_iter()
        .filter(|&(capability, _name)| !has(capability) && !has(CAP_SYS_ADMIN))
        .map(|(_capability, name)| name)
        .collect())
}

/// Fails on a kernel that is too old.
pub fn check_kernel() -> Result<(), Error> {
    match KernelVersion::current() {
        Ok(current) if current >= OLDEST => Ok(()),
        _ => Err(Error::Kernel {
            release: release(),
            feature: "network namespace cookies in sock_ops programs",
        }),
    }
}

/// As `uname -r` says.
pub fn release() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_failed| "unknown".to_owned(),
        |names| names.release().to_string_lossy().into_owned(),
    )
}

pub(super) fn check_cgroup_root(path: &Path) -> Result<(), Error> {
    if is_on(path, CGROUP2_SUPER_MAGIC) {
        return Ok(());
    }
    Err(Error::NoCgroup2 {
        path: path.to_owned(),
    })
}

/// Makes the directory for pins, readable by us alone before anything is in it, and locks it.
pub(super) fn take_pin_dir(path: &Path) -> Result<DirectoryLock, Error> {
    mount_bpffs(path)?;
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(file_error("create", path))?;
    if !is_on(path, BPF_FS_MAGIC) {
        return Err(Error::NoBpffs {
            path: path.to_owned(),
        });
    }
    let private = fs::set_permissions(path, Permissions::from_mode(0o700));
    private.map_err(file_error("protect", path))?;
    lock(path)
}

/// Keeps agents away from what is pinned, while it is taken off; `None` where nothing is.
pub fn hold(pin_dir: &Path) -> Result<Option<DirectoryLock>, Error> {
    match lock(pin_dir) {
        Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        locked => locked.map(Some),
    }
}

fn lock(pin_dir: &Path) -> Result<DirectoryLock, Error> {
    let directory = File::open(pin_dir).map_err(file_error("open", pin_dir))?;
    Flock::lock(directory, FlockArg::LockExclusiveNonblock).map_err(|(_directory, errno)| {
        match errno {
            Errno::EWOULDBLOCK => Error::InUse {
                path: pin_dir.to_owned(),
            },
            other => file_error("lock", pin_dir)(other.into()),
        }
    })
}

/// Mounts a bpffs at its usual place if the pins are to be there and nobody did.
fn mount_bpffs(pin_dir: &Path) -> Result<(), Error> {
    let mount_point = Path::new(BPFFS);
    let is_needed = || pin_dir.starts_with(mount_point) && !is_on(mount_point, BPF_FS_MAGIC);
    if !is_needed() {
        return Ok(());
    }
    // Of two that start at once the second would hide the pins of the first.
    let covered = File::open(mount_point).map_err(file_error("open", mount_point))?;
    let _one_at_a_time = Flock::lock(covered, FlockArg::LockExclusive)
        .map_err(|(_directory, errno)| file_error("lock", mount_point)(errno.into()))?;
    if !is_needed() {
        return Ok(());
    }
    let options = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    nix::mount::mount(
        Some("bpf"),
        mount_point,
        Some("bpf"),
        options,
        Some("mode=0700"),
    )
    .map_err(|errno| file_error("mount a bpffs at", mount_point)(io::Error::from(errno)))
}

fn is_on(path: &Path, magic: FsType) -> bool {
    statfs(path).is_ok_and(|found| found.filesystem_type() == magic)
}
