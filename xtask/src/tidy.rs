//! `cargo xtask tidy`: what the compiler does not check.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::say;
use crate::shell::Shell;

mod source;
mod imports;
mod sizes;
mod places;
mod manifests;

use source::Source;

/// Directories that hold source of ours.
const CRATES: [&str; 5] = [
    "outbound-common",
    "outbound-ebpf",
    "outbound-agent",
    "tests",
    "xtask",
];

/// Applies every rule; every offence is told with its place.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    let sources = sources(shell.root())?;
    let mut complaints = Vec::new();
    for source in &sources {
        complaints.extend(sizes::complaints(source));
        complaints.extend(places::complaints(source));
        complaints.extend(imports::complaints(source));
    }
    complaints.extend(manifests::complaints(shell.root())?);
    for complaint in &complaints {
        say::complaint(complaint);
    }
    if !complaints.is_empty() {
        bail!("{} untidy places", complaints.len());
    }
    say::line(format_args!("  {} source files are tidy", sources.len()));
    Ok(())
}

fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut found = Vec::new();
    for name in CRATES {
        collect(root, &root.join(name), &mut found)?;
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

fn collect(root: &Path, dir: &Path, found: &mut Vec<Source>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.ends_with("target") {
                collect(root, &path, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(root)?.to_string_lossy().into_owned();
            found.push(Source::new(name, text));
        }
    }
    Ok(())
}
