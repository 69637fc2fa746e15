//! `outbound run`: a command as a tenant's workload, from its first instruction.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};

use super::client;
use crate::observe::admin::TenantView;
use crate::sys;

/// Runs `command` in a cgroup of its own below the tenant's, and gives back its exit code
/// (128 + n when signal n ended it). The child starts inside the cgroup and holds no descriptor
/// of ours but the three standard ones: there is no moment in which it is not fenced.
pub fn run(socket: &Path, tenant: &str, command: &[OsString]) -> anyhow::Result<u8> {
    let view: TenantView = client::get_json(socket, &format!("/v1/tenants/{tenant}"))?
        .ok_or_else(|| anyhow!("the agent knows no tenant `{tenant}`; `outbound status` lists them"))?;
    let cgroup = RunCgroup::make(&view.cgroup)?;
    let directory = File::open(&cgroup.path).with_context(|| format!("cannot open {}", cgroup.path.display()))?;
    let child = sys::spawn_in_cgroup(command, &directory)
        .with_context(|| format!("cannot run {}", command[0].to_string_lossy()))?;
    let status = child.wait().context("cannot wait for the command")?;
    Ok(status)
}

/// The cgroup of one run; removed afterwards, unless something of the command lives on in it.
struct RunCgroup {
    path: PathBuf,
}

impl RunCgroup {
    fn make(tenant: &Path) -> anyhow::Result<Self> {
        let path = tenant.join(format!("run-{}", std::process::id()));
        match fs::create_dir(&path) {
            Ok(()) => {}
            // Left behind by a run with our process id; what still lives in it is the same tenant's.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                return Err(error).with_context(|| format!("cannot make the cgroup {}; are you root?", path.display()));
            }
        }
        Ok(Self { path })
    }
}

impl Drop for RunCgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "cgroup of the run stays");
        }
    }
}
