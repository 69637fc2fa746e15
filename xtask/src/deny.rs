//! `cargo xtask deny`: what may be depended on, by `.deny.toml`.
//!
//! cargo-deny does it where it is installed. It takes longer to build than all our tests, so
//! elsewhere, and on CI, the same file is applied here: licences, sources, bans, duplicates.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::say;
use crate::shell::Shell;

mod spdx;

const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// What of `.deny.toml` is applied here.
#[derive(Deserialize)]
struct Rules {
    graph: Graph,
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Graph {
    targets: Vec<String>,
}

#[derive(Deserialize)]
struct Licenses {
    allow: Vec<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Entry>,
    skip: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

/// What of `cargo metadata` matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// Applies the rules; every offence is told.
pub(crate) fn run(shell: &Shell) -> Result<()> {
    if shell
        .output(shell.cargo().args(["deny", "--version"]))
        .is_some()
    {
        return shell.show(
            shell
                .cargo()
                .args(["deny", "check", "bans", "licenses", "sources"]),
        );
    }
    let text = fs::read_to_string(shell.root().join(".deny.toml")).context(".deny.toml")?;
    let rules: Rules = toml::from_str(&text).context(".deny.toml")?;
    let packages = packages(shell, &rules.graph.targets)?;
    let complaints = judge(&rules, &packages);
    for complaint in &complaints {
        say::complaint(complaint);
    }
    if !complaints.is_empty() {
        bail!("{} dependencies against .deny.toml", complaints.len());
    }
    say::line(format_args!(
        "  {} packages: licences, sources, bans and duplicates as .deny.toml says",
        packages.len()
    ));
    Ok(())
}

fn packages(shell: &Shell, targets: &[String]) -> Result<Vec<Package>> {
    let mut cargo = shell.cargo();
    cargo.args(["metadata", "--format-version", "1", "--locked"]);
    for target in targets {
        cargo.args(["--filter-platform", target]);
    }
    let metadata = shell
        .output(&mut cargo)
        .context("`cargo metadata --locked` failed; is Cargo.lock up to date?")?;
    let metadata: Metadata = serde_json::from_str(&metadata).context("cargo metadata")?;
    Ok(metadata.packages)
}

fn judge(rules: &Rules, packages: &[Package]) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in packages {
        let Package {
            name,
            version,
            license,
            source,
        } = package;
        versions.entry(name).or_default().push(version);
        if source.as_deref().is_some_and(|source| source != CRATES_IO) {
            complaints.push(format!("{name} {version} is not from crates.io"));
        }
        let license = license.as_deref().unwrap_or_default();
        if !spdx::is_allowed(license, &rules.licenses.allow) {
            complaints.push(format!("{name} {version} has licence {license:?}"));
        }
        if let Some(ban) = rules.bans.deny.iter().find(|ban| ban.name == *name) {
            complaints.push(format!("{name} {version} is banned: {}", ban.reason));
        }
    }
    for (name, mut versions) in versions {
        versions.retain(|version| {
            !rules
                .bans
                .skip
                .iter()
                .any(|skip| skip.covers(name, version))
        });
        if versions.len() > 1 {
            complaints.push(format!(
                "{name} is there {} times: {versions:?}",
                versions.len()
            ));
        }
    }
    complaints
}

impl Entry {
    /// `name` alone, or `name@` and the first numbers of a version.
    fn covers(&self, name: &str, version: &str) -> bool {
        match self.name.split_once('@') {
            None => self.name == name,
            Some((ours, start)) => {
                ours == name
                    && version
                        .strip_prefix(start)
                        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: &str = r#"
        graph.targets = []
        licenses.allow = ["MIT"]
        bans.deny = [{ crate = "openssl", reason = "rustls" }]
        bans.skip = [{ crate = "syn@2", reason = "old" }]
    "#;

    fn package(name: &str, version: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            license: Some("MIT OR GPL-2.0-only".to_owned()),
            source: Some(CRATES_IO.to_owned()),
        }
    }

    #[track_caller]
    fn complaints(packages: &[Package]) -> Vec<String> {
        judge(&toml::from_str(RULES).unwrap(), packages)
    }

    #[test]
    fn what_is_allowed_passes() {
        assert!(complaints(&[package("a", "1.0.0")]).is_empty());
        assert!(complaints(&[package("syn", "2.1.0"), package("syn", "3.0.0")]).is_empty());
    }

    #[test]
    fn every_offence_is_told() {
        assert_eq!(complaints(&[package("openssl", "1.0.0")]).len(), 1);
        assert_eq!(
            complaints(&[package("a", "1.0.0"), package("a", "2.0.0")]).len(),
            1
        );
        assert_eq!(
            complaints(&[package("syn", "20.0.0"), package("syn", "3.0.0")]).len(),
            1
        );
        let git = Package {
            source: Some("git+https://example.com/a".to_owned()),
            ..package("a", "1.0.0")
        };
        assert_eq!(complaints(&[git]).len(), 1);
        let unlicensed = Package {
            license: None,
            ..package("a", "1.0.0")
        };
        assert_eq!(complaints(&[unlicensed]).len(), 1);
    }
}
