//! Side doors: sockets of the host's services. Over them a process that has no egress can have
//! others send for it: no hook on IP sees that, only a mount namespace does.

/// A socket, and what it is to a tenant.
pub(super) struct Door {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) path: &'static str,
    /// What somebody who may connect to it can do.
    pub(super) lets: &'static str,
    pub(super) remedy: &'static str,
}

/// Directories of such sockets alone. What a service puts there later is not seen either.
pub(super) const DIRECTORIES: [&str; 4] = [
    "/run/nscd",
    "/run/systemd/resolve",
    "/run/dbus",
    "/run/avahi-daemon",
];

const NO_SOCKET: &str = "`outbound run` hides it; elsewhere give tenants a mount namespace without it \
     (InaccessiblePaths= in a unit, no bind mount in a container)";

/// Every door that is known.
pub(super) const DOORS: &[Door] = &[
    Door {
        name: "nscd",
        title: "name service cache (nscd)",
        path: "/run/nscd/socket",
        lets: "asks any DNS name on the caller's behalf, past the agent's resolver",
        remedy: "disable the hosts cache (`enable-cache hosts no` in nscd.conf), or hide the socket: \
                 `outbound run` does",
    },
    Door {
        name: "resolved",
        title: "systemd-resolved (varlink)",
        path: "/run/systemd/resolve/io.systemd.Resolve",
        lets: "asks any DNS name on the caller's behalf, past the agent's resolver",
        remedy: NO_SOCKET,
    },
    Door {
        name: "avahi",
        title: "Avahi",
        path: "/run/avahi-daemon/socket",
        lets: "asks and announces names on the local network",
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
        name: "systemd",
        title: "systemd's own socket",
        path: "/run/systemd/private",
        lets: "starts units outside the tenant's cgroup, as root of the host",
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
        name: "crio",
        title: "CRI-O",
        path: "/run/crio/crio.sock",
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
