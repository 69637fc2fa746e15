//! `outbound trust`: how a workload comes to trust the agent's authority.
//!
//! Programs that ask a variable for their *only* roots get the bundle: the host's roots and ours.
//! Those that ask for *more* roots get ours alone.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;

use super::output::say;
use crate::cli::{Trust, TrustKind};
use crate::observe::admin::view::TrustView;

/// Prints what was asked for.
pub fn run(trust: &Trust, view: &TrustView) -> anyhow::Result<()> {
    match trust.kind {
        TrustKind::Env => {
            for (name, value) in variables(view) {
                say(format_args!("export {}={}", name.display(), quoted(&value)))?;
            }
        }
        TrustKind::Bundle => print(&view.bundle)?,
        TrustKind::Ca => print(&view.authority)?,
    }
    Ok(())
}

fn print(path: &Path) -> anyhow::Result<()> {
    let pem =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    say(pem.trim_end())?;
    Ok(())
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
    replacing.chain(adding).collect()
}

/// For a shell.
fn quoted(value: &OsString) -> String {
    format!("'{}'", value.to_string_lossy().replace('\'', r"'\''"))
}

/// Each names the only roots of its readers: OpenSSL and what is built on it, curl, Python's
/// requests, pip, git, cargo, the AWS tools, gRPC, Nix, and uv with the host's roots.
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

    #[test]
    fn who_replaces_gets_the_bundle_and_who_adds_gets_ours() {
        let view = TrustView {
            authority: "/s/ca.pem".into(),
            bundle: "/s/ca-bundle.pem".into(),
        };
        let variables = variables(&view);
        let of = |name: &str| {
            variables
                .iter()
                .find(|(known, _)| known == name)
                .unwrap()
                .1
                .clone()
        };
        assert_eq!(of("SSL_CERT_FILE"), "/s/ca-bundle.pem");
        assert_eq!(of("NODE_EXTRA_CA_CERTS"), "/s/ca.pem");
    }

    #[test]
    fn values_survive_a_shell() {
        assert_eq!(quoted(&"/a b'c".into()), r"'/a b'\''c'");
    }
}
