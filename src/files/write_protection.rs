//! Refusal of trust files that any user could write or replace.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use super::error::FileError;
use super::permissions::{check_unshared, directory, owned_by_user_or_root};
use super::read::{open_regular, read};

/// Symbolic links that one path may contain, as in Linux.
const MAX_LINKS: usize = 40;

/// Refuse a file that `read` could not open, or that any user may write or replace.
///
/// The check covers the file, all its parent directories, and those of every symbolic link on the way. A
/// group, or another user who owns one of the directories, is trusted. In a sticky directory such as `/tmp`,
/// the file or directory must belong to this user or root.
///
/// # Errors
/// [`FileError`], above all [`FileError::WritableByAll`] and [`FileError::ForeignOwner`].
pub fn check_write_protected(path: &Path) -> Result<(), FileError> {
    let metadata = open_regular(path)?.metadata().map_err(|source| FileError::io("read", path, source))?;
    if metadata.mode() & 0o002 != 0 {
        return Err(FileError::WritableByAll { path: path.to_owned() });
    }
    check_path(path)
}

/// Refuse a directory whose contents decide on trust, if any user may create files in it or replace it.
///
/// All its parent directories are covered as in [`check_write_protected`].
///
/// # Errors
/// [`FileError`], above all [`FileError::WritableByAll`] and [`FileError::ForeignOwner`].
pub fn check_protected_directory(path: &Path) -> Result<(), FileError> {
    if directory(path)?.mode() & 0o002 != 0 && !is_read_only(path) {
        return Err(FileError::WritableByAll { path: path.to_owned() });
    }
    check_path(path)
}

/// Refuse a directory in which a user other than this one and root could create, replace or remove a file, or that
/// any user could replace as a whole.
///
/// # Errors
/// [`FileError`]: missing, not a directory, writable by other users, or owned by another user.
pub fn check_unshared_directory(path: &Path) -> Result<(), FileError> {
    check_unshared(path)?;
    check_path(path)
}

/// Refuse a path on which any user could replace a directory or a symbolic link.
///
/// # Errors
/// [`FileError::WritableByAll`], [`FileError::ForeignOwner`], or an error of the path.
pub fn check_path(path: &Path) -> Result<(), FileError> {
    PathWalk::to(path)?.check()
}

/// Read a file that decides on trust: [`read`](super::read()) after [`check_write_protected`].
///
/// # Errors
/// [`FileError`].
pub fn read_write_protected(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    check_write_protected(path)?;
    read(path, limit)
}

/// True if any user may replace other users' files in this directory.
///
/// # Errors
/// [`FileError`] when it is not a directory.
pub fn is_world_writable(path: &Path) -> Result<bool, FileError> {
    Ok(anyone_may_replace_in(&directory(path)?) && !is_read_only(path))
}

fn anyone_may_replace_in(directory: &Metadata) -> bool {
    // In a sticky directory, only the owner of a file may replace it.
    directory.mode() & 0o1002 == 0o0002
}

/// Walk along a path, one name at a time, as the kernel resolves it.
struct PathWalk {
    /// The part already resolved: a directory, free of symbolic links.
    reached: PathBuf,
    /// The names still to resolve.
    ahead: VecDeque<OsString>,
    links: usize,
}

impl PathWalk {
    fn to(path: &Path) -> Result<Self, FileError> {
        let from = match path.is_absolute() {
            true => PathBuf::from("/"),
            false => std::env::current_dir().map_err(|source| FileError::io("find", path, source))?,
        };
        // The parents of the working directory are checked too.
        let mut walk = Self { reached: PathBuf::from("/"), ahead: VecDeque::new(), links: 0 };
        walk.prepend(path);
        walk.prepend(&from);
        Ok(walk)
    }

    fn prepend(&mut self, path: &Path) {
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
            if self.links > MAX_LINKS {
                return Err(read(io::Error::from(rustix::io::Errno::LOOP)));
            }
            let target = fs::read_link(&next).map_err(read)?;
            if target.is_absolute() {
                self.reached = PathBuf::from("/");
            }
            self.prepend(&target);
        }
        Ok(())
    }

    /// Refuse an entry that any user could have created in `reached`.
    fn check_entry(&self, entry: &Path, metadata: &Metadata) -> Result<(), FileError> {
        let directory = &self.reached;
        let holder = fs::metadata(directory).map_err(|source| FileError::io("read", directory, source))?;
        if holder.mode() & 0o002 == 0 || is_read_only(directory) {
            Ok(())
        } else if anyone_may_replace_in(&holder) {
            Err(FileError::WritableByAll { path: directory.clone() })
        } else if owned_by_user_or_root(metadata) {
            Ok(())
        } else {
            Err(FileError::ForeignOwner { path: entry.to_owned(), owner: metadata.uid() })
        }
    }
}

/// True if the file system is read-only, where directory modes do not matter: Kubernetes mounts secrets so.
fn is_read_only(directory: &Path) -> bool {
    rustix::fs::statvfs(directory)
        .is_ok_and(|mounted| mounted.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Coded;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Create `files`, with their directories, below a new directory.
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
    fn a_world_writable_file_is_refused() {
        let top = tree(&["a.yaml"]);
        let file = top.path().join("a.yaml");
        set(&file, 0o664);
        assert!(check_write_protected(&file).is_ok(), "a group is trusted");
        set(&file, 0o646);
        let refused = check_write_protected(&file).unwrap_err();
        assert_eq!(refused.code(), "file.writable_by_all");
        assert_eq!(refused.remedy(), Some(format!("chmod o-w {}", file.display())));
        assert_eq!(check_write_protected(top.path()).unwrap_err().code(), "file.not_a_file");
        assert!(check_write_protected(&top.path().join("none")).unwrap_err().is_missing());
    }

    #[test]
    fn no_parent_directory_may_be_world_writable() {
        let top = tree(&["open/safe/deep/a.yaml", "safe/b.yaml"]);
        let (open, file) = (top.path().join("open"), top.path().join("open/safe/deep/a.yaml"));
        for (mode, is_good) in [(0o777, false), (0o775, true), (0o1777, true), (0o702, false), (0o755, true)]
        {
            set(&open, mode);
            let checked = check_write_protected(&file);
            assert_eq!(checked.is_ok(), is_good, "{mode:o}");
            let named = |error: FileError| matches!(error, FileError::WritableByAll { path } if path == open);
            assert!(checked.map_or_else(named, |()| true), "the error names the directory to close");
            // A path into the directory and out again leads elsewhere once a part is a link.
            let roundabout = open.join("safe/../../safe/b.yaml");
            assert_eq!(check_write_protected(&roundabout).is_ok(), is_good, "{mode:o}");
        }
    }

    #[test]
    fn a_directory_that_decides_on_trust_is_guarded_along_its_path() {
        let top = tree(&["open/safe/a.yaml", "open/file"]);
        let (open, safe) = (top.path().join("open"), top.path().join("open/safe"));
        symlink("../safe", open.join("safe/round")).unwrap();
        set(&safe, 0o700);
        for (mode, is_good) in [(0o755, true), (0o777, false), (0o1777, true), (0o702, false)] {
            set(&open, mode);
            for checked in [
                check_protected_directory(&safe),
                check_unshared_directory(&safe),
                check_path(&safe),
                check_path(&safe.join("round/round")),
            ] {
                assert_eq!(checked.is_ok(), is_good, "{mode:o}");
                let named = |error| matches!(error, FileError::WritableByAll { path } if path == open);
                assert!(checked.map_or_else(named, |()| true), "the error names the directory to close");
            }
        }
        set(&open, 0o755);
        for (mode, protected, unshared) in
            [(0o770, true, false), (0o757, false, false), (0o1777, false, false)]
        {
            set(&safe, mode);
            assert_eq!(check_protected_directory(&safe).is_ok(), protected, "{mode:o}");
            assert_eq!(check_unshared_directory(&safe).is_ok(), unshared, "{mode:o}");
        }
        assert_eq!(check_protected_directory(&open.join("file")).unwrap_err().code(), "file.not_a_directory");
    }

    #[test]
    fn no_symbolic_link_may_be_in_a_world_writable_directory() {
        let top = tree(&["real/a.yaml", "open/there", "safe/there"]);
        let at = |name: &str| top.path().join(name);
        // Of the file, of a directory, and of a link to either: absolute and relative.
        symlink("../real/a.yaml", at("open/file")).unwrap();
        symlink(at("real"), at("open/directory")).unwrap();
        symlink("../open/file", at("safe/to-file")).unwrap();
        symlink(at("safe/to-file"), at("safe/to-link")).unwrap();
        symlink("../open/directory", at("safe/to-directory")).unwrap();
        symlink("../real/a.yaml", at("safe/file")).unwrap();
        let paths = [
            "open/file",
            "open/directory/a.yaml",
            "safe/to-file",
            "safe/to-link",
            "safe/to-directory/a.yaml",
            "safe/to-directory/../real/a.yaml",
        ];
        for (mode, is_good) in [(0o755, true), (0o777, false), (0o1777, true)] {
            set(&at("open"), mode);
            for path in paths {
                assert_eq!(check_write_protected(&at(path)).is_ok(), is_good, "{path} {mode:o}");
            }
            assert!(check_write_protected(&at("safe/file")).is_ok(), "its path avoids the directory");
        }
    }

    #[test]
    fn a_sticky_directory_is_not_world_writable() {
        let top = tree(&["here/file"]);
        let here = top.path().join("here");
        for (mode, is_open) in [(0o777, true), (0o1777, false), (0o775, false)] {
            set(&here, mode);
            assert_eq!(is_world_writable(&here).unwrap(), is_open, "{mode:o}");
        }
        assert_eq!(is_world_writable(&here.join("file")).unwrap_err().code(), "file.not_a_directory");
        assert!(is_world_writable(&here.join("none")).unwrap_err().is_missing());
    }

    #[test]
    fn link_loops_and_dangling_links_are_refused() {
        let top = tree(&[]);
        let (round, dangling) = (top.path().join("round"), top.path().join("dangling"));
        symlink("round", &round).unwrap();
        symlink("none", &dangling).unwrap();
        assert_eq!(check_write_protected(&round).unwrap_err().code(), "file.io");
        assert!(check_write_protected(&dangling).unwrap_err().is_missing());
        assert_eq!(PathWalk::to(&round).unwrap().check().unwrap_err().code(), "file.io", "in the walk too");
    }

    #[test]
    fn a_file_in_a_sticky_directory_must_belong_to_this_user() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("NOT TESTED: only root can change the owner of a file");
            return;
        }
        let top = tree(&["sticky/theirs/a.yaml", "sticky/b.yaml"]);
        let at = |name: &str| top.path().join(name);
        set(&at("sticky"), 0o1777);
        for theirs in ["sticky/theirs", "sticky/b.yaml"] {
            std::os::unix::fs::chown(at(theirs), Some(12_345), None).unwrap();
        }
        for file in ["sticky/theirs/a.yaml", "sticky/b.yaml"] {
            assert_eq!(check_write_protected(&at(file)).unwrap_err().code(), "file.foreign_owner", "{file}");
        }
        set(&at("sticky"), 0o755);
        assert!(
            check_write_protected(&at("sticky/b.yaml")).is_ok(),
            "its owner is trusted where not every user may write"
        );
    }
}
