//! `bpf(2)`: links and pins. aya updates no link, pins no `setsockopt` link, and shows no link's
//! descriptor.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use nix::libc;

use super::{c_string, checked, owned};

const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const OBJ_PIN: libc::c_long = 6;
const OBJ_GET: libc::c_long = 7;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const PROG_QUERY: libc::c_long = 16;
const LINK_CREATE: libc::c_long = 28;
const LINK_UPDATE: libc::c_long = 29;
const LINK_DETACH: libc::c_long = 34;

/// As much of `union bpf_attr` as these calls use.
type Attributes = [u32; 16];

/// What the kernel says of a link to a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkInfo {
    /// The link's number.
    pub id: u32,
    /// The program's number.
    pub program: u32,
    /// The cgroup; 0 once it is removed.
    pub cgroup: u64,
    /// `enum bpf_attach_type`.
    pub attach_type: u32,
}

/// Attaches a program to a cgroup. A link to a cgroup never displaces another program; the
/// flags that say so for the older interface are refused here.
pub fn link_create(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = Attributes::default();
    attributes[0] = number(program.as_raw_fd());
    attributes[1] = number(cgroup.as_raw_fd());
    attributes[2] = attach_type;
    call(LINK_CREATE, &mut attributes).map(owned)
}

/// Replaces the program of a link, at once.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = Attributes::default();
    attributes[0] = number(link.as_raw_fd());
    attributes[1] = number(program.as_raw_fd());
    call(LINK_UPDATE, &mut attributes).map(drop)
}

/// Takes the program off, whoever else holds the link.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attributes = Attributes::default();
    attributes[0] = number(link.as_raw_fd());
    call(LINK_DETACH, &mut attributes).map(drop)
}

/// What a link attaches to what.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<LinkInfo> {
    // struct bpf_link_info: type, id, prog_id, -, cgroup_id (8 octets), attach_type
    let mut info = [0_u32; 16];
    let address = info.as_mut_ptr() as u64;
    let mut attributes = Attributes::default();
    attributes[0] = number(link.as_raw_fd());
    attributes[1] = size_of_val(&info) as u32;
    [attributes[2], attributes[3]] = halves(address);
    call(OBJ_GET_INFO_BY_FD, &mut attributes)?;
    Ok(LinkInfo {
        id: info[1],
        program: info[2],
        cgroup: whole([info[4], info[5]]),
        attach_type: info[6],
    })
}

/// The programs of one hook on a cgroup itself, not on those above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupHook {
    /// How many there are.
    pub programs: u32,
    /// `BPF_F_ALLOW_*`, as the first was attached; none of them: no other may be beside it.
    pub flags: u32,
}

/// What is attached to a hook of a cgroup.
pub fn cgroup_hook(cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<CgroupHook> {
    let mut attributes = Attributes::default();
    attributes[0] = number(cgroup.as_raw_fd());
    attributes[1] = attach_type;
    call(PROG_QUERY, &mut attributes)?;
    Ok(CgroupHook {
        programs: attributes[6],
        flags: attributes[3],
    })
}

/// The numbers of the programs of one hook that run for a cgroup, in the order in which they run:
/// its own, then those of the cgroups above it.
pub fn cgroup_programs(cgroup: BorrowedFd<'_>, attach_type: u32) -> io::Result<Vec<u32>> {
    const EFFECTIVE: u32 = 1;
    // `BPF_CGROUP_MAX_PROGS` a cgroup, of which the chain may have several.
    let mut ids = [0_u32; 256];
    let mut attributes = Attributes::default();
    attributes[0] = number(cgroup.as_raw_fd());
    attributes[1] = attach_type;
    attributes[2] = EFFECTIVE;
    [attributes[4], attributes[5]] = halves(ids.as_mut_ptr() as u64);
    attributes[6] = ids.len() as u32;
    call(PROG_QUERY, &mut attributes)?;
    let count = attributes[6] as usize;
    Ok(ids.iter().take(count).copied().collect())
}

/// The name of a program, by its number; empty where it was given none.
pub fn program_name(id: u32) -> io::Result<String> {
    let mut attributes = Attributes::default();
    attributes[0] = id;
    let program = call(PROG_GET_FD_BY_ID, &mut attributes).map(owned)?;
    // struct bpf_prog_info: the name is 16 octets from 64 on.
    let mut info = [0_u8; 80];
    let mut attributes = Attributes::default();
    attributes[0] = number(program.as_raw_fd());
    attributes[1] = size_of_val(&info) as u32;
    [attributes[2], attributes[3]] = halves(info.as_mut_ptr() as u64);
    call(OBJ_GET_INFO_BY_FD, &mut attributes)?;
    let name = info[64..].split(|octet| *octet == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}

/// Gives an object a name below a bpffs.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_string(path.as_os_str())?;
    let mut attributes = Attributes::default();
    [attributes[0], attributes[1]] = halves(path.as_ptr() as u64);
    attributes[2] = number(object.as_raw_fd());
    call(OBJ_PIN, &mut attributes).map(drop)
}

/// Opens an object by its name.
pub fn get(path: &Path) -> io::Result<OwnedFd> {
    let path = c_string(path.as_os_str())?;
    let mut attributes = Attributes::default();
    [attributes[0], attributes[1]] = halves(path.as_ptr() as u64);
    call(OBJ_GET, &mut attributes).map(owned)
}

fn call(command: libc::c_long, attributes: &mut Attributes) -> io::Result<libc::c_long> {
    // SAFETY: the attributes are as long as the call is told; the callers above keep alive
    // what they point to.
    checked(unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of::<Attributes>(),
        )
    })
}

const fn number(fd: RawFd) -> u32 {
    fd.cast_unsigned()
}

const fn halves(value: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = value.to_ne_bytes();
    [
        u32::from_ne_bytes([a, b, c, d]),
        u32::from_ne_bytes([e, f, g, h]),
    ]
}

const fn whole([first, second]: [u32; 2]) -> u64 {
    let [a, b, c, d] = first.to_ne_bytes();
    let [e, f, g, h] = second.to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, g, h])
}
