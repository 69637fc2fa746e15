//! What the agent is told by signals.

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::reload::{By, Reloads};
use crate::observe::access_log::AccessLog;

/// What a process is told from outside.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    pub(super) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Returns at SIGTERM or SIGINT; SIGHUP opens the access log anew, as after a rotation, and
    /// reads the configuration again.
    pub(super) async fn wait_for_end(mut self, log: &AccessLog, reloads: &Reloads) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    log.reopen();
                    let reloads = reloads.clone();
                    // What is wrong is told; the end is not waited for.
                    drop(tokio::task::spawn_blocking(move || reloads.reload(By::Signal)));
                }
            }
        }
    }
}
