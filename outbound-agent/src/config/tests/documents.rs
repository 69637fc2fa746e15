//! What the documents say is what the declarations say.

use std::env;

use super::*;
use crate::config::section::{Key, Unwritten};

const EXAMPLE: &str = include_str!("../../../outbound.example.toml");

/// The example with every key that is commented out written.
fn uncommented() -> String {
    let is_key = |line: &str| {
        line.starts_with('[')
            || line
                .split_once(" = ")
                .is_some_and(|(key, _)| !key.contains(' '))
    };
    let line = |line: &'static str| match line.strip_prefix("# ") {
        Some(inner) if is_key(inner) => inner,
        _ => line,
    };
    EXAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_reference_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let page = reference::markdown();
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/configuration.md is old; run this test with UPDATE_DOCS=1"
    );
}

#[test]
fn the_schema_is_the_one_in_the_repository() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/outbound.schema.json");
    let schema = schema::text() + "\n";
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &schema).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == schema,
        "docs/outbound.schema.json is old; run this test with UPDATE_DOCS=1"
    );
}

#[test]
fn the_example_is_a_configuration_of_defaults() {
    let config = parse(EXAMPLE, Path::new("outbound.example.toml")).unwrap();
    let taken = (
        config.agent,
        config.access_log,
        config.resolver,
        config.limits,
    );
    let defaults = (
        Agent::default(),
        AccessLog::default(),
        Resolver::default(),
        Limits::default(),
    );
    assert_eq!(format!("{taken:?}"), format!("{defaults:?}"));
    assert!(config.tenants.is_empty());
}

/// The lines of each section.
fn sections_of(text: &str) -> BTreeMap<&str, Vec<&str>> {
    let mut sections = BTreeMap::new();
    let mut heading = "";
    for line in text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with('[') {
            heading = line;
            sections.insert(heading, Vec::new());
        } else if let Some(lines) = sections.get_mut(heading) {
            lines.push(line);
        }
    }
    sections
}

#[test]
fn the_example_has_every_key_with_its_default() {
    let text = uncommented();
    let written = sections_of(&text);
    for (heading, _, keys) in reference::sections() {
        let heading = match heading {
            "[policies.NAME]" => "[policies.standard]",
            "[services.NAME]" => "[services.egress]",
            "[services.NAME.limits]" => "[services.egress.limits]",
            "[policies.NAME.limits]" => "[policies.standard.limits]",
            "[[policies.NAME.rules]]" => "[[policies.standard.rules]]",
            "[sets.NAME]" => "[sets.partners]",
            other => other,
        };
        let of_type = heading.strip_prefix("[credentials.NAME], ");
        let of_type = of_type.map(|kind| format!("[credentials.{kind}]"));
        let heading = of_type.as_deref().unwrap_or(heading);
        let keys: Vec<_> = keys
            .into_iter()
            .filter(|key| key.accepted != "tables of their own, below")
            // The example of a rule is an allow; these are a deny's.
            .filter(|key| !matches!(key.name, "status" | "message"))
            .collect();
        let lines = &written[heading];
        // A table of its own stands below, key by key.
        let has_table = |key: &Key| {
            written.contains_key(&*format!("{}.{}]", heading.trim_end_matches(']'), key.name))
        };
        let keys: Vec<_> = keys.into_iter().filter(|key| !has_table(key)).collect();
        assert_eq!(lines.len(), keys.len(), "{heading}: {lines:?}");
        for (line, key) in lines.iter().zip(keys) {
            let (name, value) = line.split_once(" = ").unwrap();
            assert_eq!(name, key.name, "{heading}");
            if let Unwritten::Default(default) = key.unwritten {
                let value = value.split("  ").next().unwrap();
                assert_eq!(value, default, "{heading} {name}");
            }
        }
    }
}

#[test]
fn the_example_is_accepted_with_every_key_written() {
    let directory = tempfile::tempdir().unwrap();
    for name in ["api.token", "api.password", "api.key"] {
        fs::write(directory.path().join(name), "0123456789abcdef".repeat(2)).unwrap();
    }
    fs::write(directory.path().join("partners.txt"), "partner.example\n").unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&key);
    let certificate = certificate.unwrap().pem();
    fs::write(directory.path().join("client.pem"), certificate).unwrap();
    fs::write(directory.path().join("client.key"), key.serialize_pem()).unwrap();
    let here = format!("\"file:{}/", directory.path().display());
    let partners = format!("\"{}/partners.txt", directory.path().display());
    let text = uncommented()
        .replace("\"file:/etc/outbound/", &here)
        .replace("\"/etc/outbound/partners.txt", &partners);
    // A service is a module or a server.
    let text = text.replacen("\nurl = ", "\n# url = ", 1);
    let text = text.replacen("\nsigning_key = ", "\n# signing_key = ", 1);
    let config = parse(&text, Path::new("outbound.example.toml"));
    let config = config.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(config.tenants.len(), 1);
    assert_eq!(
        format!("{:?}", config.limits),
        format!("{:?}", Limits::default())
    );
}
