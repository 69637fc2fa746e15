//! A network namespace, held by a descriptor.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::process::Command;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use outbound_agent::sys;

use super::{INSIDE_V4, INSIDE_V6, OUTSIDE_V4, OUTSIDE_V6, eventually};

/// A network namespace with `lo` up.
#[derive(Debug)]
pub struct Netns {
    descriptor: OwnedFd,
    cookie: u64,
}

impl Netns {
    pub(super) fn new() -> Self {
        let made = thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
            sys::bring_loopback_up().expect("lo up");
            let descriptor = File::open("/proc/thread-self/ns/net").expect("its descriptor");
            let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket in it");
            let cookie = sys::netns_cookie(socket.as_fd()).expect("its cookie");
            (descriptor.into(), cookie)
        });
        let (descriptor, cookie) = made.join().expect("the thread that makes a namespace");
        Self { descriptor, cookie }
    }

    /// As `SO_NETNS_COOKIE` says.
    pub fn cookie(&self) -> u64 {
        self.cookie
    }

    /// Runs something inside, on a thread of its own.
    pub fn enter<T: Send>(&self, inside: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let entered = scope.spawn(|| {
                setns(&self.descriptor, CloneFlags::CLONE_NEWNET).expect("into the namespace");
                inside()
            });
            entered
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` inside.
    pub fn ip(&self, arguments: &str) {
        let words: Vec<&str> = arguments.split_whitespace().collect();
        self.run("ip", &words);
    }

    /// Sets a kernel parameter inside, as in `net/ipv4/ip_forward`.
    pub fn sysctl(&self, name: &str, value: &str) {
        self.enter(|| {
            std::fs::write(format!("/proc/sys/{name}"), value).expect("a kernel parameter");
        });
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let output = self.enter(|| Command::new(program).args(arguments).output());
        let output = output.expect("iproute2 is installed");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {complaint}"
        );
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

/// A veth pair from `inside` to `outside`, which is the default route.
pub(super) fn connect(inside: &Netns, outside: &Netns) {
    // The children of this process find the other namespace by our descriptor.
    let peer = format!(
        "/proc/{}/fd/{}",
        std::process::id(),
        outside.descriptor.as_raw_fd()
    );
    inside.run(
        "ip",
        &[
            "link", "add", "up0", "type", "veth", "peer", "name", "up1", "netns", &peer,
        ],
    );
    for (netns, link, v4, v6) in [
        (inside, "up0", INSIDE_V4, INSIDE_V6),
        (outside, "up1", OUTSIDE_V4, OUTSIDE_V6),
    ] {
        netns.ip(&format!("address add {v4}/24 dev {link}"));
        netns.ip(&format!("address add {v6}/64 dev {link} nodad"));
        netns.ip(&format!("link set {link} up"));
    }
    // Until the kernel has noticed the other end, a link swallows what is sent.
    for (netns, link) in [(inside, "up0"), (outside, "up1")] {
        eventually("the link is up", || {
            let shown = netns.enter(|| Command::new("ip").args(["link", "show", link]).output());
            let shown = String::from_utf8(shown.ok()?.stdout).ok()?;
            shown.contains("state UP").then_some(())
        });
    }
    inside.ip(&format!("route add default via {OUTSIDE_V4}"));
    inside.ip(&format!("-6 route add default via {OUTSIDE_V6}"));
    // Whatever address a packet is for, the far side takes it.
    outside.ip("route add local default dev lo");
    // Beside what leads back, of which the longer prefix wins.
    outside.ip("-6 route add local default dev lo table main");
}
