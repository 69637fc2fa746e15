//! `Sandbox`: a network namespace and a subtree of cgroups of its own, gone when dropped.

mod netns;
mod process;
mod sniffer;
mod told;

use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use outbound_agent::redirect;

pub use netns::Netns;
pub use process::{Process, Workload};
pub(crate) use process::{pipe, python};
pub use sniffer::Sniffer;
pub(crate) use told::Told;

/// How long a test waits for anything that should come at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Address of the inner end of the uplink, and of the outer.
pub const INSIDE_V4: &str = "10.99.0.1";
/// The outer end: the gateway, and the witness.
pub const OUTSIDE_V4: &str = "10.99.0.2";
/// As [`INSIDE_V4`].
pub const INSIDE_V6: &str = "fd99::1";
/// As [`OUTSIDE_V4`].
pub const OUTSIDE_V6: &str = "fd99::2";

const BPFFS: &str = "/sys/fs/bpf";
/// Of the names of sandboxes; the process behind it says whose, a number which.
const PREFIX: &str = "outbound-test-";

/// A place to run workloads in.
#[derive(Debug)]
pub struct Sandbox {
    name: String,
    root: PathBuf,
    cgroup: PathBuf,
    netns: Netns,
    outside: Option<Netns>,
}

impl Sandbox {
    /// A namespace with nothing but `lo`; `None`, said aloud, where the test may not make one.
    pub fn new() -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !is_privileged() {
            return None;
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let root = redirect::cgroup_root().expect("a cgroup v2 hierarchy");
        static CLEARED: Once = Once::new();
        CLEARED.call_once(|| clear_away_the_dead(&root));
        let cgroup = root.join(&name);
        fs::create_dir(&cgroup).expect("a cgroup of the test's own");
        Some(Self {
            name,
            root,
            cgroup,
            netns: Netns::new(),
            outside: None,
        })
    }

    /// A namespace with a way out: a veth pair whose far end, in a namespace of its own, is the
    /// default route and answers for every address.
    pub fn with_uplink() -> Option<Self> {
        let mut sandbox = Self::new()?;
        let outside = Netns::new();
        netns::connect(&sandbox.netns, &outside);
        sandbox.outside = Some(outside);
        Some(sandbox)
    }

    /// A name that no other sandbox has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the redirect may pin.
    pub fn settings(&self) -> redirect::Settings {
        redirect::Settings {
            pin_dir: Path::new(BPFFS).join(&self.name),
            cgroup_root: self.root.clone(),
        }
    }

    /// The namespace.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// The far side of the uplink.
    pub fn outside(&self) -> &Netns {
        self.outside.as_ref().expect("a sandbox with an uplink")
    }

    /// A witness on the far side of the uplink.
    pub fn sniff(&self) -> Sniffer {
        Sniffer::new(self.outside())
    }

    /// Waits until something listens on a TCP port of the namespace.
    #[track_caller]
    pub fn await_listener(&self, port: u16) {
        // proc(5): local and remote address and port in hexadecimal; state 0A is LISTEN.
        let local = format!(":{port:04X} 0");
        let listens = |line: &str| line.contains(&local) && line.contains(":0000 0A ");
        eventually("a listener", || {
            let sockets = self.netns.enter(|| {
                let read = |table| fs::read_to_string(format!("/proc/thread-self/net/{table}"));
                Some(read("tcp").ok()? + &read("tcp6").unwrap_or_default())
            });
            sockets?.lines().any(listens).then_some(())
        });
    }

    /// Kills what runs in a cgroup and waits until it is gone. One by one: where `cgroup.kill`
    /// was used, Linux 6.18 kills whatever is started there by `CLONE_INTO_CGROUP` afterwards.
    #[track_caller]
    pub fn kill(&self, cgroup: &Path) {
        eventually("the processes are gone", || {
            let left = fs::read_to_string(cgroup.join("cgroup.procs")).ok()?;
            for pid in left.lines().filter_map(|line| line.parse().ok()) {
                let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            left.is_empty().then_some(())
        });
    }

    /// Makes a cgroup below the sandbox's, parents included.
    pub fn cgroup(&self, name: &str) -> PathBuf {
        let path = self.cgroup.join(name);
        fs::create_dir_all(&path).expect("a cgroup below the test's own");
        path
    }

    /// A process to be started in that cgroup, in the sandbox's namespace.
    pub fn workload(&self, cgroup: &Path) -> Workload {
        Workload::new(cgroup, self.netns.as_fd())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let detached = redirect::detach(&self.settings().pin_dir);
        remove_cgroup(&self.cgroup);
        if !std::thread::panicking() {
            detached.expect("everything comes off");
        }
    }
}

/// What killed test runs have left: it would fill the hooks of the cgroup root in time.
fn clear_away_the_dead(root: &Path) {
    let listing = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten();
    for entry in listing(Path::new(BPFFS)).chain(listing(root)) {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
        let process = process.and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another test run may be about the same.
            let _detached = redirect::detach(&Path::new(BPFFS).join(&name));
            remove_cgroup(&root.join(&name));
        }
    }
}

/// Kills what is in a cgroup and removes it with all below it.
pub fn remove_cgroup(path: &Path) {
    let _killed = fs::write(path.join("cgroup.kill"), "1");
    let children = fs::read_dir(path).into_iter().flatten().flatten();
    for child in children.filter(|child| child.path().is_dir()) {
        remove_cgroup(&child.path());
    }
    eventually("the cgroup is empty", || {
        let gone = fs::remove_dir(path);
        (gone.is_ok() || !path.exists()).then_some(())
    });
}

/// Waits for a condition, with a deadline.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Says aloud that a test did not run.
#[expect(clippy::print_stdout, reason = "libtest has no other way to say it")]
pub fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// Whether this process may make namespaces, cgroups and programs. A tier that must run says so
/// in `OUTBOUND_TESTS_NO_SKIP=1`.
pub fn is_privileged() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let must_run = std::env::var_os("OUTBOUND_TESTS_NO_SKIP").is_some_and(|value| value == "1");
    assert!(!must_run, "this tier needs root");
    skipped("needs root");
    false
}
