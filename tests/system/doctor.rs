//! `outbound doctor` on this host: the fence holds, and nothing stays behind.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::sandbox::is_privileged;
use outbound_agent::redirect;
use serde_json::Value;

/// Closed only where the kernel has `lsm_cgroup`.
const FAMILIES: [&str; 5] = ["families", "packet", "xdp", "vsock", "alg"];

fn binary() -> PathBuf {
    if let Some(named) = std::env::var_os("OUTBOUND_BIN") {
        return named.into();
    }
    let test = std::env::current_exe().expect("the test has a path");
    let profile = test.parent().and_then(Path::parent);
    profile.expect("target/PROFILE/deps").join("outbound")
}

fn doctor(arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(binary());
    let output = command.arg("doctor").args(arguments).output();
    let output = output.expect("the binary is built");
    let text = String::from_utf8(output.stdout).expect("text");
    (output.status.code(), text)
}

fn left_behind() -> Vec<PathBuf> {
    let root = redirect::cgroup_root().expect("a cgroup v2 hierarchy");
    [root.as_path(), Path::new("/sys/fs/bpf")]
        .into_iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            name.to_string_lossy().starts_with("outbound-doctor-")
        })
        .map(|entry| entry.path())
        .collect()
}

#[test]
fn no_attempt_gets_out_and_every_one_is_proven() {
    if !is_privileged() {
        return;
    }
    let (code, text) = doctor(&["--json"]);
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let sections = document["sections"].as_array().expect("sections");
    let fence = sections
        .iter()
        .find(|section| section["section"] == "Fence")
        .and_then(|section| section["checks"].as_array())
        .expect("the attempts");
    for check in fence {
        let name = check["name"].as_str().expect("a name");
        let expected = match check["state"].as_str() {
            Some("passed" | "skipped") => true,
            Some("open") => FAMILIES.contains(&name) || name == "errnos" || name == "thread_names",
            _ => false,
        };
        assert!(expected, "{check}");
    }
    let passed = |name: &str| {
        let is_it = |check: &&Value| check["name"] == name && check["state"] == "passed";
        fence.iter().find(is_it).is_some()
    };
    // What every kernel has.
    for name in [
        "tcp4",
        "tcp6",
        "tcp_mapped",
        "bind_device",
        "source_route",
        "routing_header",
        "udp4",
        "pktinfo",
        "ping",
        "raw",
        "inherited",
        "passed",
        "early",
        "agent_port",
        "mark",
    ] {
        assert!(passed(name), "{name} is not proven: {text}");
    }
    let host_is_well = sections
        .iter()
        .flat_map(|section| section["checks"].as_array().into_iter().flatten())
        .all(|check| check["state"] != "failed" && check["state"] != "not_proven");
    assert_eq!(document["passed"], host_is_well);
    assert_eq!(code, Some(i32::from(!host_is_well)));
    assert_eq!(left_behind(), Vec::<PathBuf>::new());
}

#[test]
fn without_privilege_it_says_what_is_missing() {
    if !is_privileged() {
        return;
    }
    // Who runs the tests may have built in a directory of their own.
    let directory = tempfile::tempdir().expect("a directory");
    let everybody = Permissions::from_mode(0o755);
    std::fs::set_permissions(directory.path(), everybody).expect("a directory for everybody");
    let copy = directory.path().join("outbound");
    std::fs::copy(binary(), &copy).expect("a copy of the binary");
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--clear-groups", "--"])
        .arg(copy)
        .arg("doctor")
        .output()
        .expect("setpriv of util-linux");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("missing: CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON"),
        "{text}"
    );
    assert!(text.contains("✗ the attempts"), "{text}");
}
