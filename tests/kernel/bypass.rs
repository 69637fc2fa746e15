//! Ways around. Each is tried first where nothing protects, and the witness outside sees the
//! packet; then in a tenant, and the witness sees nothing.

/// TCP and its kin.
mod stream;
/// UDP and its kin.
mod datagram;
/// What the belt holds alone.
mod belt;
/// Loopback, namespaces and descriptors: what is no packet to the uplink by itself.
mod place;
/// Servers of tenants.
mod inbound;

use crate::stage::Stage;

struct Attack {
    /// Print what the attacker sees.
    statements: &'static str,
    /// Tried without privileges; some need them.
    user: Option<u32>,
    /// What the attacker sees inside a tenant.
    outcome: &'static str,
}

const NOBODY: Option<u32> = Some(1000);
const NONE: Vec<String> = Vec::new();

/// What an attacker sees, where nothing protects, of what this kernel does not have.
const ABSENT: [&str; 4] = [
    "absent",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "EAFNOSUPPORT",
];

#[track_caller]
fn run(stage: &Stage, cgroup: &std::path::Path, attack: &Attack) -> String {
    let workload = stage.workload(cgroup);
    let workload = match attack.user {
        Some(user) => workload.as_user(user),
        None => workload,
    };
    workload.python(attack.statements)
}

#[track_caller]
fn stays_inside(attack: Attack) {
    let Some(mut stage) = Stage::with_uplink() else {
        return;
    };
    let netns = stage.sandbox.netns();
    netns.sysctl("net/ipv4/ping_group_range", "0 2000");
    let mut witness = stage.sandbox.sniff();

    let free = stage.sandbox.cgroup("free");
    let outcome = run(&stage, &free, &attack);
    if ABSENT.contains(&&*outcome) {
        harness::sandbox::skipped("this kernel has no such thing");
        return;
    }
    witness.await_packet();

    let tenant = stage.tenant("a", 0);
    let outcome = run(&stage, &tenant.cgroup, &attack);
    assert_eq!(witness.packets(), NONE, "{outcome}");
    assert_eq!(outcome, attack.outcome);
}

/// One test each: who tries (`None`: root), what, and what is seen in a tenant.
macro_rules! attacks {
    ($($name:ident: $user:expr, $statements:expr => $outcome:expr;)*) => {
        $(#[test]
        fn $name() {
            $crate::bypass::stays_inside($crate::bypass::Attack { statements: $statements, user: $user, outcome: $outcome });
        })*
    };
}
use attacks;
