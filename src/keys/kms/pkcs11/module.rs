//! The module of a token: a library that is loaded into this process and can do whatever this process
//! can. So it is looked at, with every step of the way to it, before it is loaded.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::{Pkcs11Error, failed};
use crate::files;

/// Links on the way to a file, at most; the kernel's own limit.
const MOST_LINKS: usize = 40;

/// A module that is loaded and initialized, until it is dropped.
pub(super) struct Module {
    context: Pkcs11,
    /// Whether to end it is ours to do.
    ours: bool,
}

impl Module {
    pub(super) fn load(path: &Path) -> Result<Self, Pkcs11Error> {
        let file = guarded(path)?;
        let context = Pkcs11::new(&file).map_err(|error| not_a_module(path, &error))?;
        // Signatures are made on several threads, one at a time.
        let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        let ours = match context.initialize(locking) {
            Ok(()) => true,
            // Somebody else in this process uses it too, and ends it.
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
            Err(error) => return Err(failed("initialize", &error)),
        };
        Ok(Self { context, ours })
    }

    pub(super) fn context(&self) -> &Pkcs11 {
        &self.context
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.ours {
            // Ends every session; there is nobody to tell when it cannot.
            let _ = self.context.clone().finalize();
        }
    }
}

fn not_a_module(path: &Path, error: &Error) -> Pkcs11Error {
    let cause = std::error::Error::source(error);
    let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
    Pkcs11Error::NotAModule { path: path.to_owned(), why }
}

/// The file that `path` leads to, if nobody but this user and root decides what that is: every
/// directory on the way, link and the file itself belong to one of them, and nobody else may write there.
fn guarded(path: &Path) -> Result<PathBuf, Pkcs11Error> {
    let missing = |source| Pkcs11Error::ModuleMissing { path: path.to_owned(), source };
    let looked_at = |place: &Path| -> Result<Metadata, Pkcs11Error> {
        let metadata = fs::symlink_metadata(place).map_err(missing)?;
        judge(place, &metadata)?;
        Ok(metadata)
    };
    let mut ahead = names(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    looked_at(&here)?;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(name);
        if !looked_at(&next)?.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(missing(io::Error::other("too many symbolic links")));
        }
        let target = fs::read_link(&next).map_err(missing)?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        ahead.extend(names(&target));
    }
    if looked_at(&here)?.is_file() {
        return Ok(here);
    }
    Err(Pkcs11Error::NotAModule { path: path.to_owned(), why: "it is not a regular file".to_owned() })
}

/// The names in a path, the first one last.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

fn judge(path: &Path, metadata: &Metadata) -> Result<(), Pkcs11Error> {
    let exposed = |how| Err(Pkcs11Error::ModuleExposed { path: path.to_owned(), how });
    let mode = metadata.mode() & 0o7777;
    // In a sticky directory, such as /tmp, nobody can take away what is somebody else's.
    let sticky = metadata.is_dir() && mode & 0o1000 != 0;
    if !metadata.is_symlink() && mode & 0o022 != 0 && !sticky {
        return exposed(format!("can be changed by others than its owner (mode {mode:04o})"));
    }
    if files::owned_by_user_or_root(metadata) {
        return Ok(());
    }
    exposed(format!("belongs to another user ({})", metadata.uid()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_module_is_what_nobody_else_can_replace() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let code = |path: &Path| guarded(path).map_err(|error| error.code());
        let real = fs::canonicalize(dir.path()).unwrap().join("module.so");
        fs::write(at("module.so"), "").unwrap();
        set_mode(&at("module.so"), 0o644);
        symlink("module.so", at("link")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("nowhere", at("dangling")).unwrap();
        fs::create_dir(at("open")).unwrap();
        symlink("../module.so", at("open/link")).unwrap();

        for good in ["module.so", "link", "open/../link", "open/link"] {
            assert_eq!(code(&at(good)), Ok(real.clone()), "{good}");
        }
        for missing in ["nothing", "dangling", "loop", "module.so/x"] {
            assert_eq!(code(&at(missing)), Err("pkcs11.module_missing"), "{missing}");
        }
        assert_eq!(code(dir.path()), Err("pkcs11.not_a_module"));
        // A link in a directory that others can write to is theirs to turn.
        for mode in [0o777, 0o775, 0o757] {
            set_mode(&at("open"), mode);
            assert_eq!(code(&at("open/link")), Err("pkcs11.module_exposed"), "{mode:o}");
        }
        set_mode(&at("open"), 0o1777);
        assert_eq!(code(&at("open/link")), Ok(real));
        for mode in [0o666, 0o664, 0o646] {
            set_mode(&at("module.so"), mode);
            for name in ["module.so", "link"] {
                assert_eq!(code(&at(name)), Err("pkcs11.module_exposed"), "{name} {mode:o}");
            }
        }
    }
}
