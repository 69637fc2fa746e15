//! `outbound detach`: the only thing that takes the hooks off.

use std::io::{self, Write};
use std::path::Path;

use crate::redirect;

/// Takes everything below `pin_dir` off and says what it was. Cgroups that were fenced have
/// free egress afterwards.
pub fn run(pin_dir: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let detached = redirect::detach(pin_dir)?;
    report(&detached, pin_dir, out)?;
    Ok(())
}

fn report(detached: &[redirect::Attachment], pin_dir: &Path, out: &mut dyn Write) -> io::Result<()> {
    if detached.is_empty() {
        return writeln!(out, "nothing was attached below {}", pin_dir.display());
    }
    let cgroups: std::collections::BTreeSet<_> = detached.iter().map(|attachment| &attachment.cgroup).collect();
    writeln!(out, "detached {} programs from {} cgroups", detached.len(), cgroups.len())
}
