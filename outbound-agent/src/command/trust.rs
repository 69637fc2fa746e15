//! `outbound trust`: how a workload comes to trust the agent's authority.
//!
//! Programs that ask a variable for their *only* roots get the bundle: the host's roots and ours.
//! Those that ask for *more* roots get ours alone.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::output::say;
use crate::cli::{Trust, TrustKind};
use crate::observe::admin::view::TrustView;

/// Prints what was asked for, or installs it.
pub fn run(trust: &Trust, view: &TrustView) -> anyhow::Result<()> {
    match (trust.kind, &trust.directory) {
        (TrustKind::Env, None) => {
            for (name, value) in variables(view) {
                say(format_args!("export {}={}", name.display(), quoted(&value)))?;
            }
        }
        (TrustKind::Bundle, None) => print(&view.bundle)?,
        (TrustKind::Ca, None) => print(&view.authority)?,
        (TrustKind::Install, Some(directory)) => {
            let seen_as = trust.seen_as.as_deref().unwrap_or(directory);
            install(view, directory, seen_as)?;
        }
        // Refused by the command line.
        (TrustKind::Install, None)
        | (TrustKind::Env | TrustKind::Bundle | TrustKind::Ca, Some(_)) => {
            anyhow::bail!("a directory is for `install`, and `install` needs one");
        }
    }
    Ok(())
}

fn print(path: &Path) -> anyhow::Result<()> {
    let pem =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    say(pem.trim_end())?;
    Ok(())
}

/// Copies everything into `directory`, with a file of variables for whoever sees it as `seen_as`.
fn install(view: &TrustView, directory: &Path, seen_as: &Path) -> anyhow::Result<()> {
    let copy = |from: &Path, to: &Path| {
        let copied = fs::copy(from, to).map(drop);
        copied.with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
    };
    let make = |path: &Path| {
        fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))
    };
    let installed = TrustView {
        authority: "ca.pem".into(),
        bundle: "ca-bundle.pem".into(),
        java: "cacerts".into(),
        directory: "certs".into(),
    };
    let within = |base: &Path| TrustView {
        authority: base.join(&installed.authority),
        bundle: base.join(&installed.bundle),
        java: base.join(&installed.java),
        directory: base.join(&installed.directory),
    };
    let here = within(directory);
    make(&here.directory)?;
    copy(&view.authority, &here.authority)?;
    copy(&view.bundle, &here.bundle)?;
    copy(&view.java, &here.java)?;
    for (name, file) in hashed(view)? {
        copy(&file, &here.directory.join(name))?;
    }
    let lines = variables(&within(seen_as))
        .into_iter()
        .map(|(name, value)| format!("{}={}\n", name.display(), value.display()));
    let environment = directory.join("environment");
    fs::write(&environment, lines.collect::<String>())
        .with_context(|| format!("cannot write {}", environment.display()))
}

/// The authority's certificates under the names that OpenSSL looks for.
pub(super) fn hashed(view: &TrustView) -> anyhow::Result<Vec<(OsString, PathBuf)>> {
    let listing = fs::read_dir(&view.directory)
        .with_context(|| format!("cannot read {}", view.directory.display()))?;
    let files = listing
        .flatten()
        .map(|entry| (entry.file_name(), entry.path()));
    Ok(files.collect())
}

/// The environment in which programs trust the agent.
pub fn variables(view: &TrustView) -> Vec<(OsString, OsString)> {
    let value = |path: &Path| path.as_os_str().to_owned();
    let replacing = REPLACING
        .iter()
        .map(|name| (OsString::from(name), value(&view.bundle)));
    let adding = ADDING
        .iter()
        .map(|name| (OsString::from(name), value(&view.authority)));
    let others = [
        (JAVA.into(), java_options(&view.java)),
        // uv brings roots of its own, unless it is told to use the host's.
        ("UV_NATIVE_TLS".into(), "1".into()),
    ];
    replacing.chain(adding).chain(others).collect()
}

/// `ours` with the variables in which programs trust the agent. Other options of Java stay.
pub(super) fn within(
    ours: impl Iterator<Item = (OsString, OsString)>,
    view: &TrustView,
) -> Vec<(OsString, OsString)> {
    let mut trusting = variables(view);
    let mut kept = Vec::new();
    for (name, value) in ours {
        match trusting.iter_mut().find(|(set, _)| *set == name) {
            None => kept.push((name, value)),
            // The last of an option holds.
            Some((_, set)) if name == JAVA => {
                *set = [value.as_os_str(), set.as_os_str()].join(OsStr::new(" "));
            }
            Some(_) => {}
        }
    }
    kept.extend(trusting);
    kept
}

fn java_options(store: &Path) -> OsString {
    let mut options = OsString::from("-Djavax.net.ssl.trustStore=");
    options.push(store);
    options.push(" -Djavax.net.ssl.trustStorePassword=changeit");
    options
}

/// For a shell.
fn quoted(value: &OsString) -> String {
    format!("'{}'", value.to_string_lossy().replace('\'', r"'\''"))
}

/// Read by every virtual machine of Java as it starts.
const JAVA: &str = "JAVA_TOOL_OPTIONS";

/// Each names the only roots of its readers: OpenSSL and what is built on it, curl, Python's
/// requests, pip, git, cargo, the AWS tools, gRPC, Nix.
const REPLACING: [&str; 9] = [
    "SSL_CERT_FILE",
    "CURL_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "PIP_CERT",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "AWS_CA_BUNDLE",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "NIX_SSL_CERT_FILE",
];

/// Each adds to the roots of its readers: Node, Deno.
const ADDING: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

#[cfg(test)]
mod tests {
    use super::*;

    fn view() -> TrustView {
        TrustView {
            authority: "/s/ca.pem".into(),
            bundle: "/s/ca-bundle.pem".into(),
            java: "/s/cacerts".into(),
            directory: "/s/certs".into(),
        }
    }

    fn of(variables: &[(OsString, OsString)], name: &str) -> OsString {
        let mut values = variables.iter().filter(|(known, _)| known == name);
        let value = values.next().unwrap().1.clone();
        assert!(values.next().is_none(), "{name} twice");
        value
    }

    #[test]
    fn who_replaces_gets_the_bundle_and_who_adds_gets_ours() {
        let variables = variables(&view());
        assert_eq!(of(&variables, "SSL_CERT_FILE"), "/s/ca-bundle.pem");
        assert_eq!(of(&variables, "NODE_EXTRA_CA_CERTS"), "/s/ca.pem");
    }

    #[test]
    fn ours_replace_the_callers_and_options_of_java_stay() {
        let callers = [
            ("SSL_CERT_FILE", "/x"),
            ("JAVA_TOOL_OPTIONS", "-Xmx1g"),
            ("PATH", "/bin"),
        ];
        let callers = callers.map(|(name, value)| (name.into(), value.into()));
        let variables = within(callers.into_iter(), &view());
        assert_eq!(of(&variables, "SSL_CERT_FILE"), "/s/ca-bundle.pem");
        assert_eq!(of(&variables, "PATH"), "/bin");
        assert_eq!(
            of(&variables, "JAVA_TOOL_OPTIONS"),
            "-Xmx1g -Djavax.net.ssl.trustStore=/s/cacerts \
             -Djavax.net.ssl.trustStorePassword=changeit"
        );
    }

    #[test]
    fn values_survive_a_shell() {
        assert_eq!(quoted(&"/a b'c".into()), r"'/a b'\''c'");
    }

    #[test]
    fn what_is_installed_names_its_files_as_they_will_be_seen() {
        let directory = tempfile::tempdir().unwrap();
        let (from, to) = (directory.path().join("from"), directory.path().join("to"));
        fs::create_dir_all(from.join("certs")).unwrap();
        for file in ["ca.pem", "ca-bundle.pem", "cacerts", "certs/0a0b0c0d.0"] {
            fs::write(from.join(file), file).unwrap();
        }
        let view = TrustView {
            authority: from.join("ca.pem"),
            bundle: from.join("ca-bundle.pem"),
            java: from.join("cacerts"),
            directory: from.join("certs"),
        };
        // Twice: what is there is replaced.
        for _ in 0..2 {
            install(&view, &to, Path::new("/etc/outbound-trust")).unwrap();
        }
        for file in ["ca.pem", "ca-bundle.pem", "cacerts", "certs/0a0b0c0d.0"] {
            assert_eq!(fs::read_to_string(to.join(file)).unwrap(), file);
        }
        let environment = fs::read_to_string(to.join("environment")).unwrap();
        assert!(environment.contains("\nCURL_CA_BUNDLE=/etc/outbound-trust/ca-bundle.pem\n"));
        assert!(environment.contains("=-Djavax.net.ssl.trustStore=/etc/outbound-trust/cacerts "));
    }
}
