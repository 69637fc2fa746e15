//! Secrets as they were last read, and when to read them again.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::Instant;

use super::slot::{Kept, Slot};
use super::{Error, Limits};
use crate::config::secret::{self, SecretError};
use crate::model::secret::{Origin, Secret, Source};

/// The secrets of every reference that was asked for.
pub(super) struct Secrets {
    kept: RwLock<HashMap<Arc<str>, Arc<Slot<Read>>>>,
    limits: Limits,
}

/// A secret, and the file that it was read from.
struct Read {
    secret: Arc<Secret>,
    stamp: Option<Stamp>,
}

/// What changes with a file: which it is, how long, and both of its times.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp([i64; 4], [u64; 3]);

impl Secrets {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            kept: RwLock::default(),
            limits,
        }
    }

    /// The secret as it is now. As long as it stays the same, so does the `Arc`.
    pub(super) async fn get(&self, source: &Source) -> Result<Arc<Secret>, Error> {
        if let Origin::Fixed(secret) = &source.origin {
            return Ok(Arc::new(secret.clone()));
        }
        let kept = self
            .slot(&source.name)
            .get(|_any| true, |before| self.read(source, before))
            .await?;
        Ok(Arc::clone(&kept.value.secret))
    }

    fn slot(&self, name: &Arc<str>) -> Arc<Slot<Read>> {
        let kept = self.kept.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = kept.get(name) {
            return Arc::clone(slot);
        }
        drop(kept);
        let mut kept = self.kept.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(Arc::clone(name)).or_default())
    }

    async fn read(
        &self,
        source: &Source,
        before: Option<Arc<Kept<Read>>>,
    ) -> Result<Kept<Read>, Error> {
        let (origin, within) = (source.origin.clone(), self.limits.command);
        let before = before.map(|kept| (Arc::clone(&kept.value.secret), kept.value.stamp));
        let name = Arc::clone(&source.name);
        let read = spawn_blocking(move || {
            read(&origin, within, before).map_err(|source| Error::Secret { name, source })
        });
        let good_for = match source.origin {
            Origin::Command(_) => self.limits.command_ttl,
            Origin::File(_) | Origin::Fixed(_) => LOOK_AGAIN,
        };
        Ok(Kept {
            value: read.await??,
            until: Instant::now() + good_for,
        })
    }
}

fn read(
    origin: &Origin,
    within: Duration,
    before: Option<(Arc<Secret>, Option<Stamp>)>,
) -> Result<Read, SecretError> {
    // Taken first: a file that changes while it is read is read again.
    let stamp = match origin {
        Origin::File(path) => Some(stamp(path).map_err(|source| SecretError::File {
            path: path.as_ref().into(),
            source,
        })?),
        Origin::Fixed(_) | Origin::Command(_) => None,
    };
    if let (Some(stamp), Some((secret, Some(before)))) = (stamp, &before)
        && stamp == *before
    {
        let secret = Arc::clone(secret);
        return Ok(Read {
            secret,
            stamp: Some(stamp),
        });
    }
    let secret = secret::read(origin, within)?;
    let secret = match before {
        Some((before, _)) if *before == secret => before,
        Some(_) | None => Arc::new(secret),
    };
    Ok(Read { secret, stamp })
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let file = std::fs::metadata(path)?;
    Ok(Stamp(
        [
            file.mtime(),
            file.mtime_nsec(),
            file.ctime(),
            file.ctime_nsec(),
        ],
        [file.dev(), file.ino(), file.size()],
    ))
}

/// How often a file is looked at, at most.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        command: Duration::from_secs(10),
        command_ttl: Duration::from_secs(300),
        body: Duration::from_secs(10),
    };

    fn source(name: &str, origin: Origin) -> Source {
        Source {
            name: name.into(),
            origin,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_when_it_has_changed_and_a_missing_one_is_no_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "one\n").unwrap();
        let secrets = Secrets::new(LIMITS);
        let source = source("file:x", Origin::File(path.as_path().into()));
        let first = secrets.get(&source).await.unwrap();
        assert_eq!(first.expose(), b"one");
        tokio::time::advance(LOOK_AGAIN).await;
        let same = secrets.get(&source).await.unwrap();
        assert!(Arc::ptr_eq(&first, &same), "it has not changed");
        std::fs::write(&path, "other").unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        assert_eq!(secrets.get(&source).await.unwrap().expose(), b"other");
        std::fs::remove_file(&path).unwrap();
        tokio::time::advance(LOOK_AGAIN).await;
        let error = secrets.get(&source).await.unwrap_err();
        assert!(matches!(error, Error::Secret { .. }), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_is_run_once_for_all_who_wait_and_again_after_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let runs = directory.path().join("runs");
        let script = format!("echo x >> {0}; wc -l < {0}", runs.display());
        let words = ["/bin/sh", "-c", &script].map(str::to_owned);
        let source = source("cmd:x", Origin::Command(words.as_slice().into()));
        let secrets = Secrets::new(LIMITS);
        let (one, two) = tokio::join!(secrets.get(&source), secrets.get(&source));
        assert!(Arc::ptr_eq(&one.unwrap(), &two.unwrap()));
        assert_eq!(std::fs::read_to_string(&runs).unwrap(), "x\n");
        tokio::time::advance(LIMITS.command_ttl).await;
        assert_eq!(secrets.get(&source).await.unwrap().expose(), b"2");
    }

    #[tokio::test(start_paused = true)]
    async fn what_failed_is_not_tried_again_at_once() {
        let secrets = Secrets::new(LIMITS);
        let source = source("file:x", Origin::File(Path::new("/nowhere/at/all").into()));
        assert!(matches!(
            secrets.get(&source).await,
            Err(Error::Secret { .. })
        ));
        assert!(matches!(secrets.get(&source).await, Err(Error::Lately)));
        tokio::time::advance(super::super::slot::PAUSE).await;
        assert!(matches!(
            secrets.get(&source).await,
            Err(Error::Secret { .. })
        ));
    }
}
