//! The admin socket's file: made for its group alone, never taken from a living agent.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{
    DirBuilderExt as _, FileTypeExt as _, MetadataExt as _, PermissionsExt as _,
};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Group, chown};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::UnixListener;
use tracing::warn;

use super::Error;

/// A bound admin socket. Its file goes with it.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
}

const MODE: u32 = 0o660;
const DIRECTORY_MODE: u32 = 0o755;
const BACKLOG: i32 = 64;

impl AdminSocket {
    /// Listens at `path` for the agent's user and the members of `group`. Where there is no
    /// such group, the file stays with the agent's own: fewer may ask, not more. A socket that
    /// a dead agent left is replaced; a living agent is left alone.
    pub fn bind(path: &Path, group: &str) -> Result<Self, Error> {
        let place = Place(path);
        let directory = place.directory();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(DIRECTORY_MODE)
            .create(directory)
            .map_err(place.failed_to("make the directory of"))?;
        // Two agents that start at once must not both find the same dead socket.
        let lock = File::open(directory).map_err(place.failed_to("look at the directory of"))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).map_err(
            |(_file, errno)| match errno {
                Errno::EWOULDBLOCK => Error::AnotherStarts {
                    socket: place.name(),
                },
                other => place.failed_to("lock the directory of")(other.into()),
            },
        )?;
        place.make_room()?;
        let listener = place.listen(group)?;
        let inode = fs::symlink_metadata(path)
            .map_err(place.failed_to("look at"))?
            .ino();
        Ok(Self {
            listener,
            path: path.to_owned(),
            inode,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(super) const fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // Only our own: an operator may have moved another into its place.
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|file| file.ino() == self.inode);
        if is_ours && let Err(error) = fs::remove_file(&self.path) {
            warn!(error = %error, socket = %self.path.display(), "admin socket not removed");
        }
    }
}

/// Where the socket is to be.
#[derive(Clone, Copy)]
struct Place<'a>(&'a Path);

impl<'a> Place<'a> {
    fn name(self) -> String {
        self.0.display().to_string()
    }

    fn directory(self) -> &'a Path {
        match self.0.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => directory,
            Some(_) | None => Path::new("."),
        }
    }

    fn failed_to(self, attempt: &'static str) -> impl Fn(io::Error) -> Error {
        let socket = self.name();
        move |source| Error::Socket {
            attempt,
            socket: socket.clone(),
            source,
        }
    }

    /// Removes what a dead agent left.
    fn make_room(self) -> Result<(), Error> {
        match fs::symlink_metadata(self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed_to("look at")(error)),
            Ok(file) if !file.file_type().is_socket() => {
                return Err(Error::NotASocket {
                    socket: self.name(),
                });
            }
            Ok(_) => {}
        }
        if self.is_answered().map_err(self.failed_to("look at"))? {
            return Err(Error::AnotherAgent {
                socket: self.name(),
            });
        }
        fs::remove_file(self.0).map_err(self.failed_to("replace"))
    }

    fn is_answered(self) -> io::Result<bool> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        // A listener whose backlog is full would have us wait; it is alive all the same.
        socket.set_nonblocking(true)?;
        match socket.connect(&SockAddr::unix(self.0)?) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Nobody can connect before owner and mode are right: that needs a listening socket.
    fn listen(self, group: &str) -> Result<UnixListener, Error> {
        let bound = || -> io::Result<Socket> {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            socket.bind(&SockAddr::unix(self.0)?)?;
            Ok(socket)
        };
        let socket = bound().map_err(self.failed_to("bind"))?;
        let group = Group::from_name(group)
            .map_err(|errno| self.failed_to("find the group of")(errno.into()))?;
        if let Some(group) = group {
            chown(self.0, None, Some(group.gid))
                .map_err(|errno| self.failed_to("give its group to")(errno.into()))?;
        }
        fs::set_permissions(self.0, Permissions::from_mode(MODE))
            .map_err(self.failed_to("set the mode of"))?;
        let listening = || -> io::Result<UnixListener> {
            socket.listen(BACKLOG)?;
            socket.set_nonblocking(true)?;
            UnixListener::from_std(StdUnixListener::from(OwnedFd::from(socket)))
        };
        listening().map_err(self.failed_to("listen on"))
    }
}
