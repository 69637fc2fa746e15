//! `outbound import`: a Wrangler configuration as one of ours.

use std::io;
use std::path::Path;

use anyhow::Context as _;

use super::output::complain;
use crate::config::import;

/// Prints the file, and tells on stderr what it does not have of the other.
pub(super) fn import(file: &Path, out: &mut dyn io::Write) -> anyhow::Result<()> {
    let imported = import::import(file)?;
    let written = out.write_all(imported.text.as_bytes());
    written.context("cannot print the configuration")?;
    for left in &imported.left {
        complain(format!("not imported: {left}"));
    }
    Ok(())
}
