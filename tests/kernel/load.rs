use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use aya::maps::{Array, Map, MapData};
use harness::sandbox::Sandbox;
use outbound_agent::model::tenant::CgroupId;
use outbound_agent::redirect::{self, Error, Redirect, attachments};
use outbound_agent::sys;
use outbound_common::{LAYOUT_VERSION, names};

#[test]
fn every_program_passes_the_verifier_and_every_map_is_pinned() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let settings = sandbox.settings();
    let redirect = Redirect::open(&settings).unwrap();
    for map in [
        names::map::LAYOUT,
        names::map::TENANTS,
        names::map::LEVELS,
        names::map::LISTENERS,
        names::map::SOCKETS,
        names::map::FLOWS,
        names::map::ACCEPTED,
        names::map::COUNTERS,
        names::map::ACCOUNTS,
        names::map::SWEPT,
        names::map::REFUSALS,
    ] {
        assert!(settings.pin_dir.join(map).exists(), "{map}");
    }
    let mode = settings.pin_dir.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(redirect);
    redirect::detach(&settings.pin_dir).unwrap();
    assert!(!settings.pin_dir.exists());
}

#[test]
fn a_second_agent_is_refused() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let settings = sandbox.settings();
    let first = Redirect::open(&settings).unwrap();
    assert!(matches!(
        Redirect::open(&settings),
        Err(Error::InUse { .. })
    ));
    drop(first);
    drop(Redirect::open(&settings).unwrap());
}

#[test]
fn maps_of_another_layout_are_refused() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let settings = sandbox.settings();
    drop(Redirect::open(&settings).unwrap());
    let data = MapData::from_pin(settings.pin_dir.join(names::map::LAYOUT)).unwrap();
    let mut layout = Array::<_, u32>::try_from(Map::Array(data)).unwrap();
    layout.set(0, LAYOUT_VERSION + 1, 0).unwrap();
    let refused = Redirect::open(&settings).err().unwrap();
    assert!(matches!(refused, Error::Layout { found, .. } if found == LAYOUT_VERSION + 1));
    assert!(refused.to_string().contains("outbound detach"), "{refused}");
}

#[test]
fn a_starting_agent_adopts_what_is_pinned_and_replaces_the_programs() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let settings = sandbox.settings();
    let cgroup = sandbox.cgroup("a");
    let id = CgroupId(sys::cgroup_id(&cgroup).unwrap());
    let mut first = Redirect::open(&settings).unwrap();
    first.watch(&cgroup).unwrap();
    first.guard_agent().unwrap();
    first.assign(id, &cgroup, 3, 0).unwrap();
    let before = attachments(&settings.pin_dir).unwrap();
    drop(first);

    let mut second = Redirect::open(&settings).unwrap();
    second.watch(&cgroup).unwrap();
    second.guard_agent().unwrap();
    let after = attachments(&settings.pin_dir).unwrap();
    assert_eq!(before.len(), after.len());
    for (old, new) in before.iter().zip(&after) {
        assert_eq!((&old.program, old.cgroup), (&new.program, new.cgroup));
        assert_ne!(old.program_id, new.program_id, "{}", new.program);
    }
    let tenants = second.assigned().unwrap();
    assert_eq!(
        (tenants.len(), tenants[0].cgroup, tenants[0].slot),
        (1, id.0, 3)
    );
}

#[test]
fn a_pin_of_an_unknown_program_is_refused() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let settings = sandbox.settings();
    let cgroup = sandbox.cgroup("a");
    let mut redirect = Redirect::open(&settings).unwrap();
    redirect.watch(&cgroup).unwrap();
    drop(redirect);
    let group = settings
        .pin_dir
        .join(format!("c{}", sys::cgroup_id(&cgroup).unwrap()));
    fs::rename(group.join("connect4"), group.join("connect9")).unwrap();
    let refused = Redirect::open(&settings).err().unwrap();
    assert!(matches!(refused, Error::UnknownPin { .. }), "{refused}");
}

#[test]
fn a_removed_cgroup_leaves_no_pins() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let settings = sandbox.settings();
    let cgroup = sandbox.cgroup("a");
    let mut redirect = Redirect::open(&settings).unwrap();
    redirect.watch(&cgroup).unwrap();
    fs::remove_dir(&cgroup).unwrap();
    // The kernel lets go of a removed cgroup's links in its own time.
    harness::sandbox::eventually("the pins are gone", || {
        redirect.unwatch(&cgroup).unwrap();
        attachments(&settings.pin_dir)
            .unwrap()
            .is_empty()
            .then_some(())
    });
}

#[test]
fn the_agents_own_cgroup_is_not_watched() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let settings = sandbox.settings();
    let mut redirect = Redirect::open(&settings).unwrap();
    let refused = redirect.watch("/".as_ref()).err().unwrap();
    assert!(matches!(refused, Error::OwnCgroup { .. }), "{refused}");
}

#[test]
fn a_directory_that_is_no_bpffs_is_named() {
    let Some(sandbox) = Sandbox::new() else {
        return;
    };
    let mut settings = sandbox.settings();
    let elsewhere = tempfile::tempdir().unwrap();
    settings.pin_dir = elsewhere.path().join("pins");
    let refused = Redirect::open(&settings).err().unwrap();
    assert!(matches!(refused, Error::NoBpffs { .. }), "{refused}");
    settings.pin_dir = sandbox.settings().pin_dir;
    settings.cgroup_root = elsewhere.path().to_owned();
    let refused = Redirect::open(&settings).err().unwrap();
    assert!(matches!(refused, Error::NoCgroup2 { .. }), "{refused}");
}
