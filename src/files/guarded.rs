//! Files that say whom to let in: nobody but somebody in particular may have a hand in what they hold.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::{FileError, directory, open_regular, owned_by_user_or_root};

/// How many symbolic links a path may lead through, as in Linux.
const MOST_LINKS: usize = 40;

/// Refuses what [`read`](super::read) could not open, and what anybody may write to or put another file in
/// the place of: the file itself, every directory above it, and those of every symbolic link on the way.
///
/// A group, or another user who owns one of the directories, is somebody in particular, and trusted. In a
/// directory like `/tmp`, where anybody may put things and none may remove another's, what is there has to
/// belong to this user or root.
///
/// # Errors
/// [`FileError`], above all [`FileError::WritableByAll`] and [`FileError::ForeignOwner`].
pub fn check_guarded(path: &Path) -> Result<(), FileError> {
    let metadata = open_regular(path)?.metadata().map_err(|source| FileError::io("read", path, source))?;
    if metadata.mode() & 0o002 != 0 {
        return Err(FileError::WritableByAll { path: path.to_owned() });
    }
    Way::to(path)?.check()
}

/// Whether anybody may put a file into this directory in the place of somebody else's.
///
/// # Errors
/// [`FileError`] when it is none.
pub fn is_open_to_all(path: &Path) -> Result<bool, FileError> {
    Ok(anybody_may_replace_in(&directory(path)?) && !is_read_only(path))
}

fn anybody_may_replace_in(directory: &Metadata) -> bool {
    // In a sticky one, only the owner of a file replaces it.
    directory.mode() & 0o1002 == 0o0002
}

/// A path that is followed one name at a time, as the kernel does.
struct Way {
    /// As far as it has been followed: a directory, without links.
    reached: PathBuf,
    /// The names that are left.
    ahead: VecDeque<OsString>,
    links: usize,
}

impl Way {
    fn to(path: &Path) -> Result<Self, FileError> {
        let from = match path.is_absolute() {
            true => PathBuf::from("/"),
            false => std::env::current_dir().map_err(|source| FileError::io("find", path, source))?,
        };
        // What is above the working directory counts as much as what is below it.
        let mut way = Self { reached: PathBuf::from("/"), ahead: VecDeque::new(), links: 0 };
        way.put_before(path);
        way.put_before(&from);
        Ok(way)
    }

    fn put_before(&mut self, path: &Path) {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => self.ahead.push_front(name.to_owned()),
                Component::ParentDir => self.ahead.push_front("..".into()),
                Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            }
        }
    }

    fn check(mut self) -> Result<(), FileError> {
        while let Some(name) = self.ahead.pop_front() {
            if name == ".." {
                self.reached.pop();
                continue;
            }
            let next = self.reached.join(name);
            let read = |source| FileError::io("read", &next, source);
            let metadata = fs::symlink_metadata(&next).map_err(read)?;
            self.check_entry(&next, &metadata)?;
            if !metadata.is_symlink() {
                self.reached = next;
                continue;
            }
            self.links += 1;
            if self.links > MOST_LINKS {
                return Err(read(io::Error::from(rustix::io::Errno::LOOP)));
            }
            let target = fs::read_link(&next).map_err(read)?;
            if target.is_absolute() {
                self.reached = PathBuf::from("/");
            }
            self.put_before(&target);
        }
        Ok(())
    }

    /// Whether only somebody in particular can have put `entry` where it is.
    fn check_entry(&self, entry: &Path, metadata: &Metadata) -> Result<(), FileError> {
        let directory = &self.reached;
        let holder = fs::metadata(directory).map_err(|source| FileError::io("read", directory, source))?;
        if holder.mode() & 0o002 == 0 || is_read_only(directory) {
            Ok(())
        } else if anybody_may_replace_in(&holder) {
            Err(FileError::WritableByAll { path: directory.clone() })
        } else if owned_by_user_or_root(metadata) {
            Ok(())
        } else {
            Err(FileError::ForeignOwner { path: entry.to_owned(), owner: metadata.uid() })
        }
    }
}

/// Where nothing can be written, the mode of a directory says nothing: Kubernetes mounts what it publishes so.
fn is_read_only(directory: &Path) -> bool {
    rustix::fs::statvfs(directory)
        .is_ok_and(|mounted| mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// `names` below a new directory: each a directory, and the last of each path a file.
    fn tree(files: &[&str]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for file in files {
            let file = top.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "a").unwrap();
        }
        top
    }

    #[test]
    fn a_file_that_anybody_may_write_is_not_relied_on() {
        let top = tree(&["a.yaml"]);
        let file = top.path().join("a.yaml");
        set(&file, 0o664);
        assert!(check_guarded(&file).is_ok(), "a group is somebody");
        set(&file, 0o646);
        let refused = check_guarded(&file).unwrap_err();
        assert_eq!(refused.code(), "file.writable_by_all");
        assert_eq!(refused.remedy(), Some(format!("chmod o-w {}", file.display())));
        assert_eq!(check_guarded(top.path()).unwrap_err().code(), "file.not_a_file");
        assert!(check_guarded(&top.path().join("none")).unwrap_err().is_missing());
    }

    #[test]
    fn no_directory_above_may_be_anybodys() {
        let top = tree(&["open/safe/deep/a.yaml", "safe/b.yaml"]);
        let (open, file) = (top.path().join("open"), top.path().join("open/safe/deep/a.yaml"));
        for (mode, is_good) in [(0o777, false), (0o775, true), (0o1777, true), (0o702, false), (0o755, true)]
        {
            set(&open, mode);
            let checked = check_guarded(&file);
            assert_eq!(checked.is_ok(), is_good, "{mode:o}");
            let named = |error: FileError| matches!(error, FileError::WritableByAll { path } if path == open);
            assert!(checked.map_or_else(named, |()| true), "the directory that has to be closed is named");
            // Into it and out again is a way that leads elsewhere once it is a link.
            let roundabout = open.join("safe/../../safe/b.yaml");
            assert_eq!(check_guarded(&roundabout).is_ok(), is_good, "{mode:o}");
        }
    }

    #[test]
    fn no_link_on_the_way_may_be_anybodys() {
        let top = tree(&["real/a.yaml", "open/there", "safe/there"]);
        let at = |name: &str| top.path().join(name);
        // Of the file, of a directory, and of a link to either: absolute and relative.
        symlink("../real/a.yaml", at("open/file")).unwrap();
        symlink(at("real"), at("open/directory")).unwrap();
        symlink("../open/file", at("safe/to-file")).unwrap();
        symlink(at("safe/to-file"), at("safe/to-link")).unwrap();
        symlink("../open/directory", at("safe/to-directory")).unwrap();
        symlink("../real/a.yaml", at("safe/file")).unwrap();
        let ways = [
            "open/file",
            "open/directory/a.yaml",
            "safe/to-file",
            "safe/to-link",
            "safe/to-directory/a.yaml",
            "safe/to-directory/../real/a.yaml",
        ];
        for (mode, is_good) in [(0o755, true), (0o777, false), (0o1777, true)] {
            set(&at("open"), mode);
            for way in ways {
                assert_eq!(check_guarded(&at(way)).is_ok(), is_good, "{way} {mode:o}");
            }
            assert!(check_guarded(&at("safe/file")).is_ok(), "it has nothing to do with it");
        }
    }

    #[test]
    fn a_directory_is_open_to_all_where_anybody_may_replace_what_is_there() {
        let top = tree(&["here/file"]);
        let here = top.path().join("here");
        for (mode, is_open) in [(0o777, true), (0o1777, false), (0o775, false)] {
            set(&here, mode);
            assert_eq!(is_open_to_all(&here).unwrap(), is_open, "{mode:o}");
        }
        assert_eq!(is_open_to_all(&here.join("file")).unwrap_err().code(), "file.not_a_directory");
        assert!(is_open_to_all(&here.join("none")).unwrap_err().is_missing());
    }

    #[test]
    fn links_that_lead_nowhere_end() {
        let top = tree(&[]);
        let (round, dangling) = (top.path().join("round"), top.path().join("dangling"));
        symlink("round", &round).unwrap();
        symlink("none", &dangling).unwrap();
        assert_eq!(check_guarded(&round).unwrap_err().code(), "file.io");
        assert!(check_guarded(&dangling).unwrap_err().is_missing());
        assert_eq!(Way::to(&round).unwrap().check().unwrap_err().code(), "file.io", "by itself, too");
    }

    #[test]
    fn what_lies_where_anybody_puts_things_has_to_be_ours() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT TESTED: only root can give a file to somebody else");
            return;
        }
        let top = tree(&["sticky/theirs/a.yaml", "sticky/b.yaml"]);
        let at = |name: &str| top.path().join(name);
        set(&at("sticky"), 0o1777);
        for theirs in ["sticky/theirs", "sticky/b.yaml"] {
            std::os::unix::fs::chown(at(theirs), Some(12_345), None).unwrap();
        }
        for file in ["sticky/theirs/a.yaml", "sticky/b.yaml"] {
            assert_eq!(check_guarded(&at(file)).unwrap_err().code(), "file.foreign_owner", "{file}");
        }
        set(&at("sticky"), 0o755);
        assert!(check_guarded(&at("sticky/b.yaml")).is_ok(), "somebody in particular put it there");
    }
}
