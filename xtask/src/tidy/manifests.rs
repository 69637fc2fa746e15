//! What every manifest says, and what may stand at the root.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use toml::{Table, Value};

/// What may stand at the root besides hidden files and what builds make.
const ROOT: [&str; 10] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "rust-toolchain.toml",
    "outbound-agent",
    "outbound-common",
    "outbound-ebpf",
    "tests",
    "xtask",
];

pub(super) fn complaints(root: &Path) -> Result<Vec<String>> {
    let mut complaints = Vec::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') && name != "target" && !ROOT.contains(&name.as_str()) {
            complaints.push(format!("{name}: does not belong at the root"));
        }
    }
    let workspace = read(&root.join("Cargo.toml"))?;
    let members = at(&workspace, &["workspace", "members"]).and_then(Value::as_array);
    for member in members.into_iter().flatten().filter_map(Value::as_str) {
        let path = format!("{member}/Cargo.toml");
        complaints.extend(manifest(&path, &read(&root.join(&path))?));
    }
    Ok(complaints)
}

fn manifest(path: &str, manifest: &Table) -> Vec<String> {
    let mut complaints = Vec::new();
    if at(manifest, &["lints", "workspace"]) != Some(&Value::Boolean(true)) {
        complaints.push(format!("{path}: no `[lints] workspace = true`"));
    }
    let inherits = at(manifest, &["package", "publish", "workspace"]);
    let publish = at(manifest, &["package", "publish"]);
    if inherits != Some(&Value::Boolean(true)) && publish != Some(&Value::Boolean(false)) {
        complaints.push(format!("{path}: nothing keeps it from being published"));
    }
    for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
        for (name, dependency) in at(manifest, &[kind])
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
        {
            if dependency.get("workspace") != Some(&Value::Boolean(true)) {
                complaints.push(format!("{path}: {name} is not `workspace = true`"));
            }
            if path.starts_with("xtask/") && name.starts_with("outbound-") {
                complaints.push(format!(
                    "{path}: {name}: the tools must work when our crates do not"
                ));
            }
        }
    }
    complaints
}

fn read(path: &Path) -> Result<Table> {
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.parse().with_context(|| path.display().to_string())
}

fn at<'a>(table: &'a Table, keys: &[&str]) -> Option<&'a Value> {
    let (first, rest) = keys.split_first()?;
    rest.iter()
        .try_fold(table.get(*first)?, |value, key| value.get(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn count(path: &str, text: &str) -> usize {
        manifest(path, &text.parse().unwrap()).len()
    }

    #[test]
    fn a_manifest_inherits_everything() {
        let good = "[package]\npublish.workspace = true\n[lints]\nworkspace = true\n[dependencies]\na = { workspace = true }\n";
        assert_eq!(count("a/Cargo.toml", good), 0);
        assert_eq!(
            count(
                "a/Cargo.toml",
                &good.replace("publish.workspace = true", "")
            ),
            1
        );
        assert_eq!(
            count(
                "a/Cargo.toml",
                &good.replace("publish.workspace = true", "publish = false")
            ),
            0
        );
        assert_eq!(
            count("a/Cargo.toml", &good.replace("[lints]", "[other]")),
            1
        );
        assert_eq!(
            count(
                "a/Cargo.toml",
                &good.replace("{ workspace = true }", "\"1\"")
            ),
            1
        );
    }

    #[test]
    fn the_tools_depend_on_none_of_our_crates() {
        let text = "[package]\npublish = false\n[lints]\nworkspace = true\n[dependencies]\noutbound-common = { workspace = true }\n";
        assert_eq!(count("xtask/Cargo.toml", text), 1);
        assert_eq!(count("tests/Cargo.toml", text), 0);
    }
}
