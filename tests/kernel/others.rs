//! Programs of others on the hooks that ours need, attached as systemd and container runtimes do.

use std::path::Path;

use outbound_agent::redirect::{self, Error};

use crate::stage::Stage;

/// `enum bpf_attach_type`: cgroup_inet_egress, cgroup_inet4_connect.
const EGRESS: u32 = 1;
const CONNECT4: u32 = 10;

/// Attaches a program that lets everything through, with `BPF_PROG_ATTACH`.
fn attach(stage: &Stage, cgroup: &Path, hook: u32, flags: &str, name: &str) {
    let kind = if hook == EGRESS { "SKB" } else { "SOCK_ADDR" };
    let program = format!(
        "{}\nforeign('{}', {kind}, {hook}, {flags}, b'{name}'); print('attached')",
        include_str!("foreign.py"),
        cgroup.display()
    );
    let operator = stage.sandbox.cgroup("operator");
    assert_eq!(stage.workload(&operator).python(&program), "attached");
}

#[test]
fn a_program_that_allows_no_other_keeps_a_cgroup_from_being_watched_and_is_named() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    for hook in [EGRESS, CONNECT4] {
        let cgroup = stage.sandbox.cgroup(&format!("busy{hook}"));
        attach(&stage, &cgroup, hook, "0", "exclusive");
        let below = stage.sandbox.cgroup(&format!("busy{hook}/below"));
        for directory in [&cgroup, &below] {
            let refused = stage.redirect_mut().watch(directory).err();
            let Some(Error::Attach { cgroup: named, .. }) = &refused else {
                panic!("{refused:?}");
            };
            assert_eq!(named, directory);
            let said = refused.map(|error| error.to_string()).unwrap_or_default();
            assert!(said.contains("allows no other beside it"), "{said}");
        }
        let root = stage.sandbox.settings().cgroup_root;
        let found = redirect::exclusive(&root).unwrap();
        assert!(found.iter().any(|one| one.cgroup == cgroup), "{found:?}");
    }
    // Nothing half attached is left.
    let attached = redirect::attachments(&stage.sandbox.settings().pin_dir).unwrap();
    let busy = |path: &Path| path.display().to_string().contains("busy");
    assert!(
        !attached
            .iter()
            .any(|one| one.path.as_deref().is_some_and(busy))
    );
}

#[test]
fn programs_that_allow_others_run_beside_ours_in_a_known_order() {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let mut witness = stage.sandbox.sniff();
    let cgroup = stage.sandbox.cgroup("a");
    for hook in [EGRESS, CONNECT4] {
        attach(&stage, &cgroup, hook, "ALLOW_MULTI", "theirs_before");
    }
    let tenant = stage.tenant("a", 0);
    for hook in [EGRESS, CONNECT4] {
        attach(&stage, &cgroup, hook, "ALLOW_MULTI", "theirs_after");
    }
    let connect = "print(attempt(tcp().connect, ('192.0.2.7', 80)))";
    assert_eq!(stage.workload(&tenant.cgroup).python(connect), "ok");
    assert_eq!(stage.flow().tenant_cgroup, tenant.id);
    assert_eq!(witness.packets(), Vec::<String>::new());

    let settings = stage.sandbox.settings();
    let shared = redirect::shared(&settings.pin_dir, &settings.cgroup_root).unwrap();
    let order = |hook: &str| {
        let is_meant =
            |one: &&redirect::SharedHook| one.cgroup == cgroup && one.attach_type == hook;
        let found = shared.iter().find(is_meant).expect("a shared hook");
        let name = |one: &redirect::Runs| (one.name.clone(), one.is_ours);
        found.programs.iter().map(name).collect::<Vec<_>>()
    };
    let expected = |ours: &str| {
        [
            ("theirs_before", false),
            (ours, true),
            ("theirs_after", false),
        ]
        .map(|(name, is_ours)| (name.to_owned(), is_ours))
    };
    assert_eq!(order("inet_egress"), expected("egress"));
    // The sentinel at the root comes last.
    assert_eq!(order("inet4_connect")[..3], expected("connect4"));
    assert!(order("inet4_connect").contains(&("sentinel4".to_owned(), true)));
}
