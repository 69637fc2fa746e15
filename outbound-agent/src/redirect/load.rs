//! Loading the object: features probed, pinned maps reused, every program verified before any
//! is attached.

use std::path::Path;

use aya::maps::{Array, Map, MapData};
use aya::programs::{Program, ProgramError, ProgramType};
use aya::sys::{BpfHelper, is_helper_supported};
use aya::{Btf, Ebpf, EbpfLoader};
use outbound_common::LAYOUT_VERSION;
use outbound_common::names::{global, map, program};

use super::{Error, attach, host, map_error, pinned, sockets};

/// What `build.rs` compiled.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/outbound-ebpf.o"));

/// What this kernel offers beyond the minimum.
#[derive(Clone, Debug)]
pub struct Features {
    /// Refused calls give the errno that fits (Linux 5.18); EPERM otherwise.
    pub errnos: bool,
    /// Flows and refusals name the calling thread.
    pub thread_names: bool,
    /// Families that no socket hook sees are refused (`lsm_cgroup`); otherwise why not.
    pub families: Result<(), String>,
    /// What was connected before a cgroup was assigned is ended; otherwise it runs into a
    /// time-out.
    pub cuts: bool,
}

/// Refuses pinned maps of another layout. 0 is what an agent leaves that died while loading.
pub(super) fn check_layout(pin_dir: &Path) -> Result<(), Error> {
    if !pin_dir.join(map::LAYOUT).exists() {
        return Ok(());
    }
    match layout(pin_dir)?
        .get(&0, 0)
        .map_err(map_error(map::LAYOUT))?
    {
        0 | LAYOUT_VERSION => Ok(()),
        found => Err(Error::Layout {
            path: pin_dir.to_owned(),
            found,
            known: LAYOUT_VERSION,
        }),
    }
}

/// Loads maps and programs; nothing is attached yet.
pub(super) fn load(pin_dir: &Path) -> Result<(Ebpf, Features), Error> {
    let supports = |kind: ProgramType, helper: BpfHelper, feature: &'static str| {
        is_helper_supported(kind, helper).map_err(|source| Error::Program {
            program: feature,
            source,
        })
    };
    let errnos = supports(
        ProgramType::CgroupSockAddr,
        BpfHelper::BPF_FUNC_set_retval,
        "probe",
    )?;
    let thread_names = [
        ProgramType::CgroupSockAddr,
        ProgramType::CgroupSock,
        ProgramType::CgroupSockopt,
    ]
    .into_iter()
    .map(|kind| supports(kind, BpfHelper::BPF_FUNC_get_current_comm, "probe"))
    .try_fold(true, |all, one| Ok(all && one?))?;

    let (have_retval, have_comm) = (u8::from(errnos), u8::from(thread_names));
    let mut object = EbpfLoader::new()
        .override_global(global::HAVE_RETVAL, &have_retval, true)
        .override_global(global::HAVE_COMM, &have_comm, true)
        .default_map_pin_directory(pin_dir)
        // Maps that are declared by BTF do not say that they are pinned.
        .map_pin_path(map::SOCKETS, pin_dir.join(map::SOCKETS))
        .map_pin_path(map::ACCEPTED, pin_dir.join(map::ACCEPTED))
        .load(OBJECT)
        .map_err(Error::Object)?;
    layout(pin_dir)?
        .set(0, LAYOUT_VERSION, 0)
        .map_err(map_error(map::LAYOUT))?;

    let hooks = [attach::WORKLOAD, attach::AGENT, attach::SENTINEL];
    for hook in hooks.into_iter().flatten() {
        if hook.program != program::FAMILIES {
            load_program(&mut object, hook.program)?;
        }
    }
    let families = load_program(&mut object, program::FAMILIES).map_err(|error| why(&error));
    let features = Features {
        errnos,
        thread_names,
        families,
        cuts: sockets::can_cut(),
    };
    Ok((object, features))
}

fn load_program(object: &mut Ebpf, name: &'static str) -> Result<(), Error> {
    let loaded = match object.program_mut(name) {
        Some(Program::CgroupSkb(program)) => program.load(),
        Some(Program::CgroupSock(program)) => program.load(),
        Some(Program::CgroupSockAddr(program)) => program.load(),
        Some(Program::CgroupSockopt(program)) => program.load(),
        Some(Program::SockOps(program)) => program.load(),
        Some(Program::LsmCgroup(program)) => Btf::from_sys_fs()
            .map_err(ProgramError::from)
            .and_then(|btf| program.load("socket_create", &btf)),
        // The object and the table of hooks come from one source tree.
        Some(_) | None => Err(ProgramError::UnexpectedProgramType),
    };
    loaded.map_err(|source| Error::Program {
        program: name,
        source,
    })
}

/// The chain of an error in one line.
fn why(error: &Error) -> String {
    let mut text = format!("{error} on Linux {}", host::release());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn layout(pin_dir: &Path) -> Result<Array<MapData, u32>, Error> {
    let data = pinned(pin_dir, map::LAYOUT)?;
    Array::try_from(Map::Array(data)).map_err(map_error(map::LAYOUT))
}
