//! The file of the access log, which others may move away: the name is what counts, not the file that was
//! there once.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, OFlags};

use crate::files::{is_world_writable, parent};
use crate::gateway::telemetry::line_log::Destination;

/// A log file, open at its end.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Opens the file at `path`, or makes it.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file })
    }

    /// Whether [`LogFile::open`] could; nothing is made.
    ///
    /// # Errors
    /// What the system says.
    pub fn check(path: &Path) -> io::Result<()> {
        match options(path).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Who may make it is who may write to its directory.
                let allowed = Access::WRITE_OK | Access::EXEC_OK;
                Ok(rustix::fs::accessat(CWD, parent(path), allowed, AtFlags::EACCESS)?)
            }
            opened => opened.map(drop),
        }
    }

    /// Whether there is another file at its path. None at all is no other: whoever moves the file away is
    /// about to make the next one, or to say that we shall.
    fn has_been_replaced(&self) -> bool {
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(there), Ok(ours)) => (there.dev(), there.ino()) != (ours.dev(), ours.ino()),
            _ => false,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Who calls when is nobody's business but its readers'.
    options(path).create(true).mode(0o640).open(path)
}

fn options(path: &Path) -> OpenOptions {
    // Without O_NONBLOCK, a FIFO that nobody reads would hold up the start, signals included.
    let mut flags = OFlags::NONBLOCK;
    // A link that anybody may have put there could lead to any file of ours.
    if is_world_writable(parent(path)).unwrap_or(true) {
        flags |= OFlags::NOFOLLOW;
    }
    let mut options = OpenOptions::new();
    options.append(true).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Destination for LogFile {
    fn settle(&mut self, reopen: bool) -> io::Result<()> {
        if reopen || self.has_been_replaced() {
            // Where the new one cannot be opened, the old one is better than none.
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::telemetry::line_log::LineLog;
    use std::fs;

    #[test]
    fn a_file_that_was_moved_away_is_written_until_there_is_another_one() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        let mut file = LogFile::open(path.clone()).unwrap();
        let mut write = |line: &str, reopen: bool| {
            file.settle(reopen).unwrap();
            file.write_all(line.as_bytes()).unwrap();
        };
        write("one\n", false);
        fs::rename(&path, &moved).unwrap();
        write("two\n", false);
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert!(!path.exists());
        fs::write(&path, "").unwrap();
        write("three\n", false);
        fs::rename(&path, directory.path().join("log.2")).unwrap();
        write("four\n", true);
        assert_eq!(fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(directory.path().join("log.2")).unwrap(), "three\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_link_is_followed_where_not_anybody_may_have_put_it() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let (logs, elsewhere) = (directory.path().join("logs"), directory.path().join("elsewhere"));
        fs::create_dir(&logs).unwrap();
        fs::write(&elsewhere, "").unwrap();
        let path = logs.join("log");
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        for (mode, is_followed) in [(0o755, true), (0o777, false)] {
            fs::set_permissions(&logs, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(LogFile::open(path.clone()).is_ok(), is_followed, "{mode:o}");
            assert_eq!(LogFile::check(&path).is_ok(), is_followed, "{mode:o}");
        }
        fs::remove_file(&path).unwrap();
        assert!(LogFile::open(path).is_ok(), "a file of its own is");
    }

    #[test]
    fn what_is_asked_to_open_its_file_again_does_so_with_nothing_to_write() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = LineLog::start("log", Box::new(LogFile::open(path.clone()).unwrap())).unwrap();
        fs::rename(&path, directory.path().join("log.1")).unwrap();
        log.reopen();
        drop(log);
        assert!(path.exists());
    }
}
