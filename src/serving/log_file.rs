//! File of the access log, reopened by its path when log rotation has replaced it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, OFlags};

use crate::files::{is_world_writable, parent};
use crate::serving::line_log::Destination;

/// Log file, open for appending.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    /// Open the file at `path`, or create it with mode 0640.
    ///
    /// # Errors
    /// System error.
    pub fn open(path: PathBuf) -> io::Result<Self> {
        let file = open(&path)?;
        Ok(Self { path, file })
    }

    /// Check that [`LogFile::open`] would succeed, without creating the file.
    ///
    /// # Errors
    /// System error.
    pub fn check(path: &Path) -> io::Result<()> {
        match options(path).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let allowed = Access::WRITE_OK | Access::EXEC_OK;
                Ok(rustix::fs::accessat(CWD, parent(path), allowed, AtFlags::EACCESS)?)
            }
            opened => opened.map(drop),
        }
    }

    /// True if another file is at the path. A missing file does not count: log rotation is about to create
    /// the next one, or to request a reopen.
    fn has_been_replaced(&self) -> bool {
        match (std::fs::metadata(&self.path), self.file.metadata()) {
            (Ok(current), Ok(open)) => (current.dev(), current.ino()) != (open.dev(), open.ino()),
            _ => false,
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // The log shows the clients and their requests, so other users cannot read it.
    options(path).create(true).mode(0o640).open(path)
}

fn options(path: &Path) -> OpenOptions {
    // Without O_NONBLOCK, opening a FIFO without a reader blocks the start, and signals with it.
    let mut flags = OFlags::NONBLOCK;
    // In a world-writable directory, any user could place a link to another file of the gateway.
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
    fn prepare(&mut self, reopen: bool) -> io::Result<()> {
        if reopen || self.has_been_replaced() {
            // On failure, the old file stays in use.
            self.file = open(&self.path)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serving::line_log::LineLog;
    use std::fs;

    #[test]
    fn a_moved_file_is_written_until_it_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let (path, moved) = (directory.path().join("log"), directory.path().join("log.1"));
        let mut file = LogFile::open(path.clone()).unwrap();
        let mut write = |line: &str, reopen: bool| {
            file.prepare(reopen).unwrap();
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
    fn a_link_is_followed_unless_its_directory_is_world_writable() {
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
        assert!(LogFile::open(path).is_ok(), "a regular file is allowed");
    }

    #[test]
    fn a_reopen_takes_effect_without_pending_lines() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let log = LineLog::start("log", Box::new(LogFile::open(path.clone()).unwrap())).unwrap();
        fs::rename(&path, directory.path().join("log.1")).unwrap();
        log.reopen();
        drop(log);
        assert!(path.exists());
    }
}
