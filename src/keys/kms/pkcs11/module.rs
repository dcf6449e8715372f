//! PKCS#11 modules: libraries loaded into this process, with all its rights. The file and every directory and
//! link in its path are checked first.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};

use super::error::{Pkcs11Error, failed};
use crate::files;

/// Most symbolic links in a path; the kernel has the same limit.
const MAX_LINKS: usize = 40;

/// A loaded and initialized module.
pub(super) struct Module {
    context: Pkcs11,
    /// True if this value initialized the module, and has to finalize it.
    finalize: bool,
}

impl Module {
    pub(super) fn load(path: &Path) -> Result<Self, Pkcs11Error> {
        let file = resolve_guarded(path)?;
        let context = Pkcs11::new(&file).map_err(|error| not_a_module(path, &error))?;
        // Several threads sign, one at a time.
        let locking = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        let finalize = match context.initialize(locking) {
            Ok(()) => true,
            // Initialized elsewhere in this process, and finalized there.
            Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => false,
            Err(error) => return Err(failed("initialize", &error)),
        };
        Ok(Self { context, finalize })
    }

    pub(super) fn context(&self) -> &Pkcs11 {
        &self.context
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.finalize {
            // Closes every session. A failure has no consequence, and no one to report it to in `drop`.
            let _ = self.context.clone().finalize();
        }
    }
}

fn not_a_module(path: &Path, error: &Error) -> Pkcs11Error {
    let cause = std::error::Error::source(error);
    let why = cause.map_or_else(|| error.to_string(), ToString::to_string);
    Pkcs11Error::NotAModule { path: path.to_owned(), why }
}

/// Resolve `path`, if only this user and root can change the result: one of them owns the file and every
/// directory and link in the path, and no other user may write to them.
fn resolve_guarded(path: &Path) -> Result<PathBuf, Pkcs11Error> {
    let missing = |source| Pkcs11Error::ModuleMissing { path: path.to_owned(), source };
    let inspect = |place: &Path| -> Result<Metadata, Pkcs11Error> {
        let metadata = fs::symlink_metadata(place).map_err(missing)?;
        check_access(place, &metadata)?;
        Ok(metadata)
    };
    let mut ahead = names(path);
    let mut here = PathBuf::from("/");
    let mut links = 0;
    inspect(&here)?;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let next = here.join(name);
        if !inspect(&next)?.is_symlink() {
            here = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(missing(io::Error::other("too many symbolic links")));
        }
        let target = fs::read_link(&next).map_err(missing)?;
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        ahead.extend(names(&target));
    }
    if inspect(&here)?.is_file() {
        return Ok(here);
    }
    Err(Pkcs11Error::NotAModule { path: path.to_owned(), why: "it is not a regular file".to_owned() })
}

/// Names in a path, in reverse order.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    });
    names.collect()
}

fn check_access(path: &Path, metadata: &Metadata) -> Result<(), Pkcs11Error> {
    let exposed = |how| Err(Pkcs11Error::ModuleExposed { path: path.to_owned(), how });
    let mode = metadata.mode() & 0o7777;
    // In a sticky directory, such as /tmp, users cannot replace files of others.
    let sticky = metadata.is_dir() && mode & 0o1000 != 0;
    if !metadata.is_symlink() && mode & 0o022 != 0 && !sticky {
        return exposed(format!("is writable by users other than its owner (mode {mode:04o})"));
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
    use crate::error::Coded;

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_module_that_others_can_replace_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let code = |path: &Path| resolve_guarded(path).map_err(|error| error.code());
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
        // Users who can write to a directory can redirect its links.
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
