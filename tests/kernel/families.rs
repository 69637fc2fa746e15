//! Families and protocols that a kernel may lack: found out by trying outside of any tenant, and
//! refused in one either way, each with the errno that is right for this kernel.

use std::path::Path;

use crate::stage::Stage;

/// What a socket is made of, and whether a hook sees it that every kernel has.
const KINDS: &[(&str, &str, bool)] = &[
    ("SCTP", "AF_INET, SOCK_STREAM, 132", true),
    ("SCTP over IPv6", "AF_INET6, SOCK_SEQPACKET, 132", true),
    ("DCCP", "AF_INET, 6, 33", true),
    ("UDP-Lite", "AF_INET, SOCK_DGRAM, 136", true),
    ("MPTCP", "AF_INET, SOCK_STREAM, 262", true),
    ("L2TP", "AF_INET, SOCK_DGRAM, 115", true),
    ("packet", "17, SOCK_RAW, 0", false),
    ("vsock", "40, SOCK_STREAM, 0", false),
    ("AF_ALG", "38, SOCK_SEQPACKET, 0", false),
    ("AF_XDP", "44, SOCK_RAW, 0", false),
    ("TIPC", "30, SOCK_SEQPACKET, 0", false),
    ("RDS", "21, SOCK_SEQPACKET, 0", false),
    ("SMC", "43, SOCK_STREAM, 0", false),
    ("Bluetooth", "31, SOCK_RAW, 1", false),
    ("CAN", "29, SOCK_RAW, 1", false),
];

/// What a kernel says that has no such family, type or protocol.
const LACKS: &[&str] = &[
    "EAFNOSUPPORT",
    "EPROTONOSUPPORT",
    "ESOCKTNOSUPPORT",
    "EINVAL",
];

fn tried(stage: &Stage, cgroup: &Path, kind: &str) -> String {
    let program = format!("print(attempt(socket, {kind}))");
    stage.workload(cgroup).python(&program)
}

#[test]
fn what_is_neither_tcp_nor_udp_is_refused_whether_the_kernel_has_it_or_not() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let free = stage.sandbox.cgroup("free");
    let tenant = stage.tenant("a", 0);
    let families = stage.redirect().features().families.clone();
    for (name, kind, is_seen) in KINDS {
        let outside = tried(&stage, &free, kind);
        let inside = tried(&stage, &tenant.cgroup, kind);
        let is_absent = LACKS.contains(&&*outside);
        println!("{name}: outside {outside}, in a tenant {inside}");
        assert!(is_absent || outside == "ok", "{name}: {outside}");
        match (&families, is_seen) {
            (_, _) if is_absent => assert!(LACKS.contains(&&*inside), "{name}: {inside}"),
            (_, true) => assert_eq!(inside, "EPROTONOSUPPORT", "{name}"),
            (Ok(()), false) => assert_eq!(inside, "EAFNOSUPPORT", "{name}"),
            // `status` and `doctor` say that these are open, and why.
            (Err(why), false) => {
                assert_eq!(inside, "ok", "{name}");
                assert!(why.contains("families"), "{why}");
            }
        }
    }
}

#[test]
fn netlink_carries_nothing_out_and_stays() {
    let Some(mut stage) = Stage::new() else {
        return;
    };
    let tenant = stage.tenant("a", 0);
    // Resolvers and language runtimes list interfaces by it.
    let program = "s = socket(AF_NETLINK, SOCK_RAW, 0); s.bind((0, 0)); \
         print([name for number, name in if_nameindex()])";
    assert_eq!(stage.workload(&tenant.cgroup).python(program), "['lo']");
}
