//! Files, drop-ins and secrets on disk.

use super::*;
use crate::config::secret::SecretReference;

/// A directory with these files in it.
fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("conf.d")).unwrap();
    for (name, text) in files {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

/// Loads `o.toml`; the directory's name is taken out of the error.
fn load_from(directory: &tempfile::TempDir) -> Result<Config, String> {
    load(&directory.path().join("o.toml")).map_err(|error| {
        let prefix = format!("{}/", directory.path().display());
        error.to_string().replace(&prefix, "")
    })
}

const TENANT: &str = "[[tenants]]\nname = \"NAME\"\npolicy = \"p\"\ncgroup = \"/NAME\"\n";

#[test]
fn drop_ins_add_tables_tenants_and_keys() {
    let directory = directory(&[
        (
            "o.toml",
            &format!(
                "version = 1\n[policies.p]\nallow = [\"a.test\"]\n{}",
                TENANT.replace("NAME", "one")
            ),
        ),
        (
            "conf.d/20.toml",
            &format!("version = 1\n{}", TENANT.replace("NAME", "three")),
        ),
        (
            "conf.d/10.toml",
            &format!(
                "[policies.p]\ndeny = [\"b.test\"]\n{}",
                TENANT.replace("NAME", "two")
            ),
        ),
        ("conf.d/.hidden.toml", "x = 1"),
        ("conf.d/10.toml.bak", "x = 1"),
    ]);
    let config = load_from(&directory).unwrap();
    let names: Vec<_> = config
        .tenants
        .iter()
        .map(|spec| spec.tenant.id.to_string())
        .collect();
    assert_eq!(names, ["one", "two", "three"]);
    assert!(!config.policies[0].allow.is_empty() && !config.policies[0].deny.is_empty());
}

#[test]
fn a_key_in_two_files_is_a_problem_that_names_both() {
    let directory = directory(&[
        ("o.toml", "version = 1\n[agent]\nport = 1"),
        (
            "conf.d/10.toml",
            "version = 3\n[agent]\nport = 2\nwatch = \"x\"",
        ),
    ]);
    assert_eq!(
        load_from(&directory).unwrap_err(),
        "conf.d/10.toml:1:11: version: 3 is not accepted; this agent reads version 1\n\
         conf.d/10.toml:3:1: agent.port: is also written at o.toml:3:1; write it once\n\
         conf.d/10.toml:4:9: agent.watch: \"x\" is not accepted; write an array; each of it a cgroup \
         below the cgroup root, without `.` and `..`, as in \"/tenants.slice/acme\""
    );
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(Path::new("/nonexistent/o.toml")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read /nonexistent/o.toml");
}

#[test]
fn a_secret_file_ends_before_one_newline() {
    let directory = directory(&[("a", "t0ken\n"), ("b", "t0ken\n\n"), ("c", "\n")]);
    let read = |name: &str| {
        let reference = SecretReference::File(directory.path().join(name));
        let secret = reference.resolve(|_| None);
        secret.map(|secret| secret.expose().to_vec()).ok()
    };
    assert_eq!(read("a").unwrap(), b"t0ken");
    assert_eq!(read("b").unwrap(), b"t0ken\n");
    assert_eq!(read("c"), None);
}

#[test]
fn a_credential_of_the_unit_is_read_from_its_directory() {
    let directory = directory(&[("api", "t0ken")]);
    let at = directory.path().as_os_str().to_owned();
    let environment = |name: &str| (name == "CREDENTIALS_DIRECTORY").then(|| at.clone());
    let secret = SecretReference::Systemd("api".to_owned())
        .resolve(environment)
        .unwrap();
    assert_eq!(secret.expose(), b"t0ken");
}

#[test]
fn the_version_is_required_and_known() {
    let read = |text| {
        parse(text, Path::new("o.toml"))
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        read(""),
        "o.toml:1:1: the key `version` is missing; write version = 1"
    );
    assert_eq!(
        read("version = 2"),
        "o.toml:1:11: version: 2 is not accepted; this agent reads version 1"
    );
}
