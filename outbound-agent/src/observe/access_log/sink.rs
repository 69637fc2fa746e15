//! Where lines end up.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use super::{Error, Target};

/// Takes lines. Called by one thread, which may wait here.
pub trait Sink: Send + 'static {
    /// Writes from the front of `lines` and gives how much it took.
    fn write(&mut self, lines: &[u8]) -> io::Result<usize>;

    /// Opens the target anew; where that fails, the old one stays in use.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn open(target: &Target) -> Result<Box<dyn Sink>, Error> {
    Ok(match target {
        Target::Stdout => Box::new(Stdout::open().map_err(|source| Error::Stdout { source })?),
        Target::Journald => Box::new(
            Journal::open(Path::new(JOURNAL)).map_err(|source| Error::Journald { source })?,
        ),
        Target::File(path) => {
            let opened = LogFile::open(path.clone());
            Box::new(opened.map_err(|source| Error::File {
                path: path.clone(),
                source,
            })?)
        }
    })
}

struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = append_to(&path)?;
        Ok(Self { path, file })
    }
}

impl Sink for LogFile {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.file.write(lines)
    }

    fn reopen(&mut self) -> io::Result<()> {
        self.file = append_to(&self.path)?;
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    if let Some(directory) = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
    {
        DirBuilder::new()
            .recursive(true)
            .mode(0o750)
            .create(directory)?;
    }
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
}

/// Standard output without std's buffer, which would hide how much was written.
struct Stdout(File);

impl Stdout {
    fn open() -> io::Result<Self> {
        Ok(Self(io::stdout().as_fd().try_clone_to_owned()?.into()))
    }
}

impl Sink for Stdout {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.0.write(lines)
    }
}

/// The journal's own protocol, <https://systemd.io/JOURNAL_NATIVE_PROTOCOL/>: one datagram per
/// entry, one field per line. JSON as we write it has no newline inside.
struct Journal {
    path: PathBuf,
    socket: UnixDatagram,
    entry: Vec<u8>,
}

const JOURNAL: &str = "/run/systemd/journal/socket";

impl Journal {
    fn open(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // Only to learn now whether it is there: later entries name it each time, so that a
        // journal that was restarted is found again.
        UnixDatagram::unbound()?.connect(path)?;
        Ok(Self {
            path: path.to_owned(),
            socket,
            entry: Vec::new(),
        })
    }
}

impl Sink for Journal {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        let line = lines
            .split_inclusive(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        self.entry.clear();
        self.entry
            .extend_from_slice(b"PRIORITY=6\nSYSLOG_IDENTIFIER=outbound\nMESSAGE=");
        self.entry.extend_from_slice(line);
        self.socket.send_to(&self.entry, &self.path)?;
        Ok(line.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_gets_one_entry_per_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let journal = UnixDatagram::bind(&path).unwrap();
        let mut sink = Journal::open(&path).unwrap();
        let lines = b"{\"kind\":\"http\"}\n{\"kind\":\"tcp\"}\n";
        let taken = sink.write(lines).unwrap();
        sink.write(&lines[taken..]).unwrap();
        let mut entry = [0; 256];
        for kind in ["http", "tcp"] {
            let length = journal.recv(&mut entry).unwrap();
            let text = std::str::from_utf8(&entry[..length]).unwrap();
            assert_eq!(
                text,
                format!(
                    "PRIORITY=6\nSYSLOG_IDENTIFIER=outbound\nMESSAGE={{\"kind\":\"{kind}\"}}\n"
                )
            );
        }
    }

    #[test]
    fn a_journal_that_is_not_there_is_noticed_at_once() {
        let directory = tempfile::tempdir().unwrap();
        assert!(Journal::open(&directory.path().join("socket")).is_err());
    }
}
