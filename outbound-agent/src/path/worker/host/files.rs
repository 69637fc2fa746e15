//! The files of a module: the one that the configuration names, and those beside and below it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Path and source of each file, and which is the main one.
pub(super) type Files = (Vec<(String, String)>, String);

/// A module's files, and what they were when they were last read.
pub(super) struct Watched {
    main: PathBuf,
    seen: Vec<(PathBuf, SystemTime, u64)>,
    looked: Instant,
}

/// How often to look whether a file has changed.
const LOOK: Duration = Duration::from_millis(500);
/// What a module may consist of.
const MOST_FILES: usize = 256;
const MOST_BYTES: u64 = 8 << 20;

impl Watched {
    pub(super) fn new(main: PathBuf) -> Self {
        Self {
            main,
            seen: Vec::new(),
            looked: Instant::now(),
        }
    }

    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// Reads all of them.
    pub(super) fn read(&mut self) -> io::Result<Files> {
        let seen = look(&self.main)?;
        let directory = directory(&self.main);
        let mut files = Vec::new();
        for (path, _, _) in &seen {
            let name = path.strip_prefix(directory).unwrap_or(path);
            files.push((
                name.to_string_lossy().into_owned(),
                fs::read_to_string(path)?,
            ));
        }
        let main = self.main.file_name().unwrap_or_default();
        let main = main.to_string_lossy().into_owned();
        self.seen = seen;
        Ok((files, main))
    }

    /// Makes something of the files where they have changed and can be read.
    pub(super) fn changed<T>(&mut self, make: impl FnOnce(Files) -> T) -> Option<T> {
        if self.looked.elapsed() < LOOK {
            return None;
        }
        self.looked = Instant::now();
        let found = look(&self.main).ok()?;
        if found == self.seen {
            return None;
        }
        self.read().ok().map(make)
    }
}

fn directory(main: &Path) -> &Path {
    match main.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    }
}

/// Every file that a module may import, with when it was written and its size.
fn look(main: &Path) -> io::Result<Vec<(PathBuf, SystemTime, u64)>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    let mut take = |path: PathBuf, about: fs::Metadata| {
        bytes += about.len();
        found.push((path, about.modified()?, about.len()));
        if found.len() > MOST_FILES || bytes > MOST_BYTES {
            let text = "more than 256 files or 8 MiB stand beside the module";
            return Err(io::Error::other(text));
        }
        Ok(())
    };
    let main_about = fs::metadata(main)?;
    let directory = directory(main);
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let (path, about) = (entry.path(), entry.metadata()?);
            let extension = path.extension().and_then(|extension| extension.to_str());
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if about.is_dir() && !is_hidden && entry.file_name() != "node_modules" {
                waiting.push(path);
            } else if about.is_file() && matches!(extension, Some("js" | "mjs")) && path != main {
                take(path, about)?;
            }
        }
    }
    take(
        directory.join(main.file_name().unwrap_or_default()),
        main_about,
    )?;
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_its_file_and_the_scripts_beside_and_below_it() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        for (name, text) in [
            ("egress.js", "main"),
            ("jwt.js", "beside"),
            ("lib/a.mjs", "below"),
            ("secret.pem", "no"),
            ("node_modules/x.js", "no"),
            (".hidden/x.js", "no"),
        ] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let mut watched = Watched::new(root.join("egress.js"));
        let (files, main) = watched.read().unwrap();
        let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["egress.js", "jwt.js", "lib/a.mjs"]);
        assert_eq!(main, "egress.js");
        watched.looked -= LOOK;
        assert!(watched.changed(drop).is_none());
        fs::write(root.join("jwt.js"), "changed").unwrap();
        watched.looked -= LOOK;
        assert!(watched.changed(drop).is_some());
    }
}
