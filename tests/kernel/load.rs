use std::os::unix::fs::PermissionsExt as _;

use harness::sandbox::Sandbox;
use outbound_agent::redirect::{self, Error, Redirect};
use outbound_common::{LAYOUT_VERSION, names};

use crate::stage::Stage;

#[test]
fn every_program_passes_the_verifier_and_every_map_is_pinned() {
    let Some(sandbox) = Sandbox::new() else { return };
    let settings = sandbox.settings();
    let redirect = Redirect::open(&settings).unwrap();
    for map in [
        names::map::LAYOUT,
        names::map::TENANTS,
        names::map::LISTENERS,
        names::map::SOCKETS,
        names::map::FLOWS,
        names::map::ACCEPTED,
        names::map::COUNTERS,
        names::map::REFUSALS,
    ] {
        assert!(settings.pin_dir.join(map).exists(), "{map}");
    }
    let mode = settings.pin_dir.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    println!("{:?}", redirect.features());
    drop(redirect);
    redirect::detach(&settings.pin_dir).unwrap();
    assert!(!settings.pin_dir.exists());
}
