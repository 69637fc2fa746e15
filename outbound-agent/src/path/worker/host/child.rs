//! The worker's process: this very program, started anew, on the other end of a socket.
//!
//! It has none of the agent's memory, no descriptor but the socket and the agent's diagnostics, no
//! capability, and few system calls: none that opens a file or a socket.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::inside;
use super::message::{ToAgent, ToWorker, decode, encode};
use crate::drain::Tasks;
use crate::sys::confine;

/// What the program is called with to be a worker.
pub const COMMAND: &str = "worker-process";

/// The program, where it is not this very one.
static PROGRAM: OnceLock<PathBuf> = OnceLock::new();

/// Has `program` be the worker's process: for an agent that is part of another program. The first
/// call counts.
pub fn set_program(program: PathBuf) {
    let _first = PROGRAM.set(program);
}

/// The process, as the agent sees it.
pub(super) struct Child(Mutex<std::process::Child>);

impl Child {
    /// Starts one, which says of which service it is. Messages go in and out until it is dead.
    ///
    /// `take` is given what it says; `end` is dropped when it is dead.
    pub(super) fn start(
        service: &str,
        to_worker: UnboundedReceiver<ToWorker>,
        take: impl FnMut(ToAgent) + Send + 'static,
        end: oneshot::Sender<()>,
        tasks: &Tasks,
    ) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let program = PROGRAM.get().map(PathBuf::as_path);
        let child = Command::new(program.unwrap_or_else(|| Path::new("/proc/self/exe")))
            .args([COMMAND, service])
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .spawn()?;
        let (reader, writer) = UnixStream::from_std(ours)?.into_split();
        // What goes wrong there is the end of the messages.
        tasks.spawn("worker out", async move {
            drop(write(writer, to_worker).await);
        });
        tasks.spawn("worker in", async move {
            let _end = end;
            drop(read(reader, take).await);
        });
        Ok(Self(Mutex::new(child)))
    }

    /// Ends it, whatever it does.
    pub(super) fn kill(self) {
        let mut child = self.0.into_inner().unwrap_or_else(PoisonError::into_inner);
        // It may be dead already; either way it is to be reaped.
        let _killed = child.kill();
        let _status = child.wait();
    }

    /// Time that it has spent on a processor.
    pub(super) fn cpu(&self) -> Option<Duration> {
        let id = self.0.lock().unwrap_or_else(PoisonError::into_inner).id();
        let clock = clock_getcpuclockid(Pid::from_raw(id.cast_signed())).ok()?;
        Some(Duration::from(clock.now().ok()?))
    }
}

/// Writes messages as they come, as many at once as there are.
async fn write<T: Serialize>(
    mut socket: OwnedWriteHalf,
    mut messages: UnboundedReceiver<T>,
) -> io::Result<()> {
    let mut frames = Vec::new();
    while let Some(message) = messages.recv().await {
        encode(&message, &mut frames)?;
        // Others that are ready may have something to say too: one write wakes the worker once.
        tokio::task::yield_now().await;
        while frames.len() < ENOUGH_BYTES
            && let Ok(message) = messages.try_recv()
        {
            encode(&message, &mut frames)?;
        }
        socket.write_all(&frames).await?;
        frames.clear();
    }
    Ok(())
}

/// Reads messages until the other side is gone.
async fn read<T: DeserializeOwned>(
    mut socket: OwnedReadHalf,
    mut take: impl FnMut(T),
) -> io::Result<()> {
    let mut buffer = BytesMut::with_capacity(ENOUGH_BYTES);
    while socket.read_buf(&mut buffer).await? != 0 {
        while let Some(message) = decode(&mut buffer)? {
            take(message);
        }
    }
    Ok(())
}

/// What is written at once.
const ENOUGH_BYTES: usize = 64 << 10;

/// Is the worker's process: takes the socket at descriptor 0, gives up every other right, and
/// answers until the agent is gone.
pub fn main() -> io::Result<()> {
    let socket = confine::take_stdin()?;
    confine::give_up_rights()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = StdUnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let (reader, writer) = UnixStream::from_std(socket)?.into_split();
        let outbox = Rc::new(Outbox::default());
        let said = Rc::clone(&outbox);
        confine::allow_few_system_calls()?;
        let answering = inside::run(
            move |message| said.push(&message),
            async |take| read(reader, take).await,
        );
        tokio::select! {
            biased; // All that is answered at once is written at once.
            // Reading ends with the agent, and with that everything.
            read = answering => read,
            written = outbox.write_to(writer) => written,
        }
    })
}

/// What the worker has said and nobody has written yet.
#[derive(Default)]
struct Outbox {
    frames: RefCell<Vec<u8>>,
    broken: RefCell<Option<io::Error>>,
}

impl Outbox {
    fn push(&self, message: &ToAgent) {
        if let Err(error) = encode(message, &mut self.frames.borrow_mut()) {
            *self.broken.borrow_mut() = Some(error);
        }
    }

    /// What could not be said ends the worker, and does not wait for what can.
    fn has_something(&self) -> bool {
        !self.frames.borrow().is_empty() || self.broken.borrow().is_some()
    }

    /// To be polled whenever something may have been said, and after that.
    async fn write_to(&self, mut socket: OwnedWriteHalf) -> io::Result<()> {
        let mut frames = Vec::new();
        loop {
            std::future::poll_fn(|_cx| match self.has_something() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            if let Some(error) = self.broken.borrow_mut().take() {
                return Err(error);
            }
            std::mem::swap(&mut frames, &mut self.frames.borrow_mut());
            socket.write_all(&frames).await?;
            frames.clear();
        }
    }
}
