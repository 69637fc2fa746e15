//! Hears when files of the configuration change, and has them read once nobody writes to them.
//!
//! The kernel's word only makes it prompt: what counts is what the files are when they are looked
//! at, so that a link that was turned to another file, or a file system that tells nothing, is
//! seen as well, a little later.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::Duration;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep};
use tracing::{error, warn};

use super::reload::{By, Reloads};
use crate::drain::Tasks;
use crate::sys;

/// Reloads whenever a file has changed, until the drain.
pub(super) async fn watch(reloads: Reloads, tasks: Tasks) {
    let mut heard = Heard::new()
        .inspect_err(|error| warn!(%error, "cannot hear of changed files, looking at them instead"))
        .ok();
    loop {
        if let Some(heard) = &mut heard {
            heard.follow(&reloads);
        }
        tokio::select! {
            biased; // Ends first.
            () = tasks.draining() => return,
            () = word(heard.as_mut()) => {}
            () = sleep(LOOK) => {}
        }
        if !has_changed(&reloads).await {
            continue;
        }
        settle(&reloads).await;
        // Somebody else may have had them read meanwhile.
        if !has_changed(&reloads).await {
            continue;
        }
        let reloading = reloads.clone();
        // What is wrong has been told.
        drop(blocking(move || reloading.reload(By::Files)).await);
    }
}

async fn has_changed(reloads: &Reloads) -> bool {
    let reloads = reloads.clone();
    let changed = blocking(move || reloads.look() != reloads.seen()).await;
    changed.unwrap_or_default()
}

/// Waits until the files stay as they are, or for long enough.
async fn settle(reloads: &Reloads) {
    let began = Instant::now();
    let mut before = None;
    loop {
        let looking = reloads.clone();
        let now = blocking(move || looking.look()).await;
        if now == before || began.elapsed() > LONGEST {
            return;
        }
        before = now;
        sleep(STILL).await;
    }
}

async fn word(heard: Option<&mut Heard>) {
    match heard {
        Some(heard) => {
            if let Err(error) = heard.next().await {
                error!(%error, "cannot hear of changed files");
                sleep(LOOK).await;
            }
        }
        None => std::future::pending().await,
    }
}

/// The kernel's word.
struct Heard {
    inotify: Inotify,
    readable: AsyncFd<OwnedFd>,
}

impl Heard {
    fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let readable = sys::readiness(inotify.as_fd().try_clone_to_owned()?)?;
        Ok(Self { inotify, readable })
    }

    /// The same directory is heard of once, whoever asks how often; one that is not there is
    /// looked at from time to time.
    fn follow(&mut self, reloads: &Reloads) {
        let flags = AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_ATTRIB
            | AddWatchFlags::IN_ONLYDIR;
        for directory in reloads.directories() {
            let _absent = self.inotify.add_watch(&directory, flags);
        }
    }

    /// Returns once something has happened.
    async fn next(&mut self) -> io::Result<()> {
        let mut ready = self.readable.readable().await?;
        match self.inotify.read_events() {
            Ok(_events) => Ok(()),
            Err(nix::errno::Errno::EAGAIN) => {
                ready.clear_ready();
                Ok(())
            }
            Err(errno) => Err(errno.into()),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let worked = tokio::task::spawn_blocking(work).await;
    worked
        .inspect_err(|error| error!(%error, "a reload panicked"))
        .ok()
}

/// How often to look without a word.
const LOOK: Duration = Duration::from_secs(2);
/// How long files have to stay as they are before they are read.
const STILL: Duration = Duration::from_millis(100);
/// How long a file that somebody writes to all the time is waited for.
const LONGEST: Duration = Duration::from_secs(2);
