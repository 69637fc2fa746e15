//! A mount namespace in which programs trust the agent, whatever they read, and in which nobody
//! else sends for them.
//!
//! Nothing of it is seen outside, and nothing on disk is changed: directories are covered by
//! copies in memory, files by others, and all of it goes with the last process inside.

mod cover;

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::thread;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use self::cover::{Covered, cover_file};
use super::super::{doors, trust};
use crate::observe::admin::view::TrustView;

/// Why there is no mount namespace.
#[derive(Debug, thiserror::Error)]
pub(in crate::command) enum Error {
    /// A namespace at all.
    #[error("cannot {action}")]
    Namespace {
        /// What was tried.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// Something in it.
    #[error("cannot {action} {}", path.display())]
    Path {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// What is to be trusted.
    #[error("cannot read what is to be trusted")]
    Trust {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    /// Whether this process may make none.
    pub(super) fn is_forbidden(&self) -> bool {
        match self {
            Self::Namespace { source, .. } | Self::Path { source, .. } => {
                source.kind() == io::ErrorKind::PermissionDenied
            }
            Self::Trust { .. } => false,
        }
    }
}

/// Makes one, on a thread that ends with it. Without `trust` only others' services are hidden.
pub(in crate::command) fn private(trust: Option<&TrustView>) -> Result<OwnedFd, Error> {
    thread::scope(|scope| {
        let made = thread::Builder::new()
            .name("new-mounts".to_owned())
            .spawn_scoped(scope, || make(trust))
            .map_err(namespace("start a thread"))?;
        made.join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn make(trust: Option<&TrustView>) -> Result<OwnedFd, Error> {
    unshare(CloneFlags::CLONE_NEWNS)
        .map_err(io::Error::from)
        .map_err(namespace("leave the mount namespace of the host"))?;
    // What the host mounts later is seen here, what is mounted here is not seen there.
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_SLAVE, none)
        .map_err(io::Error::from)
        .map_err(namespace("keep mounts from the host"))?;
    if let Some(trust) = trust {
        spread(trust)?;
    }
    hide_services()?;
    one_server()?;
    let made = File::open("/proc/thread-self/ns/mnt").map_err(namespace("hold it open"))?;
    Ok(made.into())
}

/// Puts the authority wherever programs look for those of the host.
fn spread(trust: &TrustView) -> Result<(), Error> {
    let hashed = trust::hashed(trust).map_err(|error| Error::Trust {
        source: error.into(),
    })?;
    for directory in existing(&CERTIFICATE_DIRECTORIES) {
        let covered = Covered::copy(&directory)?;
        for (name, certificate) in &hashed {
            covered.add(&free_name(&directory, Path::new(name)), certificate)?;
        }
        covered.seal()?;
    }
    for bundle in existing(&BUNDLES) {
        cover_file(&bundle, &trust.bundle)?;
    }
    for store in existing(&JAVA_STORES) {
        cover_file(&store, &trust.java)?;
    }
    Ok(())
}

fn hide_services() -> Result<(), Error> {
    // Copies have no sockets.
    for directory in existing(&doors::DIRECTORIES) {
        Covered::copy(&directory)?.seal()?;
    }
    let doors: Vec<&str> = doors::DOORS.iter().map(|door| door.path).collect();
    for door in existing(&doors) {
        cover_file(&door, Path::new("/dev/null"))?;
    }
    Ok(())
}

/// Whatever server is asked, the agent answers. Of several the C library asks each in turn what
/// the first has refused, and a server may be one that only the host can reach.
fn one_server() -> Result<(), Error> {
    let [file] = &existing(&["/etc/resolv.conf"])[..] else {
        return Ok(());
    };
    let failed = |action| {
        let path = file.clone();
        move |source| Error::Path {
            action,
            path,
            source,
        }
    };
    let host = fs::read_to_string(file).map_err(failed("read"))?;
    // A place in memory for the new one, for as long as it takes to put it over the old.
    let scratch = Covered::empty(Path::new("/sys"))?;
    let new = scratch.path().join("resolv.conf");
    fs::write(&new, with_one_server(&host)).map_err(failed("replace"))?;
    cover_file(file, &new)?;
    scratch.uncover()
}

fn with_one_server(host: &str) -> String {
    let others = host.lines().filter(|line| {
        let word = line.split_whitespace().next();
        word.is_some_and(|word| ["search", "domain", "options", "sortlist"].contains(&word))
    });
    let mut lines = vec!["nameserver 127.0.0.1"];
    lines.extend(others);
    lines.join("\n") + "\n"
}

/// OpenSSL looks for `HASH.0`, then `HASH.1`: the first that is not taken.
fn free_name(directory: &Path, name: &Path) -> PathBuf {
    let mut free = name.to_owned();
    let mut number = 0;
    while fs::symlink_metadata(directory.join(&free)).is_ok() {
        number += 1;
        free.set_extension(number.to_string());
    }
    free
}

/// Those that are there, each once, by their true names.
fn existing(paths: &[&str]) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    for path in paths {
        if let Ok(path) = fs::canonicalize(path)
            && !found.contains(&path)
        {
            found.push(path);
        }
    }
    found
}

fn namespace(action: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Namespace { action, source }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> Error {
    let path = path.to_owned();
    move |errno| Error::Path {
        action,
        path,
        source: errno.into(),
    }
}

/// Where OpenSSL, and p11-kit, look for certificates one by one: Debian, SUSE and Alpine; Fedora
/// and its like.
const CERTIFICATE_DIRECTORIES: [&str; 6] = [
    "/etc/ssl/certs",
    "/etc/pki/tls/certs",
    "/etc/pki/ca-trust/extracted/pem/directory-hash",
    "/etc/pki/ca-trust/source/anchors",
    "/var/lib/ca-certificates/openssl",
    "/var/lib/ca-certificates/pem",
];

/// All of them in one file.
const BUNDLES: [&str; 8] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/var/lib/ca-certificates/ca-bundle.pem",
];

/// And Java's.
const JAVA_STORES: [&str; 4] = [
    "/etc/ssl/certs/java/cacerts",
    "/etc/pki/java/cacerts",
    "/etc/pki/ca-trust/extracted/java/cacerts",
    "/var/lib/ca-certificates/java-cacerts",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_configuration_keeps_all_but_its_servers() {
        let host = "# by hand\nnameserver 192.0.2.1\nnameserver 192.0.2.2\nsearch corp.test\noptions ndots:2\n";
        assert_eq!(
            with_one_server(host),
            "nameserver 127.0.0.1\nsearch corp.test\noptions ndots:2\n"
        );
    }

    #[test]
    fn a_hash_that_is_taken_gets_the_next_number() {
        let directory = tempfile::tempdir().unwrap();
        let free = || free_name(directory.path(), Path::new("0a0b0c0d.0"));
        assert_eq!(free(), Path::new("0a0b0c0d.0"));
        fs::write(directory.path().join("0a0b0c0d.0"), "").unwrap();
        // Also one that leads nowhere.
        std::os::unix::fs::symlink("/nowhere", directory.path().join("0a0b0c0d.1")).unwrap();
        assert_eq!(free(), Path::new("0a0b0c0d.2"));
    }
}
