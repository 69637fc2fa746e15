//! `outbound detach`: the only thing that takes the hooks off.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::Context as _;

use super::output::say;
use crate::redirect;

/// Takes everything below `pin_dir` off and says what it was. Cgroups that were fenced have
/// free egress afterwards. A running agent, which would put it on again, has to end first.
/// The ports that the agent has reserved, as `state_dir` says, are given back.
pub fn run(pin_dir: &Path, state_dir: Option<&Path>) -> anyhow::Result<()> {
    let _held = redirect::hold(pin_dir)?;
    let detached = redirect::detach(pin_dir)?;
    state_dir
        .map_or(Ok(()), redirect::reserved::give_back)
        .context("cannot give the reserved ports back")?;
    if let Ok(root) = redirect::cgroup_root() {
        // Another agent may be in it.
        let _in_use = std::fs::remove_dir(root.join(redirect::AGENTS_CGROUP));
    }
    if detached.is_empty() {
        say(format_args!(
            "nothing is attached below {}",
            pin_dir.display()
        ))?;
        return Ok(());
    }
    let cgroups: BTreeSet<_> = detached
        .iter()
        .map(|attachment| attachment.cgroup)
        .collect();
    say(format_args!(
        "detached {} programs from {} cgroups",
        detached.len(),
        cgroups.len()
    ))?;
    Ok(())
}
