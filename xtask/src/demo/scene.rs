//! What the show stands on: directory, cgroups, network, certificate, configuration. All of it
//! has fixed names, so that the next demo finds what a killed one left.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::poll::{PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};

use super::plain;

/// Where the scripted origins listen: addresses of documentation ranges (RFC 5737, RFC 3849),
/// which nothing else answers for.
pub(super) const ORIGIN_V4: &str = "203.0.113.10";
pub(super) const ORIGIN_V6: &str = "2001:db8::10";
/// Where the agent answers `/readyz` and `/metrics`.
pub(super) const METRICS: &str = "127.0.0.1:9464";

const DIRECTORY: &str = "/run/outbound-demo";
const PINS: &str = "/sys/fs/bpf/outbound-demo";
const CGROUP: &str = "outbound-demo";
const ORIGIN_PROGRAM: &str = include_str!("origin.py");
const CONFIG: &str = include_str!("demo.toml");
const WORKER: &str = include_str!("egress.js");

/// The places.
pub(super) struct Scene {
    /// `outbound`, as built.
    pub(super) binary: PathBuf,
    /// Holds everything that is a file.
    pub(super) directory: PathBuf,
    cgroup: PathBuf,
}

impl Scene {
    pub(super) fn new(binary: PathBuf) -> Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts").context("cannot read the mounts")?;
        let Some(root) = cgroup_root(&mounts) else {
            bail!("no cgroup v2 hierarchy is mounted: mount -t cgroup2 none /sys/fs/cgroup");
        };
        Ok(Self {
            binary,
            directory: DIRECTORY.into(),
            cgroup: root.join(CGROUP),
        })
    }

    pub(super) fn config(&self) -> PathBuf {
        self.directory.join("outbound.toml")
    }

    /// Takes away whatever a demo made: processes, hooks, cgroups, files.
    pub(super) fn clear(&self) -> Result<()> {
        if self.cgroup.exists() {
            // Everything that a demo starts is in there.
            fs::write(self.cgroup.join("cgroup.kill"), "1")
                .context("cannot kill a cgroup (needs Linux 5.14)")?;
            remove_cgroups(&self.cgroup)?;
        }
        if self.config().exists() {
            // What it does not take off, because the demo died before there was anything to
            // detach or in the midst of it, goes with the pins.
            let mut detach = plain(&self.binary.to_string_lossy());
            detach
                .arg("detach")
                .arg("--config")
                .arg(self.config())
                .output()
                .ok();
        }
        for directory in [Path::new(PINS), &self.directory] {
            match fs::remove_dir_all(directory) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error)
                        .with_context(|| format!("cannot remove {}", directory.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Makes it all, and moves this process inside.
    pub(super) fn enter(&self) -> Result<()> {
        fs::create_dir(&self.directory).context("cannot make the demo's directory")?;
        fs::set_permissions(&self.directory, fs::Permissions::from_mode(0o700))?;
        for name in ["show", "tenants/acme", "tenants/globex", "tenants/initech"] {
            fs::create_dir_all(self.cgroup.join(name)).context("cannot make a cgroup")?;
        }
        fs::write(self.cgroup.join("show/cgroup.procs"), "0").context("cannot enter a cgroup")?;
        unshare(CloneFlags::CLONE_NEWNET).context("cannot make a network namespace")?;
        for arguments in [
            "link set lo up".to_owned(),
            format!("address add {ORIGIN_V4}/32 dev lo"),
            format!("address add {ORIGIN_V6}/128 dev lo nodad"),
        ] {
            quietly(plain("ip").args(arguments.split(' ')))?;
        }
        self.write_files()
    }

    fn write_files(&self) -> Result<()> {
        let directory = self.directory.to_string_lossy();
        fs::write(
            self.config(),
            CONFIG
                .replace("@DIRECTORY@", &directory)
                .replace("@PINS@", PINS),
        )?;
        fs::write(self.directory.join("origin.py"), ORIGIN_PROGRAM)?;
        fs::write(self.directory.join("origin.jsonl"), "")?;
        fs::write(self.directory.join("egress.js"), WORKER)?;
        let key = self.directory.join("signing.key");
        quietly(
            plain("openssl")
                .args(["rand", "-hex", "-out"])
                .arg(&key)
                .arg("32"),
        )?;
        let secret = quietly(plain("openssl").args(["rand", "-hex", "12"]))?;
        let secret_path = self.secret();
        fs::write(&secret_path, format!("demo-{}\n", secret.trim()))?;
        fs::set_permissions(&secret_path, fs::Permissions::from_mode(0o600))?;
        let names = "subjectAltName=DNS:*.example.test";
        let mut openssl = plain("openssl");
        openssl
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ])
            .args([
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=Outbound demo",
                "-addext",
                names,
            ])
            .arg("-keyout")
            .arg(self.directory.join("origin.key"))
            .arg("-out")
            .arg(self.certificate());
        quietly(&mut openssl)?;
        Ok(())
    }

    /// The origins' certificate, which signs itself.
    pub(super) fn certificate(&self) -> PathBuf {
        self.directory.join("origin.pem")
    }

    /// The file with the secret that the agent adds for acme.
    pub(super) fn secret(&self) -> PathBuf {
        self.directory.join("billing.key")
    }
}

/// Waits for a condition: its value, or `None` at the deadline.
pub(super) fn wait_for<T>(
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + deadline;
    loop {
        if let Some(value) = condition() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        pause(Duration::from_millis(20));
    }
}

/// Lets the person read, or a condition come true.
pub(super) fn pause(duration: Duration) {
    let timeout = PollTimeout::try_from(duration).unwrap_or(PollTimeout::MAX);
    // With nothing to poll for, only the time ends it; an interrupted pause is a shorter one.
    poll(&mut [], timeout).ok();
}

/// Runs a tool of which only failure is worth a word; gives what it printed.
fn quietly(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn cgroup_root(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| path.into())
    })
}

/// Innermost first; a cgroup can be removed as soon as the last of its processes is gone.
fn remove_cgroups(cgroup: &Path) -> Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_cgroups(&path)?;
        }
    }
    let removed = wait_for(Duration::from_secs(10), || match fs::remove_dir(cgroup) {
        Ok(()) => Some(()),
        Err(error) => (error.kind() == ErrorKind::NotFound).then_some(()),
    });
    removed.with_context(|| format!("cannot remove {}", cgroup.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup_root_is_the_second_version() {
        let hybrid = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup_root(hybrid), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(cgroup_root("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn a_condition_has_a_deadline() {
        assert_eq!(wait_for(Duration::ZERO, || None::<()>), None);
        let mut left = 3;
        let waited = wait_for(Duration::from_secs(5), || {
            left -= 1;
            (left == 0).then_some("there")
        });
        assert_eq!(waited, Some("there"));
    }
}
