//! What the host must offer, and what an operator should know of it.

use std::fs;
use std::path::Path;

use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use super::netlink;
use super::report::{Check, State};
use crate::command::output::chain;
use crate::redirect;

/// One line each.
pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![kernel(), capabilities(), cgroup2(), bpffs()];
    checks.extend(exclusive());
    checks.extend([
        security_modules(),
        socket_destroy(),
        packet_queue(),
        ping(),
        unprivileged_bpf(),
    ]);
    checks
}

fn kernel() -> Check {
    match redirect::check_kernel() {
        Ok(()) => passed("kernel", "kernel", format!("Linux {}", redirect::release())),
        Err(error) => failed("kernel", "kernel", chain(&error)),
    }
}

fn capabilities() -> Check {
    const TITLE: &str = "capabilities";
    match redirect::missing_capabilities() {
        Ok(missing) if missing.is_empty() => {
            passed("capabilities", TITLE, "CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON")
        }
        Ok(missing) => failed(
            "capabilities",
            TITLE,
            format!("missing: {}", missing.join(", ")),
        )
        .remedy("run as root, or grant them to the service"),
        Err(error) => failed("capabilities", TITLE, chain(&error)),
    }
}

fn cgroup2() -> Check {
    match redirect::cgroup_root() {
        Ok(root) => passed("cgroup2", "cgroup v2", root.display()),
        Err(error) => failed("cgroup2", "cgroup v2", chain(&error)),
    }
}

fn bpffs() -> Check {
    const PATH: &str = "/sys/fs/bpf";
    let is_mounted = statfs(PATH).is_ok_and(|found| found.filesystem_type() == BPF_FS_MAGIC);
    if is_mounted {
        return passed("bpffs", "bpffs", PATH);
    }
    if Path::new(PATH).exists() {
        return passed("bpffs", "bpffs", "not mounted; the agent mounts it");
    }
    failed("bpffs", "bpffs", "this kernel has no /sys/fs/bpf")
        .remedy("a kernel with CONFIG_BPF_SYSCALL, and /sys mounted")
}

/// Programs that keep ours off their cgroup and all below.
fn exclusive() -> Vec<Check> {
    const TITLE: &str = "programs of others";
    let Ok(root) = redirect::cgroup_root() else {
        return Vec::new();
    };
    match redirect::exclusive(&root) {
        Ok(found) if found.is_empty() => {
            vec![passed("exclusive", TITLE, "all allow others beside them")]
        }
        Ok(found) => found
            .into_iter()
            .map(|program| {
                failed(
                    "exclusive",
                    TITLE,
                    format!(
                        "one on {} of {} allows no other there or below",
                        program.attach_type,
                        program.cgroup.display()
                    ),
                )
                .remedy("attach it with BPF_F_ALLOW_MULTI; `bpftool cgroup tree` shows it")
            })
            .collect(),
        // Without the capability, which has been told.
        Err(error) => vec![Check::new("exclusive", TITLE, State::Skipped).says(chain(&error))],
    }
}

/// What `lsm_cgroup` needs. Whether it then works is seen when the programs are loaded.
fn security_modules() -> Check {
    const TITLE: &str = "bpf among the security modules";
    match fs::read_to_string("/sys/kernel/security/lsm") {
        Ok(list) if list.trim().split(',').any(|module| module == "bpf") => {
            passed("lsm", TITLE, list.trim())
        }
        Ok(list) => open("lsm", TITLE, list.trim()).remedy(
            "boot with `lsm=…,bpf`, so that the fence can refuse packet sockets, vsock and the like",
        ),
        Err(error) => Check::new("lsm", TITLE, State::Skipped)
            .says(format!("cannot read /sys/kernel/security/lsm: {error}")),
    }
}

fn socket_destroy() -> Check {
    const TITLE: &str = "ending sockets (INET_DIAG_DESTROY)";
    match netlink::can_destroy_sockets() {
        Ok(true) => passed("socket_destroy", TITLE, "yes"),
        Ok(false) => open("socket_destroy", TITLE, "no").remedy(
            "connections from before an assignment hang until they time out instead of being cut; \
             a kernel with CONFIG_INET_DIAG_DESTROY cuts them",
        ),
        Err(error) => Check::new("socket_destroy", TITLE, State::Skipped).says(error),
    }
}

fn packet_queue() -> Check {
    const TITLE: &str = "holding a SYN (NFQUEUE)";
    match netlink::has_packet_queue() {
        Ok(true) => passed("nfqueue", TITLE, "yes"),
        Ok(false) => open("nfqueue", TITLE, "no").remedy(
            "policies with `true_errors = true` need a kernel with CONFIG_NETFILTER_NETLINK_QUEUE",
        ),
        Err(error) => Check::new("nfqueue", TITLE, State::Skipped).says(error),
    }
}

fn ping() -> Check {
    const TITLE: &str = "net.ipv4.ping_group_range";
    let Some(range) = parameter("net/ipv4/ping_group_range") else {
        return Check::new("ping", TITLE, State::Skipped).says("not readable");
    };
    let mut ends = range.split_whitespace().filter_map(|end| end.parse().ok());
    let ends: (Option<u32>, Option<u32>) = (ends.next(), ends.next());
    let is_empty = matches!(ends, (Some(first), Some(last)) if first > last);
    let says = if is_empty {
        "nobody may make ping sockets".to_owned()
    } else {
        format!(
            "groups {} may; the fence refuses tenants",
            range.replace('\t', " to ")
        )
    };
    passed("ping", TITLE, says)
}

fn unprivileged_bpf() -> Check {
    const TITLE: &str = "kernel.unprivileged_bpf_disabled";
    match parameter("kernel/unprivileged_bpf_disabled").as_deref() {
        Some("0") => open("unprivileged_bpf", TITLE, "0, every user may load programs")
            .remedy("sysctl kernel.unprivileged_bpf_disabled=1"),
        Some(value) => passed("unprivileged_bpf", TITLE, value),
        None => Check::new("unprivileged_bpf", TITLE, State::Skipped).says("not readable"),
    }
}

/// A kernel parameter.
fn parameter(name: &str) -> Option<String> {
    let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
    Some(value.trim().to_owned())
}

fn passed(name: &'static str, title: &str, says: impl std::fmt::Display) -> Check {
    Check::new(name, title, State::Passed).says(says)
}

fn failed(name: &'static str, title: &str, says: impl std::fmt::Display) -> Check {
    Check::new(name, title, State::Failed).says(says)
}

fn open(name: &'static str, title: &str, says: impl std::fmt::Display) -> Check {
    Check::new(name, title, State::Open).says(says)
}
