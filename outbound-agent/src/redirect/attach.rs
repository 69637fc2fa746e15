//! Which program goes on which cgroup, in which order; attaching and adopting.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use aya::programs::ProgramError;
use nix::libc;
use outbound_common::names::program;

use super::pins::{self, detach_group, detach_pin};
use super::{Error, Redirect, file_error};
use crate::sys::{self, bpf};

/// A program and the hook that it goes on.
pub(super) struct Hook {
    pub(super) program: &'static str,
    /// `enum bpf_attach_type`.
    pub(super) attach_type: u32,
}

const fn hook(program: &'static str, attach_type: u32) -> Hook {
    Hook {
        program,
        attach_type,
    }
}

/// On watched cgroups. The belt first, what lets traffic through last: whatever fails in between
/// leaves less egress, not more.
pub(super) const WORKLOAD: &[Hook] = &[
    hook(program::EGRESS, 1),
    hook(program::SOCK_CREATE, 2),
    hook(program::FAMILIES, 43),
    hook(program::SETSOCKOPT, 22),
    hook(program::WORKLOAD_OPS, 3),
    hook(program::BIND4, 8),
    hook(program::BIND6, 9),
    hook(program::RECVMSG4, 19),
    hook(program::RECVMSG6, 20),
    hook(program::GETPEERNAME4, 29),
    hook(program::GETPEERNAME6, 30),
    hook(program::SENDMSG4, 14),
    hook(program::SENDMSG6, 15),
    hook(program::CONNECT4, 10),
    hook(program::CONNECT6, 11),
];

/// On the agent's cgroup.
pub(super) const AGENT: &[Hook] = &[hook(program::AGENT_OPS, 3)];

/// On the cgroup root.
pub(super) const SENTINEL: &[Hook] = &[
    hook(program::SENTINEL4, 10),
    hook(program::SENTINEL6, 11),
    hook(program::SENTINEL_MSG4, 14),
    hook(program::SENTINEL_MSG6, 15),
];

/// Name of a value of `enum bpf_attach_type` that is used here.
pub(super) const fn attach_type_name(attach_type: u32) -> &'static str {
    match attach_type {
        1 => "inet_egress",
        2 => "inet_sock_create",
        3 => "sock_ops",
        8 => "inet4_bind",
        9 => "inet6_bind",
        10 => "inet4_connect",
        11 => "inet6_connect",
        14 => "udp4_sendmsg",
        15 => "udp6_sendmsg",
        19 => "udp4_recvmsg",
        20 => "udp6_recvmsg",
        22 => "setsockopt",
        29 => "inet4_getpeername",
        30 => "inet6_getpeername",
        43 => "lsm_cgroup",
        _ => "unknown",
    }
}

/// What an operator can do about a link that the kernel refuses.
pub(super) fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        Some(libc::EPERM) => {
            ": a program there or on a cgroup above allows no other beside it (attached without \
             BPF_F_ALLOW_MULTI); `bpftool cgroup tree` shows which"
        }
        Some(libc::E2BIG) => ": too many programs on this hook already",
        _ => "",
    }
}

impl Redirect {
    /// Where the links of a watched cgroup are pinned.
    pub(super) fn group(&self, cgroup: &Path) -> Result<PathBuf, Error> {
        let id = sys::cgroup_id(cgroup).map_err(file_error("find", cgroup))?;
        Ok(self.settings.pin_dir.join(format!("c{id}")))
    }

    /// Brings one set of links to be: kept where pinned, made where not, all or none.
    pub(super) fn attach(
        &self,
        group: &Path,
        cgroup: &Path,
        hooks: &'static [Hook],
    ) -> Result<(), Error> {
        let id = sys::cgroup_id(cgroup).map_err(file_error("find", cgroup))?;
        let directory = fs::File::open(cgroup).map_err(file_error("open", cgroup))?;
        let is_new = !group.exists();
        let made = DirBuilder::new().recursive(true).mode(0o700).create(group);
        made.map_err(file_error("create", group))?;
        for hook in hooks {
            let Some(program) = self.program(hook.program)? else {
                continue;
            };
            let attached = attach_one(group, hook, program, directory.as_fd(), id);
            if let Err(source) = attached {
                if is_new {
                    detach_group(group)?;
                }
                return Err(Error::Attach {
                    program: hook.program,
                    cgroup: cgroup.to_owned(),
                    source,
                });
            }
        }
        Ok(())
    }

    /// Gives every pinned link the program of this version, and clears away what removed cgroups
    /// have left.
    pub(super) fn adopt(&self) -> Result<(), Error> {
        for group in pins::groups(&self.settings.pin_dir)? {
            for path in pins::entries(&group)? {
                self.adopt_one(&path)?;
            }
            if pins::entries(&group)?.is_empty() {
                fs::remove_dir(&group).map_err(file_error("remove", &group))?;
            }
        }
        Ok(())
    }

    fn adopt_one(&self, path: &Path) -> Result<(), Error> {
        let unknown = || Error::UnknownPin {
            path: path.to_owned(),
        };
        let name = path.file_name().and_then(|name| name.to_str());
        // An agent died between making a link and giving it its name.
        if name.is_some_and(|name| name.ends_with(UNFINISHED)) {
            return detach_pin(path);
        }
        let hook = [WORKLOAD, AGENT, SENTINEL]
            .into_iter()
            .flatten()
            .find(|hook| Some(hook.program) == name)
            .ok_or_else(unknown)?;
        let link = bpf::get(path).map_err(file_error("open", path))?;
        let Some(program) = self.program(hook.program)? else {
            return Ok(());
        };
        match bpf::link_update(link.as_fd(), program) {
            Ok(()) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => detach_pin(path),
            Err(error) => Err(file_error("replace the program of", path)(error)),
        }
    }

    /// The descriptor of a loaded program; `None` for an optional one that this kernel refuses.
    fn program(&self, name: &'static str) -> Result<Option<BorrowedFd<'_>>, Error> {
        let failed = |source| Error::Program {
            program: name,
            source,
        };
        if name == program::FAMILIES && self.features.families.is_err() {
            return Ok(None);
        }
        let program = self.object.program(name);
        let program = program.ok_or_else(|| failed(ProgramError::NotLoaded))?;
        let fd = program.fd().map_err(failed)?;
        Ok(Some(fd.as_fd()))
    }
}

/// Suffix of a pin that is about to take another's place.
const UNFINISHED: &str = "_new";

fn attach_one(
    group: &Path,
    hook: &Hook,
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    cgroup_id: u64,
) -> io::Result<()> {
    let path = group.join(hook.program);
    let pinned = path.exists();
    if pinned {
        let link = bpf::get(&path)?;
        if bpf::link_info(link.as_fd())?.cgroup == cgroup_id {
            return Ok(());
        }
    }
    let link = bpf::link_create(program, cgroup, hook.attach_type)?;
    if !pinned {
        return bpf::pin(link.as_fd(), &path);
    }
    // The agent's own cgroup changes from start to start: the new link stands before the old goes.
    let unfinished = group.join(format!("{}{UNFINISHED}", hook.program));
    bpf::pin(link.as_fd(), &unfinished)?;
    let old = bpf::get(&path)?;
    fs::rename(&unfinished, &path)?;
    match bpf::link_detach(old.as_fd()) {
        Err(error) if error.raw_os_error() != Some(libc::ENOLINK) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
