//! Which side doors are open on this host, and whether the mount namespace of `outbound run`
//! closes them.

use std::fs;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};

use super::report::{Check, State};
use crate::command::doors::{DOORS, Door};
use crate::command::output::chain;
use crate::command::run::mount;

/// One line each, and one for what `outbound run` makes of them.
pub(super) fn checks() -> Vec<Check> {
    let mut checks: Vec<Check> = DOORS.iter().map(check).collect();
    checks.push(hidden());
    checks
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

/// What `outbound run` makes of them: tried, not looked up.
fn hidden() -> Check {
    const TITLE: &str = "these, for a command of `outbound run`";
    let check = |state| Check::new("run_mounts", TITLE, state);
    match reached_inside() {
        Ok(reached) if reached.is_empty() => check(State::Passed).says("not there"),
        Ok(reached) => check(State::Failed).says(format!("reached: {}", reached.join(", "))),
        Err(error) => check(State::Skipped).says(chain(&*error)),
    }
}

/// The doors that can be connected to in such a command's mount namespace.
fn reached_inside() -> anyhow::Result<Vec<&'static str>> {
    let mounts = mount::private(None)?;
    thread::scope(|scope| {
        let inside = scope.spawn(|| {
            unshare(CloneFlags::CLONE_FS)?;
            setns(mounts.as_fd(), CloneFlags::CLONE_NEWNS)?;
            let paths = DOORS.iter().map(|door| door.path);
            let reached = paths.filter(|path| UnixStream::connect(path).is_ok());
            anyhow::Ok(reached.collect())
        });
        inside
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
