//! What can go wrong between the agent and the kernel, each with its remedy.

use std::io;
use std::path::PathBuf;

use aya::maps::MapError;
use outbound_common::tenant::SLOTS;

use super::attach;

/// Why the kernel side cannot do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not privileged enough.
    #[error("missing capability {capability}; run as root or grant it to the service")]
    Capability {
        /// As in capabilities(7).
        capability: &'static str,
    },
    /// The kernel is too old or lacks something.
    #[error("this kernel ({release}) does not support {feature}; Linux 5.15 or newer is needed")]
    Kernel {
        /// As `uname -r` says.
        release: String,
        /// What is missing.
        feature: &'static str,
    },
    /// No cgroup v2 hierarchy.
    #[error("no cgroup v2 hierarchy at {path}; mount one with `mount -t cgroup2 none {path}`")]
    NoCgroup2 {
        /// Where it was expected.
        path: PathBuf,
    },
    /// No bpffs.
    #[error("{path} is not below a bpffs; mount one with `mount -t bpf bpf /sys/fs/bpf`")]
    NoBpffs {
        /// The directory for pins.
        path: PathBuf,
    },
    /// Another process holds the pinned directory.
    #[error("an agent is using {path}; stop it first")]
    InUse {
        /// The directory for pins.
        path: PathBuf,
    },
    /// Pinned maps of another version.
    #[error(
        "{path} holds maps of layout {found}, this agent knows layout {known}; \
         run `outbound detach` with the version that pinned them"
    )]
    Layout {
        /// The directory for pins.
        path: PathBuf,
        /// What is there.
        found: u32,
        /// What this agent pins.
        known: u32,
    },
    /// A pinned link of a program that this version does not have.
    #[error("{path} was pinned by another version; run `outbound detach` with that version")]
    UnknownPin {
        /// The pin.
        path: PathBuf,
    },
    /// The agent would redirect itself.
    #[error("the agent itself runs in {cgroup}; move it out of the cgroups that are watched")]
    OwnCgroup {
        /// The watched cgroup.
        cgroup: PathBuf,
    },
    /// A slot beyond the last.
    #[error("slot {slot} is beyond the last; a host has {SLOTS}")]
    Slot {
        /// As asked for.
        slot: u32,
    },
    /// The object as a whole.
    #[error("cannot load the kernel object")]
    Object(#[source] aya::EbpfError),
    /// One program.
    #[error("cannot load the program {program}")]
    Program {
        /// Its name.
        program: &'static str,
        /// What the kernel says.
        source: aya::programs::ProgramError,
    },
    /// A link.
    #[error("cannot attach {program} to {cgroup}{}", attach::hint(source))]
    Attach {
        /// Its name.
        program: &'static str,
        /// The cgroup's directory.
        cgroup: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
    /// A map.
    #[error("cannot use the map {map}")]
    Map {
        /// Its name.
        map: &'static str,
        /// What the kernel says.
        source: MapError,
    },
    /// A file.
    #[error("cannot {action} {path}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}
