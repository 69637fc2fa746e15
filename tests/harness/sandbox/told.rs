//! What a process says.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use super::eventually;

/// What comes out of a pipe, kept by a thread of its own.
#[derive(Debug)]
pub(crate) struct Told {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Told {
    /// Reads a pipe from now on.
    pub(crate) fn by(pipe: OwnedFd) -> Self {
        let bytes = Arc::<Mutex<Vec<u8>>>::default();
        let kept = Arc::clone(&bytes);
        let reader = thread::spawn(move || {
            let mut pipe = File::from(pipe);
            let mut buffer = vec![0; 64 * 1024];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                kept.lock().unwrap().extend_from_slice(&buffer[..length]);
            }
        });
        Self { bytes, reader }
    }

    /// Whether nobody holds the other end any more.
    pub(crate) fn is_over(&self) -> bool {
        self.reader.is_finished()
    }

    /// What has come.
    pub(crate) fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().unwrap()).into_owned()
    }

    /// Until the last process that holds the other end has gone.
    #[track_caller]
    pub(crate) fn whole(&self) -> String {
        eventually("nobody holds its output open", || {
            self.is_over().then_some(())
        });
        self.so_far()
    }
}
