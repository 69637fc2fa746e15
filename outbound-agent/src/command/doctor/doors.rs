//! Sockets of the host's services. Over them a process that has no egress can have others send
//! for it: no hook on IP sees that, only a mount namespace does.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::report::{Check, State};

struct Door {
    name: &'static str,
    title: &'static str,
    path: &'static str,
    /// What somebody who may connect to it can do.
    lets: &'static str,
    remedy: &'static str,
}

const NO_SOCKET: &str = "give tenants a mount namespace without it (InaccessiblePaths= in a unit, no bind mount in a \
     container)";

const DOORS: &[Door] = &[
    Door {
        name: "nscd",
        title: "name service cache (nscd)",
        path: "/run/nscd/socket",
        lets: "asks any DNS name on the caller's behalf, past the agent's resolver",
        remedy: "disable the hosts cache (`enable-cache hosts no` in nscd.conf), or hide the socket",
    },
    Door {
        name: "resolved",
        title: "systemd-resolved (varlink)",
        path: "/run/systemd/resolve/io.systemd.Resolve",
        lets: "asks any DNS name on the caller's behalf, past the agent's resolver",
        remedy: NO_SOCKET,
    },
    Door {
        name: "system_bus",
        title: "system bus",
        path: "/run/dbus/system_bus_socket",
        lets: "reaches resolved, machined and every other service that the bus's policy allows",
        remedy: NO_SOCKET,
    },
    Door {
        name: "docker",
        title: "Docker",
        path: "/run/docker.sock",
        lets: "starts containers outside the tenant's cgroup, as root of the host",
        remedy: NO_SOCKET,
    },
    Door {
        name: "containerd",
        title: "containerd",
        path: "/run/containerd/containerd.sock",
        lets: "starts containers outside the tenant's cgroup, as root of the host",
        remedy: NO_SOCKET,
    },
    Door {
        name: "podman",
        title: "Podman",
        path: "/run/podman/podman.sock",
        lets: "starts containers outside the tenant's cgroup, as root of the host",
        remedy: NO_SOCKET,
    },
];

/// One line each.
pub(super) fn checks() -> Vec<Check> {
    DOORS.iter().map(check).collect()
}

fn check(door: &Door) -> Check {
    let check = |state| Check::new(door.name, door.title, state);
    match fs::metadata(Path::new(door.path)) {
        Err(_absent) => check(State::Passed).says("not there"),
        Ok(found) if !found.file_type().is_socket() => check(State::Passed).says("not there"),
        Ok(found) => {
            let mode = found.mode() & 0o777;
            // To connect, one must be allowed to write.
            let who = match (mode & 0o002 != 0, mode & 0o020 != 0) {
                (true, _) => "everybody".to_owned(),
                (false, true) => format!("group {}", found.gid()),
                (false, false) => {
                    let says = format!("{} ({mode:o}) is user {}'s alone", door.path, found.uid());
                    return check(State::Passed).says(says);
                }
            };
            check(State::Open)
                .says(format!("{} ({mode:o}, {who}) {}", door.path, door.lets))
                .remedy(door.remedy)
        }
    }
}
